"""The requests of operations, as they are sent to Flexport."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from flexportd.core.outbox.kinds import OperationKind
from flexportd.core.outbox.marker import with_metadata_marker, with_text_marker, without_markers
from flexportd.settings import Settings

PLACEHOLDER = "0" * 16  # for the key in the marker of what is not stored


@dataclass(frozen=True, slots=True)
class WriteRules:
    """What `[writes]` says: whether writes are enabled, which groups are allowed and which need an approval."""

    enabled: bool = False
    allow: frozenset[str] = frozenset()
    approval: frozenset[str] = frozenset()
    marker_metadata_key: str | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> "WriteRules":
        """The rules of the settings."""
        writes = settings.writes
        return cls(writes.enabled, frozenset(writes.allow), frozenset(writes.approval), writes.marker_metadata_key)

    def refusal(self, kind: OperationKind) -> str | None:
        """Why a kind may not be written; None if it may."""
        if not self.enabled:
            return "writes to Flexport are disabled; set [writes] enabled = true to allow them"
        if kind.group not in self.allow:
            return f"writes of {kind.group} are not allowed; add {kind.group!r} to [writes] allow"
        return None


@dataclass(frozen=True, slots=True)
class OutgoingWrite:
    """A request to Flexport."""

    method: str
    path: str
    body: Mapping[str, Any]


def outgoing(
    kind: OperationKind, body: Mapping[str, Any], target_id: str | None, rules: WriteRules, key: str = PLACEHOLDER
) -> OutgoingWrite:
    """The request for a body, with the marker of the operation that has this key.

    For metadata of a shipment, the body is completed with the present metadata before it is sent.
    """
    sent = dict(body)
    text = sent.get(kind.marker_field or "")
    if kind.marker_field is not None and isinstance(text, str):
        sent[kind.marker_field] = without_markers(text)  # of the write that it was copied from
    if kind.name == "booking.amend":
        sent = {"booking_id": id_value(target_id), **sent}
    if kind.name == "booking.create" and rules.marker_metadata_key is not None:
        sent = with_metadata_marker(sent, rules.marker_metadata_key, key)
    elif kind.marker_field is not None:
        sent = with_text_marker(sent, kind.marker_field, key)
    segment = quote(target_id or "", safe="").replace(".", "%2E")
    return OutgoingWrite(kind.method, kind.path.replace("{id}", segment), sent)


def merge_metadata(present: Any, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The whole metadata map after setting these keys; null removes one, a text counts as a list of one."""
    merged = dict(present) if isinstance(present, Mapping) else {}
    for name, value in wanted.items():
        if value is None or value == []:
            merged.pop(name, None)
        else:
            merged[name] = value if isinstance(value, list) else [value]
    return merged


def id_value(key: str | None) -> int | str:
    """An id as Flexport has it: a number, or a text."""
    return int(key) if key is not None and key.isascii() and key.isdigit() else key or ""
