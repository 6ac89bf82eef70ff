"""Fault injection: faults by their shares or exactly as a test asks for them, in responses and webhooks."""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import msgspec

from flexportd.errors import InvalidError
from flexportd.sandbox.catalog.kinds import AMENDMENTS_PATH, Wire
from flexportd.sandbox.catalog.wire_objects import utc

FOREIGN_HOST = "http://elsewhere.invalid"
UNKNOWN_VALUE = "x_sandbox_novelty"
HUGE = 50 * 2**20
_STAMPS = ("updated_at", "last_updated_at")
_WORDS = ("status", "release_status", "document_type", "transportation_mode", "container_type", "type")
_FURTHEST_BACK = 3

_TEXTS = msgspec.toml.decode(Path(__file__).with_suffix(".toml").read_bytes(), type=dict[str, dict[str, str]])
ANSWER_FAULTS, WRITE_FAULTS, WEBHOOK_FAULTS = _TEXTS["answers"], _TEXTS["writes"], _TEXTS["webhooks"]
"""What each fault of a response, of a write, and of a webhook, does."""


def _foreign_next(page: Wire, _previous: Sequence[Wire]) -> Wire:
    parts = urlsplit(page["next"] or "/shipments?page=2")
    return {**page, "next": f"{FOREIGN_HOST}{parts.path}?{parts.query}"}


