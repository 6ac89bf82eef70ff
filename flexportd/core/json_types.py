"""Types and annotations of fields in JSON documents."""

from typing import Annotated

import msgspec

Stamp = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]
"""A time in UTC: `2026-03-04T02:41:10.512Z`."""

Day = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date"})]
"""A calendar day."""


def doc(text: str) -> msgspec.Meta:
    """The description of a field, in its annotation."""
    return msgspec.Meta(description=text)
