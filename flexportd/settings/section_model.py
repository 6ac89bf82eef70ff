"""What all sections share: the base of their models, and the types that more than one of them uses."""

from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict

from flexportd.settings.value_types import Line, RuleError, ValueType


class SectionModel(BaseModel):
    """The base of all sections: immutable, without unknown keys, and without the input in error messages."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True)


def require_both(value: object, other: object, name: str) -> None:
    """Refuse one of two keys that belong together without the other, which has this name. Raises RuleError."""
    if (value is None) != (other is None):
        raise RuleError(f"missing, but {name} requires it" if value is None else f"requires {name}, which is missing")


def _check_timezone(value: str) -> str:
    # zoneinfo raises OSError for folders of its database ("America") and for names that are too long.
    try:
        ZoneInfo(value)
    except (LookupError, ValueError, OSError):
        raise ValueError('expected an IANA time zone such as "UTC" or "Europe/Berlin"') from None
    return value


TimeZone = Annotated[Line, AfterValidator(_check_timezone), ValueType("IANA time zone", article="an ")]