# What a fault makes of a page; `repeat` needs the rows of the previous one.
_PAGE_CHANGES: Mapping[str, Callable[[Wire, Sequence[Wire]], Wire]] = {
    "repeat": lambda page, previous: {**page, "data": list(previous)},
    "lying_total": lambda page, _: {**page, "total_count": page["total_count"] + 7},
    "low_total": lambda page, _: {**page, "total_count": page["total_count"] // 2},
    "foreign_next": _foreign_next,
    "twice": lambda page, _: {**page, "data": [*page["data"], *page["data"][:1]]},
    "empty": lambda page, _: {**page, "data": [], "total_count": 0, "next": None, "prev": None},
    "cut": lambda page, _: {**page, "data": page["data"][: len(page["data"]) // 2], "next": None},
}


def _shift_stamps(row: Wire, shifted: Callable[[datetime], datetime]) -> Wire:
    return {**row, **{name: utc(shifted(datetime.fromisoformat(row[name]))) for name in _STAMPS if row.get(name)}}


# What a fault makes of an object, or of every object of a page.
_OBJECT_CHANGES: Mapping[str, Callable[[Wire, datetime], Wire]] = {
    "no_id": lambda row, _: {name: value for name, value in row.items() if name != "id"},
    "future": lambda row, now: _shift_stamps(row, lambda _: now + timedelta(days=30)),
    "backwards": lambda row, _: _shift_stamps(row, lambda stamp: stamp - timedelta(days=1)),
    "unknown_field": lambda row, _: {**row, UNKNOWN_VALUE: {"since": "2026", "values": [1, 2.5, None]}},
    "unknown_enum": lambda row, _: {
        **row,
        **{name: UNKNOWN_VALUE for name in _WORDS if isinstance(row.get(name), str)},
    },
}
PAGE_FAULTS = frozenset(_PAGE_CHANGES)
BODY_FAULTS = frozenset({"error_200", "huge", *_PAGE_CHANGES, *_OBJECT_CHANGES})
_LATENCY = "latency"
# Faults of one group exclude each other, so their shares add up.
_GROUPS = (tuple(ANSWER_FAULTS), tuple(WRITE_FAULTS), tuple(WEBHOOK_FAULTS))
NAMES = (_LATENCY, *ANSWER_FAULTS, *WRITE_FAULTS, *WEBHOOK_FAULTS)
# These POST requests make nothing.
_NO_WRITES = ("/oauth/", "/carbon_calculation")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s)")
_SHARE = re.compile(r"(\d+(?:\.\d+)?)%")


@dataclass(frozen=True, slots=True)
class Faults:
    """`latency` of every response in seconds, and shares from 0 to 1 by the names of faults."""

    latency: float = 0.0
    shares: Mapping[str, float] = field(default_factory=dict)


def parse_faults(text: str) -> Faults:
    """Read `latency=200ms,429=5%,drop=1%`; an empty text is no faults. Raises InvalidError."""
    wanted: dict[str, str] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise InvalidError(f"{part!r} is not a fault: write name=value, as in 429=5%.", "faults")
        if name in wanted:
            raise InvalidError(f"The fault {name!r} is given twice.", "faults")
        wanted[name] = value
    return faults_from(wanted)


def faults_from(wanted: Mapping[str, str]) -> Faults:
    """Faults by the names that `parse_faults` reads. Raises InvalidError."""
    found = {check_name(name, NAMES): _amount(name, value) for name, value in wanted.items()}
    for group in _GROUPS:
        given = [name for name in group if found.get(name)]
        total = sum(found[name] for name in given)
        if total > 1 + 1e-9:
            raise InvalidError(f"The shares of {', '.join(given)} add up to {total:.0%}: more than 100%.", "faults")
    return Faults(found.pop(_LATENCY, 0.0), found)


def check_name(name: str, names: tuple[str, ...]) -> str:
    """A name that is one of these. Raises InvalidError with the one that may be meant."""
    if name in names:
        return name
    near = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(names)}."
    raise InvalidError(f"There is no fault {name!r}: {hint}", "faults")


def _amount(name: str, value: str) -> float:
    if name == _LATENCY:
        match = _DURATION.fullmatch(value)
        if match is None:
            raise InvalidError(f"latency={value} is not a duration: write it as 200ms or 1.5s.", "faults")
        return float(match[1]) / (1000 if match[2] == "ms" else 1)
    match = _SHARE.fullmatch(value)
    if match is None:
        raise InvalidError(f"{name}={value} is not a share: write it as 5%.", "faults")
    if float(match[1]) > 100:
        raise InvalidError(f"{name}={value} is more than 100%.", "faults")
    return float(match[1]) / 100


def inject(fault: str, envelope: Wire, now: datetime, previous: Sequence[Wire] = ()) -> Wire:
    """The envelope with that fault in it; `previous` are the rows of the page before, for `repeat`."""
    data = envelope["data"]
    if fault == "error_200":
        error = {"_object": "/api/error", "status": 500, "code": "internal_server_error", "message": "Try again later."}
        return {**envelope, "data": None, "error": {**error, "data": None}}
    if fault == "huge":
        return {**envelope, "padding": "x" * HUGE}
    if not isinstance(data, dict):
        return envelope
    rows = data.get("data")
    if fault in _OBJECT_CHANGES:
        change = _OBJECT_CHANGES[fault]
        if not isinstance(rows, list):
            return {**envelope, "data": change(data, now)}
        changed = 1 if fault == "no_id" else len(rows)
        data = {**data, "data": [change(row, now) for row in rows[:changed]] + rows[changed:]}
    elif fault in _PAGE_CHANGES and isinstance(rows, list):
        data = _PAGE_CHANGES[fault](data, previous)
    return {**envelope, "data": data}


@dataclass(slots=True)
class FaultCounters:
    """Faults injected into webhooks."""

    duplicated: int = 0
    reordered: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """What a fault is chosen by: `page` is the number of a page of a list, 0 for anything else."""

    method: str
    path: str
    page: int = 0

    @property
    def is_write(self) -> bool:
        """Whether the request makes or changes an object."""
        return self.method in {"POST", "PATCH"} and not self.path.startswith(_NO_WRITES)

    def supports(self, kind: str) -> bool:
        """Whether a fault of that kind suits the response."""
        if kind == "pending_amendment":
            return self.method == "POST" and self.path.startswith(AMENDMENTS_PATH)
        if kind == "refused_as_duplicate":
            return self.method == "POST" and self.is_write
        if kind in WRITE_FAULTS:
            return self.is_write
        return kind not in PAGE_FAULTS or self.page > (1 if kind == "repeat" else 0)


class ScriptedFault:
    """A fault in the next `left` responses to matching requests; None is all of them. `made` counts them."""

    def __init__(self, kind: str, path: str, times: int | None, method: str | None) -> None:
        if times is not None and times < 1:
            raise InvalidError(f"times is {times}: it must be 1 or more, or None for every time.", "times")
        try:
            self._path = re.compile(path)
        except re.error as error:
            raise InvalidError(f"path is {path!r}, which is no regular expression: {error}.", "path") from None
        self.kind = check_name(kind, (*ANSWER_FAULTS, *WRITE_FAULTS))
        self.left = times
        self.made = 0
        self._method = method

    def matches(self, request: RequestInfo) -> bool:
        """Whether the fault applies to this request; counts it if so."""
        if self.left == 0 or self._method not in {None, request.method} or not request.supports(self.kind):
            return False
        if not self._path.search(request.path):
            return False
        self.made += 1
        if self.left is not None:
            self.left -= 1
        return True


class FaultInjector:
    """Chooses faults: the same ones for the same seed and order of requests."""

    def __init__(self, faults: Faults, seed: int) -> None:
        self.faults = faults
        self.counters = FaultCounters()
        self.scripts: list[ScriptedFault] = []
        self._responses = Random(f"{seed}/answers")  # noqa: S311 (faults, not secrets)
        self._writes = Random(f"{seed}/writes")  # noqa: S311 (faults, not secrets)
        self._webhooks = Random(f"{seed}/webhooks")  # noqa: S311 (faults, not secrets)
        self._held: list[Wire] = []

    def scripted_fault(self, request: RequestInfo) -> str | None:
        """The fault of the first script that matches the request."""
        return next((script.kind for script in self.scripts if script.matches(request)), None)

    def random_fault(self, request: RequestInfo) -> str | None:
        """A fault by its share: of a write one of WRITE_FAULTS, else one of ANSWER_FAULTS, or none."""
        if request.is_write:
            fault = self._draw(WRITE_FAULTS, self._writes)
            if fault is not None and request.supports(fault):
                return fault
        fault = self._draw(ANSWER_FAULTS, self._responses)
        return fault if fault is not None and request.supports(fault) else None

    def server_error(self) -> int:
        """The status of a `5xx`."""
        return self._responses.choice((500, 502, 503, 504))

    def perturb(self, events: Sequence[Wire]) -> list[Wire]:
        """These events as they will be sent: some twice, some later than their successors, some not at all.

        A single event that is held back waits for the next call.
        """
        result: list[Wire] = []
        waiting = [(1, event) for event in self._held]
        self._held = []
        for event in events:
            fault = self._draw(WEBHOOK_FAULTS, self._webhooks)
            if fault == "drop":
                self.counters.dropped += 1
            elif fault == "reorder":
                self.counters.reordered += 1
                waiting.append((self._webhooks.randint(1, _FURTHEST_BACK), event))
                continue
            else:
                result.append(event)
                if fault == "duplicate":
                    self.counters.duplicated += 1
                    result.append(event)
            waiting = [(steps - 1, held) for steps, held in waiting]
            result += [held for steps, held in waiting if steps <= 0]
            waiting = [(steps, held) for steps, held in waiting if steps > 0]
        left = [held for _, held in waiting]
        if len(events) > 1:
            return result + left
        self._held = left
        return result

    def _draw(self, group: Iterable[str], source: Random) -> str | None:
        draw = source.random()
        for name in group:
            share = self.faults.shares.get(name, 0.0)
            if draw < share:
                return name
            draw -= share
        return None
