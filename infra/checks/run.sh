#!/bin/sh
# What `make check-infra` runs. Argument: the folder of the checkers' programs.
set -eu
bin=$1

# Without --skip-download it asks its maker's server for texts, and waits for it.
checkov() { "$bin/checkov" --quiet --compact --skip-download "$@" 2>/dev/null; }
checkov --framework terraform --directory infra/terraform
checkov --framework dockerfile --directory infra/docker
"$bin/hadolint" infra/docker/*.Dockerfile && echo 'hadolint: no complaint'

if command -v terraform >/dev/null; then
  terraform fmt -check -recursive infra/terraform && echo 'terraform fmt: no complaint'
else
  echo 'terraform fmt: skipped, there is no terraform here'
fi

for lock in requirements.lock infra/docker/*.txt infra/checks/requirements.txt; do
  told=$("$bin/pip-audit" --disable-pip --require-hashes --progress-spinner=off \
    -r "$lock" 2>&1) && code=0 || code=$?
  # A mirror of the index that has no advisories makes it succeed without an audit.
  if echo "$told" | grep -qE 'could not be audited|ConnectionError|Max retries'; then
    echo "pip-audit: skipped, no source of advisories can be reached from here"
    break
  fi
  echo "pip-audit $lock: $told"
  [ "$code" = 0 ] || exit 1
done
