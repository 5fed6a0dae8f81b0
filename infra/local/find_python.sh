#!/bin/sh
# Print the path of a Python that this project supports (3.12 first, then 3.13, 3.11).
#
# A `python3.12` on PATH may be a pyenv shim that refuses to run, so every candidate
# is started once before it is chosen; pyenv's own folders are looked at as well.
for version in 3.12 3.13 3.11; do
  for candidate in "python$version" \
      "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$version"*/bin/python \
      python3 python; do
    "$candidate" - "$version" 2>/dev/null <<'PY' && exit 0
import sys, venv
if "%d.%d" % sys.version_info[:2] != sys.argv[1]:
    sys.exit(1)
print(sys.executable)
PY
  done
done
echo "No Python 3.11, 3.12 or 3.13 found on PATH or under pyenv." \
  "Install one, or name it: make run PYTHON=/path/to/python3.12" >&2
exit 1
