"""The base of all wire models: tolerant in what it accepts, and lossless.

Flexport may add fields, enum values and object types at any time without notice (https://apidocs.flexport.com/v2/tag/Versioning),
and any field may be null. So: unknown fields are kept, enum values are plain text, and a known field of an unexpected
type is set aside and reported instead of refusing the whole object. Only what identifies an object is required.
"""

from typing import Annotated, Any, Self

import msgspec
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from flexportd.errors import MalformedError

Text = str | None  # a number in its place is taken as text: codes are numbers in samples (zip, port_code)
Whole = Annotated[int, Field(ge=-(2**63), lt=2**63)]  # what a database can hold


def _number(value: Any) -> Any:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("an id must be a whole number")  # noqa: TRY004 (pydantic collects ValueError)
    return value


def _name(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError("an id must be a number or a text")  # noqa: TRY004 (pydantic collects ValueError)
    if isinstance(value, str) and "\0" in value:  # SQLite's JSON functions end a text there
        raise ValueError("an id must not hold U+0000")
    return str(value)


def _either(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else _unlike(value)


def _unlike(value: Any) -> Any:
    return value if isinstance(value, int) and not isinstance(value, bool) else _name(value)


MAX_ID = 10**18 - 1  # what a URL and a parameter may name, too
Id = Annotated[int, BeforeValidator(_number), Field(ge=0, le=MAX_ID)]  # an integer, also one quoted as text
TextId = Annotated[str, BeforeValidator(_name), Field(min_length=1, max_length=200)]  # a text, also a bare number
# Documented as an integer and never recorded: an integer, also one quoted as text; another text is kept as it is.
AnyId = Annotated[
    Annotated[int, Field(ge=0, le=MAX_ID)] | Annotated[str, Field(min_length=1, max_length=200)],
    BeforeValidator(_either),
]


class WireModel(BaseModel):
    """What Flexport sent, with unknown fields kept. `raw()` gives the same JSON value back."""

    model_config = ConfigDict(
        extra="allow", frozen=True, populate_by_name=True, protected_namespaces=(), coerce_numbers_to_str=True
    )

    object_name: Text = Field(default=None, alias="_object")

    @property
    def key(self) -> int | str:
        """The object's id; a resource without one gives what identifies it instead."""
        found = getattr(self, "id", None)
        if not isinstance(found, int | str):
            raise MalformedError("id: missing")
        return found

    def raw(self) -> dict[str, Any]:
        """The JSON value this was loaded from: unknown fields included, absent ones absent."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)

    @classmethod
    def load(cls, text: bytes) -> tuple[Self, list[str]]:
        """The model of one JSON object, and a sentence for each field that had to be set aside.

        Raises MalformedError when the bytes are no JSON object or lack what identifies it.
        """
        try:
            return cls.model_validate_json(text), []
        except ValidationError as error:
            return cls._without_faults(text, error)

    @classmethod
    def _without_faults(cls, text: bytes, error: ValidationError) -> tuple[Self, list[str]]:
        faults = {str(fault["loc"][0]): fault["msg"] for fault in error.errors(include_url=False) if fault["loc"]}
        if not faults:
            raise MalformedError(_first(error))
        try:
            value = msgspec.json.decode(text)
        except (ValueError, RecursionError) as unreadable:
            raise MalformedError(f"not JSON: {unreadable}") from unreadable
        kept = {name: part for name, part in value.items() if name not in faults}
        try:
            model = cls.model_validate(kept)
        except ValidationError as still:
            raise MalformedError(_first(still)) from still
        return model, [f"{name}: {message}" for name, message in faults.items()]


class Reference(WireModel):
    """A link to one object (`id` given) or to a collection; may come as the expanded object instead."""

    ref_type: Text = None
    link: Text = None
    id: Whole | str | None = None

    @property
    def target(self) -> int | str | None:
        """The id, a quoted number as a number; None for a collection."""
        return self.target_id if self.target_id is not None else self.id or None

    @property
    def target_id(self) -> int | None:
        """The id as a whole number, also where it is quoted; None for a collection or an id of another kind."""
        value = self.id
        if isinstance(value, str):
            return int(value) if value.isascii() and value.isdigit() and len(value) <= 18 else None
        return value


class Quantity(WireModel):
    """A weight or a volume."""

    value: int | float | str | None = None
    unit: Text = None


def _first(error: ValidationError) -> str:
    fault = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in fault["loc"])
    return f"{where}: {fault['msg']}" if where else fault["msg"]
