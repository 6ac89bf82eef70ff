"""Rows and records as JSON documents."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

import msgspec

from flexportd.core.labels import is_day_only
from flexportd.core.resources.resource_type import ResourceType
from flexportd.http.responses import PreparedResponse, PreparedStreamResponse
from flexportd.storage.queries.table import DATES, MOMENTS, Table, instant_of, is_plausible
from flexportd.storage.repositories.resources import Record
from flexportd.storage.transaction import Transaction

METADATA_FIELDS = ("as_of", "source", "synced_at", "first_seen_at", "removed_at")

_RELATED = "related"  # the values of other objects, beside the columns of a row

_EMPTY_LIST = msgspec.Raw(b"[]")


def field_names(table: Table, facts: Iterable[str] = ()) -> list[str]:
    """The field names of a document, in order; `facts` are the derived values of its resource."""
    names = ["id", *(["flex_id"] if table.name == "shipments" else [])]
    for field in table.public:
        names += [f"{field.name}_at", f"{field.name}_date"] if field.kind in MOMENTS else [field.name]
    return [*names, *facts, "day_only", "implausible", *METADATA_FIELDS]


def serialize_resource(domain: ResourceType, row: Mapping[str, Any], today: date) -> dict[str, Any]:
    """A row of a list as a document, with the values derived on this UTC day, and `raw` if the row has it."""
    facts = None
    if domain.derived_values is not None:
        fields = {field.name: row[field.name] for field in domain.table.public}
        fields |= {name: bool(fields[name]) for name in domain.table.booleans if fields[name] is not None}
        fields |= row.get(_RELATED, {})
        facts = domain.derived_values(fields, today)
    document = serialize_row(domain.table, row, facts)
    if "raw" in row:
        document["raw"] = raw_json(row["raw"])
    return document


def with_related(domain: ResourceType, tx: Transaction, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with the values of other objects that their derived values take."""
    if domain.related_values is None or not rows:
        return rows
    related = domain.related_values(tx, rows)
    return [row | {_RELATED: values} for row, values in zip(rows, related, strict=True)]


def record_row(record: Record, *extra: str) -> dict[str, Any]:
    """A record in the form of a row of a list; `extra` are further columns, such as `raw`."""
    return {"id": record.id, **record.fields, **{name: getattr(record, name) for name in (*METADATA_FIELDS, *extra)}}


def serialize_record(
    domain: ResourceType, record: Record, today: date, fields: Sequence[str] | None, includes: Sequence[str]
) -> dict[str, Any]:
    """A record as a document with the requested fields; `includes` may be `raw`."""
    document = serialize_resource(domain, record_row(record, *includes), today)
    return select_fields(document, None if fields is None else (*fields, *includes))


def serialize_row(table: Table, row: Mapping[str, Any], facts: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A row of a list as a document."""
    document: dict[str, Any] = {"id": row["id"]}
    if table.name == "shipments":
        document["flex_id"] = f"FLEX-{row['id']}"
    day_only: list[str] = []
    implausible: list[str] = []
    for field in table.public:
        name, kind, value = field.name, field.kind, row[field.name]
        if value and kind in DATES and not is_plausible(value):
            implausible.append(name)
        if kind in MOMENTS:
            document[f"{name}_at"] = instant_of(field, value, row) if value else None
            document[f"{name}_date"] = value[:10] if value else None
            if value and (kind == "deadline" or is_day_only(value)):
                day_only.append(name)
        elif kind in ("list", "json"):
            document[name] = msgspec.Raw(value.encode()) if value else _EMPTY_LIST if kind == "list" else None
        elif kind == "boolean":
            document[name] = None if value is None else bool(value)
        else:
            document[name] = value
    if facts is not None:
        document |= facts
    document["day_only"] = day_only
    document["implausible"] = implausible
    for name in METADATA_FIELDS:
        document[name] = row[name] or None  # `as_of` is empty if Flexport reports no time
    return document


def raw_json(text: str) -> msgspec.Raw:
    """Flexport's own JSON, unchanged."""
    return msgspec.Raw(text.encode())


def serialize_fields(model: type, row: Mapping[str, Any], **computed: Any) -> dict[str, Any]:
    """A document with the fields of a TypedDict, from the row or `computed`; an id from the row becomes text."""
    return {
        name: computed[name] if name in computed else str(row[name]) if name == "id" else row[name]
        for name in model.__annotations__
    }


def select_fields(document: dict[str, Any], fields: Iterable[str] | None) -> dict[str, Any]:
    """The document with only these fields; None: all."""
    return document if fields is None else {name: document[name] for name in fields if name in document}


def json_document(document: Any, status: int = 200, **headers: str) -> PreparedStreamResponse:
    """A JSON response that is not cached."""
    return PreparedStreamResponse(PreparedResponse(status, msgspec.json.encode(document), **headers))
