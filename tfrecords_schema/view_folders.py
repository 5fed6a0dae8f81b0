"""The published views as folders of data in `infra/warehouse/views`.

A folder `<name>` holds `view.sql`, a query in BigQuery's dialect over the published
tables, and `metadata.yaml`, with a description of every column it gives. Whatever is
wrong in one is a `ValueError` that names the file.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import importlib.resources
from collections.abc import Collection, Mapping, Sequence
from importlib.resources.abc import Traversable

import jinja2
import jinja2.meta

from tfrecords_schema.definition_files import (
    VIEWS,
    identifier,
    mapping,
    read_text,
    read_yaml,
    refuse_repeats,
    text,
    validate_labels,
)
from tfrecords_schema.table_folders import published_tables
from tfrecords_schema.tables import JINJA

NO_DATE = datetime.date(1, 1, 1)
"""Stands for a date that is not there; no partition has it."""

_DATES = frozenset({"first", "previous", "latest"})
_TEXTS = ("friendly_name", "description", "owner")
_KEYS = frozenset({*_TEXTS, "labels", "columns"})


@dataclasses.dataclass(frozen=True, slots=True)
class PublishedDates:
    """The dates that the views look at.

    They stand in the views as constants, written anew whenever a date is published:
    BigQuery prunes partitions by constants only, and refuses a query over a table with
    a required filter that has none.

    Attributes:
        first: oldest of any table.
        previous: second newest of the rankings.
        latest: newest of the rankings.
    """

    first: datetime.date = NO_DATE
    previous: datetime.date = NO_DATE
    latest: datetime.date = NO_DATE

    @classmethod
    def of(
        cls, rankings: Collection[datetime.date], every: Collection[datetime.date]
    ) -> PublishedDates:
        """From the dates of the rankings and those of all tables."""
        newest = sorted(set(rankings))[-2:]
        previous, latest = [NO_DATE] * (2 - len(newest)) + newest
        return cls(min(every, default=NO_DATE), previous, latest)


@dataclasses.dataclass(frozen=True, slots=True)
class PublishedView:
    """A published view: what its folder says.

    Attributes:
        name: public name.
        friendly_name: title for people.
        description: what one row is, and what the view is for.
        owner: who answers for it.
        labels: for search in BigQuery.
        columns: names and descriptions, in order.
        sql: template; names in braces are tables, or one of the dates.
        relations: the tables that it looks at.
    """

    name: str
    friendly_name: str
    description: str
    owner: str
    labels: Mapping[str, str]
    columns: tuple[tuple[str, str], ...]
    sql: str
    relations: frozenset[str]

    def render(self, relations: Mapping[str, str], dates: PublishedDates) -> str:
        """The query in BigQuery's dialect over tables of the given names."""
        names = {name: f"`{relations[name]}`" for name in self.relations}
        constants = {
            name: f"DATE '{getattr(dates, name).isoformat()}'" for name in _DATES
        }
        return JINJA.from_string(self.sql).render({**names, **constants})


@functools.cache
def published_views() -> Mapping[str, PublishedView]:
    """Every published view by its name, read once."""
    return load_views(
        importlib.resources.files("infra") / "warehouse" / VIEWS,
        tables=published_tables(),
    )


def load_views(
    folder: Traversable, *, tables: Collection[str]
) -> Mapping[str, PublishedView]:
    """The views defined by the folders of `folder`, in the order of their names.

    Raises:
        ValueError: a definition is wrong, or a view has the name of a table.
    """
    views = [
        load_view(entry, tables=tables)
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if entry.is_dir() and not entry.name.startswith((".", "_"))
    ]
    for view in views:
        if view.name in tables:
            raise ValueError(f"{folder}: {view.name} is the name of a table")
    return {view.name: view for view in views}


def load_view(folder: Traversable, *, tables: Collection[str]) -> PublishedView:
    """The view that one folder defines.

    Raises:
        ValueError: the definition is wrong; the message names the file.
    """
    file = folder / "metadata.yaml"
    metadata = read_yaml(file, _KEYS)
    for key in _TEXTS:
        text(metadata[key], where=f"{file}: {key}")
    validate_labels(metadata["labels"], where=f"{file}: labels")
    metadata["columns"] = _columns(metadata["columns"], where=f"{file}: columns")
    sql = read_text(folder / "view.sql").strip()
    return PublishedView(
        name=identifier(folder.name, where=f"{folder}"),
        sql=sql,
        relations=_relations(sql, tables, where=f"{folder / 'view.sql'}"),
        **metadata,
    )


def _columns(rows: object, *, where: str) -> tuple[tuple[str, str], ...]:
    if not isinstance(rows, Sequence) or isinstance(rows, str) or not rows:
        raise ValueError(f"{where} is {rows!r}; expected a list")
    fields = [mapping(row, {"name", "description"}, where=where) for row in rows]
    columns = tuple(
        (
            identifier(field["name"], where=where),
            text(field["description"], where=f"{where}: {field['name']}"),
        )
        for field in fields
    )
    refuse_repeats([name for name, _ in columns], where=where)
    return columns


def _relations(sql: str, tables: Collection[str], *, where: str) -> frozenset[str]:
    try:
        names = jinja2.meta.find_undeclared_variables(JINJA.parse(sql))
    except jinja2.TemplateSyntaxError as error:
        raise ValueError(f"{where}: {error}") from None
    relations = frozenset(names - _DATES)
    if unknown := sorted(relations.difference(tables)):
        raise ValueError(
            f"{where}: {unknown[0]} is neither a published table nor a date"
        )
    return relations
