"""The Terraform configuration as plain Python values, for tests of its structure."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hcl2

PROJECT = Path(__file__).resolve().parents[2]
FOLDER = PROJECT / "infra" / "terraform"
SCHEMA = Path(__file__).parent / "google-6.50.0.json"

# Of Terraform itself, allowed in every resource.
META = {"count", "for_each", "depends_on", "lifecycle", "provider"}
_PARSER_NOTES = ("__is_block__", "__comments__")


@dataclasses.dataclass(frozen=True, slots=True)
class Resource:
    """A resource or a datum.

    Attributes:
        kind: its type, `data.` before it where it is only read.
        name: its name.
        body: its arguments; a block is a dict, several are a list of dicts.
        comments: inside of it.
    """

    kind: str
    name: str
    body: dict[str, Any]
    comments: tuple[str, ...]

    @property
    def address(self) -> str:
        """As expressions name it."""
        return f"{self.kind}.{self.name}"


@dataclasses.dataclass(frozen=True, slots=True)
class Configuration:
    """All files of a folder together.

    Attributes:
        resources: by address.
        variables: by name.
        local_values: by name.
        outputs: by name.
        others: blocks `terraform` and `provider`.
        text: of all files, without comments.
    """

    resources: dict[str, Resource]
    variables: dict[str, dict[str, Any]]
    local_values: dict[str, Any]
    outputs: dict[str, dict[str, Any]]
    others: dict[str, list[dict[str, Any]]]
    text: str

    def of_kind(self, kind: str) -> list[Resource]:
        """Resources of a type."""
        return [one for one in self.resources.values() if one.kind == kind]


@functools.cache
def configuration() -> Configuration:
    """The project's, parsed once a process."""
    return parse([path.read_text() for path in sorted(FOLDER.glob("*.tf"))])


def parse(texts: list[str]) -> Configuration:
    """Files as one configuration."""
    found = Configuration({}, {}, {}, {}, {}, "\n".join(map(_uncommented, texts)))
    for text in texts:
        for section, blocks in hcl2.loads(text).items():
            if section in _PARSER_NOTES:
                continue
            for block in blocks:
                _add(found, section, block)
    return found


def _uncommented(text: str) -> str:
    return re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE)


def _add(found: Configuration, section: str, block: dict[str, Any]) -> None:
    plain = _plain(block)
    if section in ("resource", "data"):
        for kind, named in _items(block):
            for name, body in _items(named):
                prefix = "data." if section == "data" else ""
                one = Resource(
                    prefix + _text(kind), _text(name), _plain(body), _comments(body)
                )
                assert one.address not in found.resources, one.address
                found.resources[one.address] = one
    elif section == "variable":
        found.variables.update(plain)
    elif section == "output":
        found.outputs.update(plain)
    elif section == "locals":
        found.local_values.update(plain)
    else:
        found.others.setdefault(section, []).append(plain)


def _items(block: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    return ((key, value) for key, value in block.items() if key not in _PARSER_NOTES)


def _comments(body: dict[str, Any]) -> tuple[str, ...]:
    return tuple(note["value"] for note in body.get("__comments__", []))


def _plain(value: Any) -> Any:
    """Without the parser's notes and quotation marks."""
    if isinstance(value, dict):
        return {_text(key): _plain(inner) for key, inner in _items(value)}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return _text(value) if isinstance(value, str) else value


def _text(value: str) -> str:
    if len(value) >= 2 and value.startswith('"') and value.endswith('"'):
        return value[1:-1].replace('\\"', '"')
    return value


@functools.cache
def provider_schema() -> dict[str, Any]:
    """Arguments of the provider's resources; see `provider_schema.py`."""
    schema: dict[str, Any] = json.loads(SCHEMA.read_text())
    return schema


def faults(body: dict[str, Any], schema: dict[str, Any], where: str) -> Iterator[str]:
    """What a body says that the provider does not know, or lacks that it must have."""
    for name, value in body.items():
        if name in META:
            continue
        if name not in schema:
            yield f"{where}.{name} is unknown"
        elif "block" in schema[name]:
            blocks = value if isinstance(value, list) else [value]
            for block in blocks:
                if isinstance(block, dict):
                    yield from faults(block, schema[name]["block"], f"{where}.{name}")
    for name, known in schema.items():
        if known["required"] and name not in body:
            yield f"{where}.{name} is missing"


_REFERENCE = re.compile(r"(?<![\w.\"/-])((?:data\.)?google_\w+\.[a-z_]+)")


def references(text: str) -> set[str]:
    """Addresses of resources that expressions name."""
    return set(_REFERENCE.findall(text))


def evaluated(text: str, **variables: str) -> str:
    """A text with its variables and plain local values put in."""
    for name, value in variables.items():
        text = text.replace(f"${{var.{name}}}", value)
    return text
