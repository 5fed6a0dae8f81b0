"""What arguments Terraform's Google provider knows, as data that lies beside the tests.

    python tests/infra/provider_schema.py WHEEL > tests/infra/google-6.50.0.json

The provider itself cannot be had from a package registry, but its bindings can:
`pip download --no-deps cdktf-cdktf-provider-google==16.12.1`, made by its authors from
the schema of version 6.50.0. Their source is parsed, never run: an argument without a
default is required, and one of a class of the module is a block of that class's.
"""

from __future__ import annotations

import ast
import json
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

# Of Terraform itself and of the bindings, for every resource.
_META = {
    *("connection", "count", "depends_on", "for_each", "lifecycle", "provider"),
    *("provisioners", "id", "timeouts"),
}


def used_types(folder: Path) -> list[str]:
    """Kinds of resources and data that a configuration declares."""
    pattern = re.compile(r'^(resource|data) "(google_\w+)"', re.MULTILINE)
    found = {
        f"data.{name}" if kind == "data" else name
        for path in sorted(folder.glob("*.tf"))
        for kind, name in pattern.findall(path.read_text())
    }
    return sorted(found)


def schema_of(source: str) -> dict[str, Any]:
    """The arguments of a resource, from its module of the bindings."""
    classes = {
        node.name: node
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef)
    }
    resource = next(
        name
        for name, node in classes.items()
        if _base(node) == "TerraformMetaArguments"
    )
    return _arguments(classes[resource], classes)


def _base(node: ast.ClassDef) -> str:
    return ast.unparse(node.bases[0]).rpartition(".")[2] if node.bases else ""


def _arguments(node: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> dict[str, Any]:
    init = next(
        item
        for item in node.body
        if isinstance(item, ast.FunctionDef) and item.name == "__init__"
    )
    arguments = {}
    for argument, default in zip(
        init.args.kwonlyargs, init.args.kw_defaults, strict=True
    ):
        entry: dict[str, Any] = {"required": default is None}
        block = _block(ast.unparse(argument.annotation or ast.Constant("")), classes)
        if block is not None:
            entry["block"] = _arguments(block, classes)
        arguments[argument.arg] = entry
    return arguments


def _block(annotation: str, classes: dict[str, ast.ClassDef]) -> ast.ClassDef | None:
    for name in re.findall(r"\w+", annotation):
        if name in classes:
            return classes[name]
    return None


def main() -> None:
    """Write the schema of what infra/terraform declares."""
    folder = Path(__file__).resolve().parents[2] / "infra" / "terraform"
    with zipfile.ZipFile(sys.argv[1]) as wheel:
        schema = {}
        for name in used_types(folder):
            module = name.removeprefix("data.").removeprefix("google_")
            if name.startswith("data."):
                module = f"data_google_{module}"
            source = wheel.read(f"cdktf_cdktf_provider_google/{module}/__init__.py")
            schema[name] = schema_of(source.decode())
    lines = (
        f"{json.dumps(name)}: {json.dumps(schema[name], sort_keys=True)}"
        for name in sorted(schema)
    )
    print("{", ",\n".join(lines), "}", sep="\n")


if __name__ == "__main__":
    main()
