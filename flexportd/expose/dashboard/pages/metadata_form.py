"""The form for the metadata of a shipment."""

from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web

from flexportd.core.outbox.kinds import OPERATION_KINDS
from flexportd.core.resources.shipments import RESOURCE_TYPE
from flexportd.expose.api.shipments import current_record
from flexportd.expose.dashboard.body_form import FormChange, FormField, FormRows, FormSection, body_of, values_of
from flexportd.expose.dashboard.page import PageTable
from flexportd.expose.dashboard.write_form import (
    WriteForm,
    add_change_form,
    check_access,
)

KIND = OPERATION_KINDS["shipment.set_metadata"]

PAGES = PageTable("shipments")

SECTIONS = (
    FormSection(
        "Keys",
        (
            FormRows(
                "/metadata",
                "key",
                (FormField("/key", "Key"), FormField("/values", "Values", "lines", hint="One on each line.")),
            ),
        ),
        "A key without values is removed. The keys are those that the consignee has defined at Flexport.",
    ),
)
"""The form of metadata, which has a row for each key."""


def _rows(metadata: Any) -> dict[str, Any]:
    """Metadata as the form has it."""
    pairs = metadata.items() if isinstance(metadata, Mapping) else ()
    return {"metadata": [{"key": key, "values": value if isinstance(value, list) else [value]} for key, value in pairs]}


def _map(rows: Mapping[str, Any]) -> dict[str, list[str]]:
    """The metadata of the form, without keys that have no values."""
    found: dict[str, list[str]] = {}
    for row in rows.get("metadata", ()):
        found.setdefault(row.get("key", ""), []).extend(map(str, row.get("values", ())))
    return {key: values for key, values in found.items() if values}


def changed_metadata(rows: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """The keys to set, and null for those to remove."""
    new, old = _map(rows), _map(base)
    changed: dict[str, Any] = {key: values for key, values in new.items() if old.get(key) != values}
    return {"metadata": changed | {key: None for key in old if key not in new}}


def _changes(base: Mapping[str, Any], body: Mapping[str, Any]) -> list[FormChange]:
    old = _map(base)
    return [FormChange(key, ", ".join(old.get(key, ())), ", ".join(new or ())) for key, new in body["metadata"].items()]


async def _form(request: web.Request) -> WriteForm:
    check_access(request, KIND)
    record = await current_record(request, RESOURCE_TYPE)
    path = f"/shipments/{record.id}"
    return WriteForm(
        KIND,
        f"Metadata of FLEX-{record.id}",
        f"{path}/metadata",
        (("Shipments", "/shipments"), (f"FLEX-{record.id}", path)),
        SECTIONS,
        changed_metadata,
        _changes,
        target=record.id,
        base=body_of(values_of(_rows(msgspec.json.decode(record.raw).get("metadata")), SECTIONS), SECTIONS),
        hint="Only the keys that you change are sent; the others stay.",
    )


add_change_form(PAGES, "/shipments/{id:[^/]+}/metadata", "shipments", _form)
