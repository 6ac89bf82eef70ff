"""Times as text, in documents whose form is told to others."""

from typing import Annotated

import msgspec

Stamp = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]
"""A time in UTC: `2026-03-04T02:41:10.512Z`."""

Day = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date"})]
"""A calendar day."""
