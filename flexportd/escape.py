"""Text from elsewhere made harmless: for terminals, log lines, spreadsheets. JSON and HTML escape for themselves."""

import re
import unicodedata
from collections.abc import Iterable

# Control characters, lone surrogates, and what turns the direction of writing: they could forge a line or hide one.
_CONTROL = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)

# A spreadsheet reads text that begins so as a formula, some also after blanks or in full-width characters.
_FORMULA = re.compile("[\\s\\x00-\\x20\u200b-\u200f\u2060\ufeff]*[=+\\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")
_NEGATIVE = re.compile(r"-[0-9]+(\.[0-9]+)?")


def csv_cell(value: str) -> str:
    """Text for a cell of a CSV file, which no spreadsheet takes for a formula; the quotation marks are the caller's."""
    if value and not value[0].isalnum() and _FORMULA.match(value) and not _NEGATIVE.fullmatch(value):
        value = f"'{value}"
    return value.replace("\x00", "\\u0000") if "\x00" in value else value  # many readers take it for the end


def escape_control(value: str, limit: int = 200) -> str:
    r"""One line of printable text, at most `limit` characters; what is hostile shows as `\\u202e`."""
    shown = value if len(value) <= limit else value[: limit - 1] + "…"
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", shown)


def display_width(value: str) -> int:
    """How many columns of a terminal the text takes."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in value
    )


def closest_match(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant; None where none is near. Case, blanks and dashes do not matter."""
    import difflib  # noqa: PLC0415 (only errors need it)

    folded = {_normalise(one): one for one in known}
    near = difflib.get_close_matches(_normalise(word[:100]), folded, n=1, cutoff=0.6)
    return folded[near[0]] if near else None


def _normalise(word: str) -> str:
    return re.sub(r"[\s-]+", "_", word.strip().casefold())
