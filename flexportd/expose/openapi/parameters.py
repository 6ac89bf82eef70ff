"""Declaring parameters: each with its JSON schema and the reading of its text, which say the same."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from flexportd.core.resources.resource_type import MAX_ID_LENGTH, ResourceType
from flexportd.core.search.lookup import IDENTIFYING
from flexportd.expose.context import DisplaySettings
from flexportd.expose.cursors import MAX_CURSOR
from flexportd.expose.openapi import query_params
from flexportd.expose.openapi.query_params import FORMATS, MAX_EXPORT, FilterParser, ListRules
from flexportd.expose.openapi.route import Parameter

CURSOR = Parameter(
    name="cursor",
    description="Start of the page: `next` of the previous page, with the same filters and order.",
    schema={"type": "string", "minLength": 1, "maxLength": MAX_CURSOR},
    parse=lambda _, found: found,
)


def integer(name: str, lowest: int, highest: int, about: str, default: int | None = None) -> Parameter:
    """A whole number within bounds."""
    schema: dict[str, Any] = {"type": "integer", "minimum": lowest, "maximum": highest}
    if default is not None:
        schema["default"] = default
    return Parameter(
        name=name,
        description=about,
        schema=schema,
        parse=lambda n, text: query_params.integer(n, text, lowest, highest),
    )


def choice(name: str, allowed: Sequence[str], about: str, *, required: bool = False) -> Parameter:
    """One of a few words."""
    return Parameter(
        name=name,
        description=about,
        schema={"type": "string", "enum": list(allowed)},
        parse=lambda n, text: query_params.choice(n, text, allowed),
        required=required,
        example=allowed[0],
    )


def text(name: str, about: str, *, required: bool = False, example: str | None = None) -> Parameter:
    """Any text that is not blank."""
    parse = query_params.equals(name)
    return Parameter(
        name=name,
        description=about,
        schema=parse.schema,
        parse=lambda n, found: parse(n, found)[1][0],
        required=required,
        example=example,
    )


def list_filter(name: str, parse: FilterParser) -> Parameter:
    """What a filter's parser reads, as a parameter whose list reads it."""
    return Parameter(name=name, description=parse.description, schema=parse.schema, example=parse.example)


def from_filter(name: str, parse: FilterParser) -> Parameter:
    """What a filter's parser reads, as a parameter with that one value."""
    return Parameter(
        name=name,
        description=parse.description,
        schema=parse.schema,
        example=parse.example,
        parse=lambda n, found: parse(n, found)[1][0],
    )


def identifier(about: str = "Id of the object.", name: str = "id", example: str = "1") -> Parameter:
    """A part of the path: any id."""
    schema = {"type": "string", "minLength": 1, "maxLength": MAX_ID_LENGTH}
    return Parameter(name=name, description=about, schema=schema, where="path", required=True, example=example)


def id_param(domain: ResourceType) -> Parameter:
    """The id of one object of a domain, in the path; a reference that only this object has will do."""
    fields = [name.replace("_", " ") for name in IDENTIFYING.get(domain.name, ()) if name != "id"]
    flex = ", with or without FLEX-" if domain.name == "shipments" else ""
    reference = f"; or its {' or '.join(fields)}, if unique" if fields else ""
    example = "910233" if domain.ids == "integer" else "AU63XTcrQH-JrTpLIRXW0w"
    found = identifier(f"Flexport's id of the {domain.label}{flex}{reference}.", example=example)
    return replace(found, domain=domain)


AS_OF = Parameter(
    name="as_of",
    description="State as known to flexportd at this time; a day begins at 00:00 UTC.",
    schema=query_params.MOMENT,
    example="2026-03-21T12:00:00Z",
)


def csv_of(name: str, allowed: Sequence[str], about: str) -> Parameter:
    """A comma list of known words."""
    items = {"type": "string", "enum": list(allowed)}
    return Parameter(
        name=name,
        description=about,
        schema={"type": "array", "items": items, "minItems": 1},
        parse=lambda n, found: query_params.choices(n, found, allowed),
        example=list(allowed[:2]),
    )


def object_params(fields: Sequence[str], includes: Sequence[str], *, past: bool = True) -> tuple[Parameter, ...]:
    """What a request for one object may ask."""
    found = [csv_of("fields", fields, "Return only these fields (comma-separated).")]
    if includes:
        found.append(csv_of("include", includes, "Also include: Flexport's own JSON, the cause of each field."))
    return (*found, *((AS_OF,) if past else ()))


def list_params(rules: ListRules, *, past: bool = False) -> tuple[Parameter, ...]:
    """What a list lets itself be asked; the list reads these itself."""
    shown = DisplaySettings()
    orders = [word for name in rules.sorts for word in (f"-{name}", name)]
    schemas: dict[str, tuple[Any, str, Any]] = {
        "limit": (
            {"type": "integer", "minimum": 1, "maximum": MAX_EXPORT, "default": shown.page_size},
            f"Rows per page, at most {shown.max_page_size} unless configured otherwise; of an export: total rows.",
            20,
        ),
        "cursor": (CURSOR.schema, CURSOR.description, None),
        "sort": (
            {"type": "string", "enum": orders, "default": orders[0]},
            "Sort order; prefix `-` reverses it.",
            orders[0],
        ),
        "format": (
            {"type": "string", "enum": list(FORMATS), "default": "json"},
            (
                "All others stream every row. csv and csv-bom are for spreadsheets: text that could be read as a "
                "formula is prefixed with an apostrophe, and csv-bom starts with a byte order mark. csv-raw has "
                "unchanged values, for programs."
            ),
            "json",
        ),
    }
    found = [
        Parameter(name=name, description=about, schema=s, example=example)
        for name, (s, about, example) in schemas.items()
    ]
    if rules.fields:
        found.append(csv_of("fields", rules.fields, "Return only these fields (comma-separated)."))
    if rules.includes:
        found.append(csv_of("include", rules.includes, "Also include: Flexport's own JSON."))
    found += [list_filter(name, parse) for name, parse in rules.filters.items()]
    # Lists read their own, so that a filter's value and its part of the query are made at one place.
    listed = [
        Parameter(name=one.name, description=one.description, schema=one.schema, example=one.example) for one in found
    ]
    return (*listed, *((AS_OF,) if past else ()))
