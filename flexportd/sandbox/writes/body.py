"""Reads the body of a write request: every field is checked when it is read, and the first problem is the refusal."""

from collections.abc import Callable, Iterable, Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import TypeVar

from flexportd.errors import InvalidError
from flexportd.sandbox.catalog import wire_objects
from flexportd.sandbox.catalog.kinds import Wire

T = TypeVar("T")

_UNITS = {"weight": ("kg", "lbs"), "volume": ("cbm", "cbft"), "length": ("cm", "in")}


class RequestBody:
    """A JSON object of a request. Its readers raise InvalidError, which names the field, for a wrong or absent value.

    null counts as absent.
    """

    def __init__(self, value: object, path: str = "") -> None:
        """`path` is where the object stands in the body, such as `cargo`. Raises InvalidError for another value."""
        if not isinstance(value, Mapping):
            raise InvalidError(f"{path or 'The body'} must be an object.", path or "body")
        self._value = value
        self._path = path

    def __contains__(self, name: str) -> bool:
        return self._value.get(name) is not None

    def path(self, name: str) -> str:
        """Where a field stands in the body."""
        return f"{self._path}.{name}" if self._path else name

    def error(self, name: str, problem: str) -> InvalidError:
        """The refusal of a field: `problem` follows its path."""
        return InvalidError(f"{self.path(name)} {problem}.", self.path(name))

    def optional(self, name: str, read: Callable[["RequestBody", str], T]) -> T | None:
        """What a reader gives, or None for an absent field."""
        return read(self, name) if name in self else None

    def only_one(self, names: Iterable[str], *, required: bool = True) -> str | None:
        """The one field of several that is given."""
        names = list(names)
        given = [name for name in names if name in self]
        if len(given) > 1 or (required and not given):
            paths = [self.path(name) for name in names]
            number = "Exactly one" if required else "At most one"
            raise InvalidError(f"{number} of {', '.join(paths)} is allowed.", paths[0])
        return given[0] if given else None

    def text(self, name: str) -> str:
        """A text that is not blank."""
        value = self._required(name)
        if not isinstance(value, str) or not value.strip():
            raise self.error(name, "must be a text that is not blank")
        return value

    def any_text(self, name: str) -> str:
        """A text that may be empty."""
        value = self._required(name)
        if not isinstance(value, str):
            raise self.error(name, "must be a text")
        return value

    def choice(self, name: str, allowed: Iterable[str]) -> str:
        """One of the allowed words."""
        value = self._required(name)
        if not isinstance(value, str) or value not in allowed:
            raise self.error(name, f"must be one of {', '.join(allowed)}")
        return value

    def flag(self, name: str) -> bool:
        """True or false."""
        value = self._required(name)
        if not isinstance(value, bool):
            raise self.error(name, "must be true or false")
        return value

    def integer(self, name: str, least: int = 0) -> int:
        """A whole number."""
        value = self._required(name)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 10**12:
            raise self.error(name, f"must be a whole number of {least} or more")
        return value

    def day(self, name: str) -> str:
        """A plain date, such as 2026-03-04."""
        value = self._required(name)
        try:
            if isinstance(value, str) and date.fromisoformat(value).isoformat() == value:
                return value
        except ValueError:
            pass
        raise self.error(name, "must be a date such as 2026-03-04")

    def part(self, name: str) -> "RequestBody":
        """An object."""
        return RequestBody(self._required(name), self.path(name))

    def parts(self, name: str, least: int = 0) -> list["RequestBody"]:
        """A list of objects."""
        return [
            RequestBody(value, f"{self.path(name)}[{place}]") for place, value in enumerate(self._list(name, least))
        ]

    def texts(self, name: str, least: int = 0) -> list[str]:
        """A list of texts."""
        values = self._list(name, least)
        if not all(isinstance(value, str) for value in values):
            raise self.error(name, "must be a list of texts")
        return [str(value) for value in values]

    def metadata(self, name: str) -> dict[str, list[str]]:
        """An object whose values are lists of texts."""
        value = self._required(name)
        if not isinstance(value, Mapping) or not all(map(_is_text_list, value.values())):
            raise self.error(name, "must be an object whose values are lists of texts")
        return dict(value)

    def quantity(self, name: str, kind: str) -> Wire:
        """A weight, a volume or a length of 0 or more: `{value, unit}`."""
        given = self.part(name)
        unit = given.choice("unit", _UNITS[kind])
        return {"_object": f"/quantity/{kind}", "value": given.number("value"), "unit": unit}

    def number(self, name: str) -> float | int:
        """A number of 0 or more."""
        value = self._required(name)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1e12:
            raise self.error(name, "must be a number of 0 or more")
        return value

    def money(self, name: str, currency: str | None = None) -> tuple[Decimal, str]:
        """Amount and currency of `{amount, currency_code}`; `currency` is the only one allowed."""
        given = self.part(name)
        code, text = given.text("currency_code"), given.text("amount")
        try:
            amount = Decimal(text)
        except InvalidOperation:
            amount = Decimal("NaN")
        if not amount.is_finite():
            raise given.error("amount", 'must be a number as a text, such as "12.34"')
        if currency not in {None, code}:
            raise given.error("currency_code", f"is {code!r} on an invoice in {currency}")
        return amount, code

    def _list(self, name: str, least: int) -> list[object]:
        value = self._required(name)
        if not isinstance(value, list) or len(value) < least:
            raise self.error(name, "must be a list" + (f" of {least} or more" if least else ""))
        return value

    def _required(self, name: str) -> object:
        value: object = self._value.get(name)
        if value is None:
            raise self.error(name, "is required")
        return value


def money_wire(given: tuple[Decimal, str]) -> Wire:
    """Money as the lists show it."""
    return wire_objects.money(*given)


def _is_text_list(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)
