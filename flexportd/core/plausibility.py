"""What an object says that cannot be right: a date in 1970, a time zone that does not exist. It is kept, and noted."""

from collections.abc import Iterator, Mapping
from typing import Any

from flexportd.core.values import is_plausible, zone_of
from flexportd.storage.resources import DATES, Table


def oddities(table: Table, fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each of them once, as (a sentence that names the field, the value)."""
    for field in table.fields:
        value = fields.get(field.name)
        if not value or not isinstance(value, str):
            continue
        is_date = field.kind in DATES or (field.internal and field.kind == "text")
        if is_date and not is_plausible(value):
            yield f"{field.name.removeprefix('told_')} is not a plausible date", value
        elif field.name.endswith("timezone") and zone_of(value) is None:
            yield f"{field.name} is not a known time zone", value
