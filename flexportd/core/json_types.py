"""JSON documents whose schema is published: types and annotations of fields, and documents by their TypedDict."""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, cast

import msgspec

Stamp = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]
"""A time in UTC: `2026-03-04T02:41:10.512Z`."""

Day = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date"})]
"""A calendar day."""
D = TypeVar("D")


def doc(text: str) -> msgspec.Meta:
    """The description of a field, in its annotation."""
    return msgspec.Meta(description=text)


def document_of(shape: type[D], values: Mapping[str, Any], /, **computed: Any) -> D:
    """A document with exactly the fields of a TypedDict: the computed ones, the others from `values`."""
    fields = {name: computed[name] if name in computed else values[name] for name in shape.__annotations__}
    return cast("D", fields)
