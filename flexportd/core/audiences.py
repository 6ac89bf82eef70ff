"""The marks that a shipment bears: by them a key for a customer shows that customer's shipments."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from flexportd.storage.audiences import CONSIGNEE, METADATA

MARKED_BY = frozenset({"consignees", "metadata"})
"""The fields of a shipment that its marks come from."""

_BLANKS = " \t\n\r"  # the migration that marked what was there before cuts the same


def marks(fields: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Every (mark, value) of a shipment, from its normalised fields; blanks around a value do not count."""
    found = ((mark, value.strip(_BLANKS)) for mark, value in _given(fields) if isinstance(value, str))
    return [(mark, value) for mark, value in found if value]


def _given(fields: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name in _read(fields["consignees"], list) or ():
        yield CONSIGNEE, name
    for key, values in (_read(fields["metadata"], dict) or {}).items():
        for value in values if isinstance(values, list) else [values]:
            yield f"{METADATA}{key}", value


def _read(text: str | None, kind: type) -> Any:
    found = msgspec.json.decode(text) if text else None
    return found if isinstance(found, kind) else None
