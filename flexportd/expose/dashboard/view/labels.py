"""Labels of Flexport's values: statuses, modes, sizes, weights. Unknown values are shown as they are. Pure."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import msgspec.toml

from flexportd.core.labels import enum_label
from flexportd.core.resources.documents import type_title
from flexportd.core.resources.resource_type import MAX_ID_LENGTH
from flexportd.escape import escape_control

LONGEST = 200  # characters of a free text in a page

_LONG_WORD = 15  # characters that every column of a table has room for
_BREAKS = re.compile(r"[\t\r\n]+")


@dataclass(frozen=True, slots=True)
class Text:
    """Free text that is safe to show; `whole` is the longer text where it was cut, `url` a link."""

    shown: str
    whole: str | None = None
    url: str | None = None

    @property
    def has_long_word(self) -> bool:
        """Whether a word may be too long for a narrow column, so that it has to break inside."""
        return any(len(word) > _LONG_WORD for word in self.shown.split())


@dataclass(frozen=True, slots=True)
class Badge:
    """A short coloured label; `tone` names the colour."""

    text: str
    tone: str


@dataclass(frozen=True, slots=True)
class Mode:
    """A mode of transport and the name of its icon."""

    text: str
    icon: str


class PlaceText(NamedTuple):
    """A place with its UN/LOCODE."""

    name: Text
    code: str | None


@dataclass(frozen=True, slots=True)
class JourneyStage:
    """A stage of the journey, with its statuses."""

    tone: str
    title: str
    statuses: tuple[str, ...]


class LabelTables(msgspec.Struct):
    """The tables of `labels.toml`: a value and its label."""

    stages: tuple[JourneyStage, ...]
    statuses: dict[str, str]
    modes: dict[str, Mode]
    container_sizes: dict[str, str]
    container_types: dict[str, str]
    freight_types: dict[str, str]
    units: dict[str, str]
    fields: dict[str, str]
    sources: dict[str, str]
    item_states: dict[str, Badge]
    sync_states: dict[str, Badge]
    job_outcomes: dict[str, Badge]
    call_purposes: dict[str, str]
    drift_kinds: dict[str, str]
    hidden_fields: frozenset[str]
    hidden_changes: frozenset[str]
    error_titles: dict[int, str]  # by status, as the others
    error_advice: dict[int, str]
    link_error_titles: dict[int, str]
    link_error_advice: dict[int, str]


LABELS = msgspec.toml.decode((files(__package__) / "labels.toml").read_bytes(), type=LabelTables)
STAGES, MODES, SOURCES = LABELS.stages, LABELS.modes, LABELS.sources
ARRIVED = frozenset(status for stage in STAGES[3:] for status in stage.statuses)
_TONES = {status: stage.tone for stage in STAGES for status in stage.statuses}


def _size(container_size: str) -> str | None:
    return LABELS.container_sizes.get(container_size.replace("fourty", "forty"))


_ENUM_TEXTS: Mapping[str, Callable[[str], str | None]] = {
    "status": LABELS.statuses.get,
    "mode": lambda value: MODES[value].text if value in MODES else None,
    "freight_type": LABELS.freight_types.get,
    "document_type": type_title,
    "container_size": _size,
}


def text(value: Any, limit: int = 80) -> Text | None:
    """Free text from Flexport in one line; None for an empty one."""
    if value is None or value == "":
        return None
    given = _BREAKS.sub(" ", value if isinstance(value, str) else str(value))
    shown = escape_control(given, limit)
    return Text(shown, escape_control(given, LONGEST) if len(given) > limit else None)


def short_text(value: Any, limit: int = 40) -> str | None:
    """A short value, safe to show; None for an empty one."""
    return None if value is None or value == "" else escape_control(str(value), limit)


def status(value: str | None) -> Badge:
    """A shipment's status."""
    if value is None:
        return Badge("No status", "other")
    return Badge(LABELS.statuses.get(value) or escape_control(value, 40), _TONES.get(value, "other"))


def item_state(value: str | None) -> Badge | None:
    """What became of an event; None for one that is no longer stored."""
    return LABELS.item_states.get(value) or Badge(escape_control(value, 40), "other") if value else None


def enum_text(field: str, value: str) -> str:
    """The label of a status, mode or type, else the value made readable. Text that only looks like one stays."""
    label = _ENUM_TEXTS[field](value) if field in _ENUM_TEXTS else None
    if label is not None:
        return label
    words = enum_label(field, value)
    return value if words is None else words.capitalize()


def mode(value: str | None) -> Mode | None:
    """A mode of transport."""
    return MODES.get(value) or Mode(escape_control(value, 40), "box") if value else None


