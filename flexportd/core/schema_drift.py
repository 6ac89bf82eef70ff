"""Drift: what Flexport sends that nobody published. It is noted, counted and shown; nothing ever breaks on it.

Most objects hold nothing new, and a strict decoder finds that out in C, in a few microseconds. What it refuses is
opened one level at a time, each part checked in C again, so that only the way to what is strange is walked:

bytes ─ check ─▶ nothing
          └ refused ─▶ walk ─▶ findings by (kind, object, name) ─▶ table `drift`
"""

import re
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
import structlog

from flexportd.core.resources.plausibility import anomalies
from flexportd.escape import escape_control
from flexportd.flexport.milestones import milestone
from flexportd.flexport.models.wire import FieldFault
from flexportd.flexport.object_names import canonical
from flexportd.flexport.published_schema import LINKS, FieldKind, ListOf, ObjectShape, OpenEnum, Spec, published_schema
from flexportd.storage.queries.table import Table
from flexportd.storage.repositories.schema_drift import TOO_MANY, DriftRecord
from flexportd.storage.transaction import Transaction

log = structlog.get_logger(__name__)

FUTURE_TIMESTAMP = "updated_at lies in the future"
TIMESTAMP_WENT_BACK = "updated_at ran backwards"

_MAX_FINDINGS = 1000  # different findings between two writes
_MAX_LOGGED = 20  # new findings of one write that get a line in the log
_MAX_LINK_DEPTH = 16  # expanded links within expanded links
_MAX_NAME, _MAX_VALUE, _MAX_EXAMPLE = 200, 80, 200  # characters
_MAX_ESCAPED_EXAMPLE = 500  # characters of an example in which what is hostile was spelled out
_NUMBERS = re.compile(r"\d+")

JsonText = bytes | msgspec.Raw
"""JSON as it came."""
FindingKey = tuple[str, str, str]
"""(kind, object, name) of a finding."""
FieldPath = tuple[Any, str]
"""A field: (what it belongs to, its name); what it belongs to is a path, or the name of the object at the top."""


class _Data(msgspec.Struct):
    resource: msgspec.Raw


class _Event(msgspec.Struct):
    data: _Data


_event = msgspec.json.Decoder(_Event).decode
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_raws = msgspec.json.Decoder(list[msgspec.Raw]).decode
_word = msgspec.json.Decoder(str).decode

_PAGE = ObjectShape(frozenset(), dict.fromkeys(("_object", "prev", "next", "total_count", "data"), FieldKind.ANY))


# What was found in short values that a check refused: the same words come again and again.
_WALK_CACHE: dict[tuple[str, str, bytes], dict[FindingKey, JsonText]] = {}
_MAX_CACHED_VALUE, _MAX_CACHED_WALKS = 120, 2000
_ENVELOPE_SAMPLE = 8  # events whose envelope is looked through; their types all are


