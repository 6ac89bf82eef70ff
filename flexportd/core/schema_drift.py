"""Schema drift: undocumented data from Flexport. It is recorded, counted and shown; nothing ever fails because of it.

Most objects are as published, which a strict decoder confirms in C within microseconds. An object that it rejects is
opened level by level, each part checked in C again, so that only the path to the unknown part is walked:

bytes ─ check ─▶ nothing
          └ rejected ─▶ walk ─▶ findings by (kind, object, name) ─▶ table `drift`
"""

import re
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
import structlog

from flexportd.escape import escape_control
from flexportd.flexport.milestones import milestone
from flexportd.flexport.models.wire import FieldFault
from flexportd.flexport.published_schema import (
    LINKS,
    FieldKind,
    ListOf,
    ObjectShape,
    OpenEnum,
    Spec,
    canonical,
    published_schema,
)
from flexportd.storage.queries.table import Table, is_plausible
from flexportd.storage.repositories.schema_drift import TOO_MANY, DriftRecord
from flexportd.storage.transaction import Transaction

log = structlog.get_logger(__name__)

FUTURE_TIMESTAMP = "updated_at lies in the future"
TIMESTAMP_WENT_BACK = "updated_at ran backwards"

_MAX_FINDINGS = 1000  # different findings between two writes
_MAX_LOGGED = 20  # new findings of one write that get a line in the log
_MAX_LINK_DEPTH = 16  # expanded links within expanded links
_MAX_NAME, _MAX_VALUE, _MAX_EXAMPLE = 200, 80, 200  # characters
_MAX_ESCAPED_EXAMPLE = 500  # characters of an example with escaped control characters
_NUMBERS = re.compile(r"\d+")

JsonText = bytes | msgspec.Raw
"""JSON as received."""
FindingKey = tuple[str, str, str]
"""(kind, object, name) of a finding."""
FieldPath = tuple[Any, str]
"""A field: (its parent, its name); the parent is a path or the name of the top-level object."""


class _Data(msgspec.Struct):
    resource: msgspec.Raw


class _Event(msgspec.Struct):
    data: _Data


_event = msgspec.json.Decoder(_Event).decode
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_raws = msgspec.json.Decoder(list[msgspec.Raw]).decode
_word = msgspec.json.Decoder(str).decode

_PAGE = ObjectShape(frozenset(), dict.fromkeys(("_object", "prev", "next", "total_count", "data"), FieldKind.ANY))


# Findings for short values that a check rejected: the same values come again and again.
_WALK_CACHE: dict[tuple[str, str, bytes], dict[FindingKey, JsonText]] = {}
_MAX_CACHED_VALUE, _MAX_CACHED_WALKS = 400, 2000
_ENVELOPE_SAMPLE = 8  # events whose envelope is looked through; their types all are


