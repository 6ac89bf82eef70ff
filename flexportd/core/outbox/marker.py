"""Markers: a text that goes to Flexport with a write, so that a look-up recognises what the write made.

Flexport's API has no idempotency keys. Metadata takes only keys that the consignee has defined, so by default the
marker stands in a text field (https://apidocs.flexport.com/v2/tag/Booking).
"""

import re
from collections.abc import Mapping
from typing import Any

_PREFIX = "flexportd:"
_MARKER = re.compile(rf"{_PREFIX}([0-9a-f]{{16}})")
_REMOVED = re.compile(rf"\n?{_PREFIX}[0-9a-f]{{16}}")


def marker(key: str) -> str:
    """The marker of an operation."""
    return f"{_PREFIX}{key}"


def keys_in(*texts: Any) -> set[str]:
    """The keys of the operations whose markers are in these texts."""
    return {key for text in texts if isinstance(text, str) for key in _MARKER.findall(text)}


def without_markers(text: str) -> str:
    """The text without markers and the line ends before them."""
    return _REMOVED.sub("", text)


def metadata_texts(metadata: Any) -> list[str]:
    """All texts of a metadata map."""
    if not isinstance(metadata, Mapping):
        return []
    values = (value if isinstance(value, list) else [value] for value in metadata.values())
    return [text for listed in values for text in listed if isinstance(text, str)]


def with_text_marker(body: Mapping[str, Any], field: str, key: str) -> dict[str, Any]:
    """The body with a marker at the end of a text field."""
    text = body.get(field)
    return {**body, field: f"{text}\n{marker(key)}" if text else marker(key)}


def with_metadata_marker(body: Mapping[str, Any], name: str, key: str) -> dict[str, Any]:
    """The body with a marker under this key of its metadata."""
    return {**body, "metadata": {**(body.get("metadata") or {}), name: [marker(key)]}}