class SchemaDrift:
    """What one piece of work came across, such as a batch of events.

    `source` (webhook, events, sync) is what brings that which is looked at; it may be set anew at any time. Any thread
    may look while another writes.
    """

    def __init__(self, source: str = "sync") -> None:
        self.source = source
        self._published = published_schema()
        self._lock = threading.Lock()
        self._found: dict[FindingKey, DriftRecord] = {}
        self._events = 0

    def inspect(self, object_name: str, text: bytes) -> bool:
        """Look through one object, given by its canonical `_object` and its exact JSON. Never raises.

        Returns whether it is as published; then every part of it was decoded, and can be read.
        """
        check = self._published.checks.get(object_name)
        if check is None:
            self._note(("object", object_name, "_object"), text)
            return False
        try:
            check(text)
        except (ValueError, RecursionError):
            walk = _SchemaWalk(object_name)
            with suppress(ValueError, RecursionError):  # what cannot be read is for those to tell who need it
                walk.walk(text)
            self._note_all(walk)
            return False
        return True

    def inspect_changed(self, object_name: str, changed: Mapping[str, msgspec.Raw]) -> None:
        """Look through some top-level fields of an object, each given as its JSON. Never raises."""
        shape = self._published.shapes.get(object_name)
        if shape is None:
            return  # it was noted when it was new
        checks = self._published.members(shape)
        for name, part in changed.items():
            try:
                checks[name](part)
            except (ValueError, RecursionError, KeyError):
                self._note_field(object_name, shape, name, part)

    def _note_field(self, object_name: str, shape: ObjectShape, name: str, part: msgspec.Raw) -> None:
        """What is strange about one field; the same short value is walked through once."""
        text = bytes(part)
        key = (object_name, name, text)
        found = _WALK_CACHE.get(key)
        if found is None:
            walk = _SchemaWalk(object_name)
            with suppress(ValueError, RecursionError):
                walk.fields(shape, {name: part}, object_name)
            found = walk.found
            if len(text) <= _MAX_CACHED_VALUE and len(_WALK_CACHE) < _MAX_CACHED_WALKS:
                _WALK_CACHE[key] = found
        for one, example in found.items():
            self._note(one, example)

    def inspect_event(self, event_type: str | None, body: bytes, resource: str | None) -> None:
        """Look through an event: its type, what holds its objects, and the name of what it is about. Never raises.

        `resource` is the canonical `_object` of what it is about; a published one is for the caller to look through.
        What holds the objects is the same in all events: one of eight is looked through, to spare the rest.
        """
        if event_type is not None and milestone(event_type) is None:
            self._note(("event_type", "/event", event_type), event_type.encode("utf-8", "replace"))
        self._events += 1
        if self._events % _ENVELOPE_SAMPLE == 1:
            self.inspect("/event", body)
        if resource is not None and resource not in self._published.checks:
            with suppress(ValueError, RecursionError):
                text = bytes(_event(body).data.resource)
                self._note(("object", resource or "(without a name)", "_object"), text)

    def report(self, object_name: str, sentence: str, example: str = "") -> None:
        """Note an answer that is odd as a whole. The sentence is its name, with N for numbers: those vary."""
        name, shown = _NUMBERS.sub("N", sentence), example or sentence
        self._note(("response", object_name, name), shown.encode("utf-8", "replace"))

    def report_implausible(self, object_name: str, table: Table, fields: Mapping[str, Any]) -> None:
        """Note what our fields of an object hold that cannot be right."""
        for sentence, value in anomalies(table, fields):
            self.report(object_name, sentence, value)

    def report_faults(self, object_name: str, faults: Sequence[FieldFault], fields: Mapping[str, msgspec.Raw]) -> None:
        """Note known fields that cannot be read; `fields` are those of the object."""
        for fault in faults:
            self._note(("shape", object_name, _NUMBERS.sub("N", fault)), fields.get(fault.field, b""))

    def drain(self) -> list[DriftRecord]:
        """What was found since this was last asked."""
        with self._lock:
            found, self._found = list(self._found.values()), {}
        return found

    def write(self, tx: Transaction, at: str) -> None:
        """Merge what was found into the table, and say in the log what was never seen before."""
        if not self._found:
            return
        for finding in tx.drift.merge(self.drain(), at)[:_MAX_LOGGED]:
            log.info("schema_drift_detected", kind=finding.kind, object=finding.object, name=finding.name)

    def _note_all(self, walk: "_SchemaWalk") -> None:
        for key, text in walk.found.items():
            self._note(key, text)

    def _note(self, key: FindingKey, example: JsonText) -> None:
        with self._lock:
            if key not in self._found and len(self._found) >= _MAX_FINDINGS:
                key, example = ("response", "", TOO_MANY), b""
            known = self._found.get(key)
            if known is not None:
                known.count += 1
                return
            kind, owner, name = key
            shown = excerpt(example, _MAX_EXAMPLE)
            self._found[key] = DriftRecord(
                kind, escape_control(owner, _MAX_NAME), escape_control(name, _MAX_NAME), shown, self.source
            )