class SchemaDrift:
    """Collects the findings of a unit of work, such as a batch of events.

    `source` (webhook, events, sync) is where the inspected data comes from; it may be changed at any time. Any thread
    may inspect while another writes.
    """

    def __init__(self, source: str = "sync") -> None:
        self.source = source
        self._published = published_schema()
        self._lock = threading.Lock()
        self._found: dict[FindingKey, DriftRecord] = {}
        self._events = 0

    def inspect(self, object_name: str, text: bytes, fields: Mapping[str, msgspec.Raw] | None = None) -> bool:
        """Look through one object, given by its canonical `_object` and its exact JSON. Never raises.

        `fields` are its top-level fields, where they are known. Returns whether the object is as published: then every
        part of it has been decoded and can be read.
        """
        check = self._published.checks.get(object_name)
        if check is None:
            self._note(("object", object_name, "_object"), text)
            return False
        try:
            check(text)
        except (ValueError, RecursionError):
            shape = self._published.shapes.get(object_name)
            if fields is not None and shape is not None and _is_named(shape, fields):
                self.inspect_changed(object_name, fields)
                return False
            walk = _SchemaWalk(object_name)
            with suppress(ValueError, RecursionError):  # parse errors are reported where the data is used
                walk.walk(text)
            self._note_all(walk.found)
            return False
        return True

    def inspect_changed(self, object_name: str, changed: Mapping[str, msgspec.Raw]) -> list[msgspec.Raw]:
        """Look through some top-level fields of an object, each given as its JSON. Never raises.

        Response those that are not as published_schema; all others were decoded, and can be read.
        """
        shape = self._published.shapes.get(object_name)
        if shape is None:
            return list(changed.values())  # it was noted when it was new
        strange, checks = list[msgspec.Raw](), self._published.members(shape)
        for name, part in changed.items():
            try:
                checks[name](part)
            except (ValueError, RecursionError, KeyError):
                self._note_field(object_name, shape, name, part)
                strange.append(part)
        return strange

    def _note_field(self, object_name: str, shape: ObjectShape, name: str, part: msgspec.Raw) -> None:
        """Record the findings of one field; the same short value is walked once."""
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
        self._note_all(found)

    def inspect_event(self, event_type: str | None, body: bytes, resource: str | None) -> None:
        """Inspect an event: its type, its envelope, and the name of its subject. Never raises.

        `resource` is the canonical `_object` of the subject; the caller inspects a published one. The envelope is the
        same in all events: only one of eight is inspected.
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
        """Record an anomaly of a response. The sentence names the finding, with N for numbers since those vary."""
        name, shown = _NUMBERS.sub("N", sentence), example or sentence
        self._note(("response", object_name, name), shown.encode("utf-8", "replace"))

    def report_implausible(self, object_name: str, table: Table, fields: Mapping[str, Any]) -> None:
        """Record implausible dates of our fields of an object, such as one in 1970; they are stored all the same."""
        for name in table.date_names:
            if (value := fields.get(name)) and not is_plausible(value):
                self.report(object_name, f"{name.removeprefix('own_')} is not a plausible date", value)

    def report_faults(self, object_name: str, faults: Sequence[FieldFault], fields: Mapping[str, msgspec.Raw]) -> None:
        """Record known fields that cannot be parsed; `fields` are those of the object."""
        for fault in faults:
            self._note(("shape", object_name, _NUMBERS.sub("N", fault)), fields.get(fault.field, b""))

    def drain(self) -> list[DriftRecord]:
        """The findings since the last call."""
        with self._lock:
            found, self._found = list(self._found.values()), {}
        return found

    def write(self, tx: Transaction, at: str) -> None:
        """Merge the findings into the table, and log those that are new."""
        if not self._found:
            return
        for finding in tx.drift.merge(self.drain(), at)[:_MAX_LOGGED]:
            log.info("schema_drift_detected", kind=finding.kind, object=finding.object, name=finding.name)

    def _note_all(self, found: Mapping[FindingKey, JsonText]) -> None:
        for key, text in found.items():
            self._note(key, text)

    def _note(self, key: FindingKey, example: JsonText) -> None:
        with self._lock:
            if key not in self._found and len(self._found) >= _MAX_FINDINGS:
                key, example = ("response", "", TOO_MANY), b""
            known = self._found.get(key)
            if known is not None:
                known.count += 1
                return
            owner, name = (escape_control(part, _MAX_NAME) for part in key[1:])
            self._found[key] = DriftRecord(key[0], owner, name, excerpt(example, _MAX_EXAMPLE), self.source)


class _SchemaWalk:
    """One walk through an object: only what a check rejects is opened. `found` has each finding once."""

    def __init__(self, object_name: str) -> None:
        self.found: dict[FindingKey, JsonText] = {}
        self._published = published_schema()
        self._top = object_name
        self._depth = 0

    def walk(self, text: JsonText) -> None:
        """Walk one object, given by its JSON. Raises ValueError or RecursionError for invalid JSON."""
        if _kind(text) == "an object":
            self._object(self._published.shapes[self._top], text, self._top)
        else:
            self.found["shape", self._top, f"is {_kind(text)}"] = text

    def fields(self, shape: ObjectShape, members: Mapping[str, msgspec.Raw], at: FieldPath | str) -> None:
        """Walk some fields of an object. Raises ValueError or RecursionError for invalid JSON."""
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
        """Walk an object that should have this shape; its `_object` may name another."""
        members = _members(text)
        name = _name(members) if shape.names else None
        if name is None or name in shape.names:
            self.fields(shape, members, at)
        elif name in LINKS:
            self.fields(self._published.link, members, at)
        elif name not in self._published.shapes:
            self._add("object", (at, "_object"), text, members["_object"])
        elif self._depth < _MAX_LINK_DEPTH:  # an expanded link: its fields are named by its own type
            self._depth += 1
            self.fields(self._published.shapes[name], members, name)
            self._depth -= 1

    def _walk_value(self, spec: Spec, text: msgspec.Raw, at: FieldPath) -> None:
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
        elif spec is not FieldKind.NAME and bytes(text) not in (b'""', b"[]"):  # a name is checked with its object
            self._add("shape", at, text, kind)

    def _walk_items(self, spec: Spec, text: JsonText, at: FieldPath) -> None:
        check, inside = self._published.check(spec), (at[0], f"{at[1]}[]")
        for one in _raws(text):
            try:
                check(one)
            except ValueError:
                self._walk_value(spec, one, inside)

    def _link(self, kind: str, text: msgspec.Raw, at: FieldPath) -> None:
        """Walk a value in the place of a link: an object, a list of objects, or a page of them."""
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
        """Record one finding; `word` is the unknown value, part of the finding's name."""
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
    """The top-level fields of an object."""
    return _members(text)


def excerpt(text: JsonText, limit: int) -> str:
    """The beginning of a text, escaped; no more of a long text is decoded than is shown."""
    return escape_control(bytes(memoryview(text)[: 4 * limit]).decode("utf-8", "replace"), limit)[:_MAX_ESCAPED_EXAMPLE]


def _name(members: Mapping[str, msgspec.Raw]) -> str | None:
    """The canonical `_object`; None for null, an unknown name for anything but a text."""
    given = members.get("_object")
    if given is None or _kind(given) == "null":
        return None
    return canonical(_word(given)) if _kind(given) == "a text" else ""


def _is_named(shape: ObjectShape, fields: Mapping[str, msgspec.Raw]) -> bool:
    """Whether an object with these fields has the name of its shape, or none: another name makes it another object."""
    try:
        name = _name(fields)
    except ValueError:
        return False
    return name is None or name in shape.names


def _kind(text: JsonText) -> str:
    return _KINDS.get(bytes(memoryview(text)[:1]), "a number")


_KINDS = {b"{": "an object", b"[": "a list", b'"': "a text", b"t": "true", b"f": "false", b"n": "null"}