def place(fields: Mapping[str, Any], end: str) -> PlaceText | None:
    """One end of a route or leg; the code where the name is missing."""
    name, code = text(fields[end], 60), short_text(fields[f"{end}_code"], 10)
    if name is None:
        return None if code is None else PlaceText(Text(code), None)
    return PlaceText(name, code)


def freight_type_text(value: str | None) -> str | None:
    """The service: `Port to door`."""
    return LABELS.freight_types.get(value) or short_text(value) if value else None


def vessel_text(fields: Mapping[str, Any]) -> Text | None:
    """`EVER GOLDEN 0123E`: the vessel with its voyage."""
    return text(" ".join(part for part in (fields["vessel"], fields["voyage"]) if part), 60)


def container_type_text(container_size: str | None, container_type: str | None) -> str | None:
    """`40 ft HC, dry`."""
    size = _size(container_size or "") or short_text(container_size)
    kind = LABELS.container_types.get(container_type or "") or short_text(container_type)
    return ", ".join(part for part in (size, kind) if part) or None


def quantity(stored: str | None) -> str | None:
    """A weight or volume: `8,200 kg`, `67.4 m³`."""
    value = json_or_none(stored)
    return measure(value) if isinstance(value, dict) else None


def measure(quantity: Mapping[str, Any]) -> str | None:
    """The same from decoded JSON: `{"value": 8200, "unit": "kg"}`."""
    try:
        number = float(quantity.get("value"))  # type: ignore[arg-type]  # not a number: handled below
    except (TypeError, ValueError):
        return None
    amount = f"{number:,.2f}".rstrip("0").rstrip(".") if abs(number) < 100 else f"{number:,.0f}"
    unit = quantity.get("unit")
    return f"{amount} {LABELS.units.get(str(unit)) or short_text(unit, 12) or ''}".strip()


def resource_words(name: str) -> str:
    """A resource's name for people: `Purchase orders`."""
    return escape_control(name.replace("_", " ").replace("-", " ").capitalize(), 60)


def event_url(event_id: str | None) -> str | None:
    """The page of an event; None for an id that is too long for a URL."""
    return f"/events/{quote(event_id, safe='')}" if event_id and len(event_id) <= MAX_ID_LENGTH else None


def page_url(path: str, query: Mapping[str, str], **changed: str) -> str:
    """The address of a page with the parameters that are not empty."""
    params = {name: value for name, value in {**query, **changed}.items() if value.strip()}
    return f"{path}?{urlencode(params)}" if params else path


def sentence(words: str, limit: int = 300, *, capital: bool = True) -> str:
    """An error or status made a sentence that is safe to show: with a capital, unless it begins with an identifier."""
    shown = escape_control(words.strip(), limit)
    if capital and "_" not in shown.partition(" ")[0]:
        shown = shown[:1].upper() + shown[1:]
    return shown if shown.endswith((".", "!", "?", "…")) else f"{shown}."


def join_words(words: Sequence[str], most: int = 3) -> str:
    """`Legs`, `Legs and Ports`, `Legs, Ports, Products and 4 more`."""
    if len(words) > most + 1:
        return f"{', '.join(words[:most])} and {len(words) - most:,} more"
    return " and ".join(part for part in (", ".join(words[:-1]), words[-1]) if part) if words else ""


def missing_objects_text(pending: Mapping[str, tuple[int, str]]) -> str:
    """`17 legs and 11 shipments are missing from Flexport's lists.`, by resource."""
    parts = []
    for name, (number, _) in sorted(pending.items()):
        noun = name.replace("_", " ")
        parts.append(f"{number:,} {noun.removesuffix('s') if number == 1 else noun}")
    verb = "is" if sum(number for number, _ in pending.values()) == 1 else "are"
    return f"{join_words(parts)} {verb} missing from Flexport's lists."


def size(number: int) -> str:
    """`900 B`, `12 kB`, `3.4 MB`."""
    amount = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.1f} {unit}" if amount < 10 and unit != "B" else f"{amount:,.0f} {unit}"
        amount /= 1000
    return f"{amount:,.1f} TB"


def json_or_none(stored: str | None) -> Any:
    """Decoded JSON; None for an empty or invalid text."""
    if not stored:
        return None
    try:
        return msgspec.json.decode(stored)
    except (ValueError, RecursionError):
        return None


def list_preview(stored: str | None, most: int = 12) -> tuple[Text, ...]:
    """The first items of a stored list, and the number of further ones."""
    values = json_or_none(stored)
    if not isinstance(values, list):
        return ()
    return and_more([part for value in values[:most] if (part := text(value, 60))], len(values) - most)


def and_more(shown: Sequence[Text], more: int) -> tuple[Text, ...]:
    """The items that are shown, and how many are not."""
    return (*shown, Text(f"and {more:,} more")) if more > 0 else tuple(shown)