class _SchemaWalk:
    """One walk through an object: only what a check refuses is opened. `found` has each strange thing once."""

    def __init__(self, object_name: str) -> None:
        self.found: dict[FindingKey, JsonText] = {}
        self._published = published_schema()
        self._top = object_name
        self._depth = 0

    def walk(self, text: JsonText) -> None:
        """Through one object, given by its JSON. Raises ValueError or RecursionError where it cannot be read."""
        if _kind(text) == "an object":
            self._object(self._published.shapes[self._top], text, self._top)
        else:
            self.found["shape", self._top, f"is {_kind(text)}"] = text

    def fields(self, shape: ObjectShape, members: Mapping[str, msgspec.Raw], at: FieldPath | str) -> None:
        """Through some fields of an object. Raises ValueError or RecursionError where they cannot be read."""
        checks = self._published.members(shape)
        for name, part in members.items():
            check = checks.get(name)
            if check is None:
                self._add("field", (at, name), part)
                continue
            try:
                check(part)
            except ValueError:
                self._walk_value(shape.fields[name], part, (at, name))

    def _object(self, shape: ObjectShape, text: JsonText, at: FieldPath | str) -> None:
        """Through an object that ought to have this shape; by its `_object` it may turn out to be another."""
        members = _members(text)
        name = _name(members) if shape.names else None
        if name is None or name in shape.names:
            self.fields(shape, members, at)
        elif name in LINKS:
            self.fields(self._published.link, members, at)
        elif name not in self._published.shapes:
            self._add("object", (at, "_object"), text, members["_object"])
        elif self._depth < _MAX_LINK_DEPTH:  # an expanded link: what it holds goes by its own name
            self._depth += 1
            self.fields(self._published.shapes[name], members, name)
            self._depth -= 1

    def _walk_value(self, spec: Spec, text: msgspec.Raw, at: FieldPath) -> None:
        """Through what a check has refused."""
        kind = _kind(text)
        if spec is FieldKind.LINK:
            self._link(kind, text, at)
        elif isinstance(spec, ObjectShape) and kind == "an object":
            self._object(spec, text, at)
        elif isinstance(spec, ListOf) and kind == "a list":
            self._walk_items(spec.of, text, at)
        elif isinstance(spec, OpenEnum) and kind not in ("an object", "a list"):
            if kind != "a text" or canonical(_word(text)) not in spec.known:
                self._add("value", at, text, text)
        elif spec is not FieldKind.NAME and bytes(text) not in (b'""', b"[]"):  # a name was looked at with its object
            self._add("shape", at, text, kind)

    def _walk_items(self, spec: Spec, text: JsonText, at: FieldPath) -> None:
        check, inside = self._published.check(spec), (at[0], f"{at[1]}[]")
        for one in _raws(text):
            try:
                check(one)
            except ValueError:
                self._walk_value(spec, one, inside)

    def _link(self, kind: str, text: msgspec.Raw, at: FieldPath) -> None:
        """What came in the place of a link: an object, a list of objects, a page of them."""
        if kind == "a list":
            self._walk_items(self._published.link, text, at)
            return
        if kind != "an object":
            self._add("shape", at, text, kind)
            return
        members = _members(text)
        if "data" not in members or _name(members) in self._published.shapes:
            self._object(self._published.link, text, at)
            return
        self.fields(_PAGE, members, at)
        data, inside = members["data"], (at, "data")
        if _kind(data) == "an object":
            page = _members(data)
            data, inside = page.get("items", page.get("data", data)), (inside, "items")
        if _kind(data) == "a list":
            self._walk_items(self._published.link, data, inside)

    def _add(self, kind: str, at: FieldPath, text: JsonText, word: JsonText | str = "") -> None:
        """Note one strange thing; `word` is what is strange about it, and so part of its name."""
        owner: Any = at
        names: list[str] = []
        while not isinstance(owner, str):
            owner, name = owner
            names.append(name[:_MAX_NAME])
        path = ".".join(reversed(names))
        if word:
            path += f" is {word}" if isinstance(word, str) else f" = {excerpt(word, _MAX_VALUE)}"
        if len(self.found) <= _MAX_FINDINGS:
            self.found.setdefault((kind, owner, path), text)


def top_level_fields(text: str) -> Mapping[str, msgspec.Raw]:
    """The top-level fields of an object that was read."""
    return _members(text)


def excerpt(text: JsonText, limit: int) -> str:
    """The beginning of a text, harmless to show; however long it is, no more of it is read than is shown."""
    return escape_control(bytes(memoryview(text)[: 4 * limit]).decode("utf-8", "replace"), limit)[:_MAX_ESCAPED_EXAMPLE]


def _name(members: Mapping[str, msgspec.Raw]) -> str | None:
    """The canonical `_object`; null is none, and what is no text is a name that nobody knows."""
    said = members.get("_object")
    if said is None or _kind(said) == "null":
        return None
    return canonical(_word(said)) if _kind(said) == "a text" else ""


def _kind(text: JsonText) -> str:
    return _KINDS.get(bytes(memoryview(text)[:1]), "a number")


_KINDS = {b"{": "an object", b"[": "a list", b'"': "a text", b"t": "true", b"f": "false", b"n": "null"}
