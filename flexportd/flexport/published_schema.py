"""The published schema: every object with its fields, and the words that a field may contain.

The data is in `published.json`. It is taken from the OpenAPI document and the current pages
(https://apidocs.flexport.com/v2, https://apidocs.flexport.com/v3), from recorded answers, and from what published
connectors read. Flexport may add to it at any time without notice (https://apidocs.flexport.com/v2/tag/Versioning).
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from importlib import resources
from typing import Any, Literal

import msgspec

from flexportd.type_lock import TYPE_LOCK, decode_as

LINKS = frozenset(("/api/refs/object", "/api/refs/collection"))
_ALIASES = msgspec.json.decode(
    resources.files("flexportd.flexport").joinpath("aliases.json").read_bytes(), type=dict[str, str]
)

_PLAIN = str | int | float | bool | None


def canonical(object_name: str) -> str:
    """The one spelling of an `_object`: `/shipments` is `/shipment`. Unknown names are returned unchanged."""
    return _ALIASES.get(object_name, object_name)


class FieldKind(Enum):
    """The content of a field that is neither a known word nor an object."""

    PLAIN = "plain"  # a text, a number, true or false
    ANY = "any"  # keys of the customer's own, or an object that is checked separately
    LINK = "link"  # a link, or its target: an object, a list, a page
    NAME = "name"  # an `_object`


@dataclass(frozen=True, slots=True, eq=False)
class OpenEnum:
    """A text of a list; such lists grow."""

    known: frozenset[str]


@dataclass(frozen=True, slots=True, eq=False)
class ListOf:
    """A list."""

    of: "Spec"


@dataclass(frozen=True, slots=True, eq=False)
class ObjectShape:
    """An object: its possible `_object` (none if it has none), and its fields."""

    names: frozenset[str]
    fields: Mapping[str, "Spec"]


Spec = FieldKind | OpenEnum | ListOf | ObjectShape
Check = Callable[[bytes | msgspec.Raw], object]
"""Parses JSON strictly: raises ValueError or RecursionError unless everything in it is published."""


class _Object(msgspec.Struct, forbid_unknown_fields=True):
    object: str | None = None
    plain: list[str] = msgspec.field(default_factory=list)
    other: dict[str, str] = msgspec.field(default_factory=dict)


class _File(msgspec.Struct, forbid_unknown_fields=True):
    objects: dict[str, _Object]
    words: dict[str, list[str]]


class _SpecParser:
    """Parses the file's notation: `any`, `link`, `=words`, `[list of]`, `Object`, `One|Another`."""

    def __init__(self, file: _File) -> None:
        self._file = file
        self._shapes: dict[str, ObjectShape] = {}

    def shape(self, text: str) -> ObjectShape:
        if text not in self._shapes:
            objects = [self._file.objects[name] for name in text.split("|")]
            names = frozenset(each.object for each in objects if each.object is not None)
            fields: dict[str, Spec] = {"_object": FieldKind.NAME} if names else {}
            for each in objects:
                fields.update(dict.fromkeys(each.plain, FieldKind.PLAIN))
                fields.update((name, self.spec(other)) for name, other in each.other.items())
            self._shapes[text] = ObjectShape(names, fields)
        return self._shapes[text]

    def spec(self, text: str) -> Spec:
        if text in ("any", "link"):
            return FieldKind(text)
        if text.startswith("["):
            return ListOf(self.spec(text[1:-1]) if text != "[]" else FieldKind.PLAIN)
        if text.startswith("="):
            return OpenEnum(frozenset(self._file.words[text[1:]]))
        return self.shape(text)


class PublishedSchema:
    """All objects by their `_object`, and checks that run in C."""

    def __init__(self) -> None:
        text = resources.files("flexportd.flexport").joinpath("published.json").read_bytes()
        file = decode_as(text, _File)
        parser = _SpecParser(file)
        shapes = [parser.shape(name) for name in file.objects]
        self.shapes: Mapping[str, ObjectShape] = {name: shape for shape in shapes for name in shape.names}
        kinds = OpenEnum(frozenset(self.shapes))
        self.link = ObjectShape(
            LINKS, {"_object": FieldKind.NAME, "ref_type": kinds, "link": FieldKind.PLAIN, "id": FieldKind.PLAIN}
        )
        self._types: dict[ObjectShape, Any] = {}
        self._checks: dict[Spec, Check] = {}
        self._members: dict[ObjectShape, Mapping[str, Check]] = {}
        self.checks: Mapping[str, Check] = {name: self.check(shape) for name, shape in self.shapes.items()}

    def check(self, spec: Spec) -> Check:
        """The check of the content of such a field."""
        if spec not in self._checks:
            with TYPE_LOCK:
                self._checks[spec] = msgspec.json.Decoder(self._type(spec)).decode
        return self._checks[spec]

    def members(self, shape: ObjectShape) -> Mapping[str, Check]:
        """A check for each field of an object."""
        if shape not in self._members:
            with TYPE_LOCK:
                self._members[shape] = {
                    name: msgspec.json.Decoder(self._field(shape, spec)).decode for name, spec in shape.fields.items()
                }
        return self._members[shape]

    def _field(self, shape: ObjectShape, spec: Spec) -> Any:
        return Literal[*sorted(shape.names)] | None if spec is FieldKind.NAME else self._type(spec)

    def _type(self, spec: Spec) -> Any:
        """The type that decodes such a value strictly; any may be null, and a word may be empty.

        Every value is decoded, so JSON that passes a check can be read by every parser.
        """
        if isinstance(spec, OpenEnum):
            return Literal["", *sorted(spec.known)] | None
        if isinstance(spec, ListOf):
            return list[self._type(spec.of)] | None  # type: ignore[misc]
        if isinstance(spec, ObjectShape):
            return self._struct(spec) | None
        if spec is FieldKind.LINK:
            return self._type(self.link)
        return Any if spec is FieldKind.ANY else _PLAIN

    def _struct(self, shape: ObjectShape) -> Any:
        if shape not in self._types:
            # A field's name need not be valid in Python.
            names = {f"f{number}": name for number, name in enumerate(shape.fields)}
            types = [(key, self._field(shape, shape.fields[name]), None) for key, name in names.items()]
            self._types[shape] = msgspec.defstruct("Strict", types, rename=names, forbid_unknown_fields=True, gc=False)
        return self._types[shape]


@functools.cache
def published_schema() -> PublishedSchema:
    """The schema that ships with this program, read once: about 15 ms."""
    with TYPE_LOCK:
        return PublishedSchema()
