"""Faults the sandbox makes on purpose, in its answers and its webhooks: their names, and how large shares are read."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from flexportd.errors import InvalidError

# What each fault of an answer does. `5xx` is one of 500, 502, 503 and 504.
ANSWER_FAULTS = {
    "401": "the key is refused, as if it were revoked",
    "403": "the key may not read this resource",
    "404": "the object or the list is not found",
    "429": "too many requests, with Retry-After of a second",
    "429_bare": "too many requests, without a word about when to come back",
    "5xx": "a server error: 500 in the envelope, or 502, 503, 504 as a gateway's HTML page",
    "500": "an internal server error, in the envelope",
    "502": "a bad gateway: its HTML page",
    "503": "unavailable: a gateway's HTML page",
    "html": "200 with an HTML page: maintenance, or a login page",
    "reset": "the connection is reset after the work is done: its outcome is unknown",
    "truncate": "the first half of the answer's JSON",
    "slow": "the answer comes three seconds late",
    "huge": "an answer of 50 MB",
    "error_200": "200 whose envelope holds an error and no data",
    "repeat": "a page holds the rows of the one before it, and goes on from there",
    "lying_total": "total_count is larger than the list",
    "low_total": "total_count is smaller than the list",
    "foreign_next": "next leads to another host",
    "no_id": "the first object has no id",
    "twice": "the first object of a page stands on it twice",
    "future": "update stamps are thirty days in the future",
    "backwards": "update stamps are a day older than they were",
    "empty": "a list comes back empty, with a total of 0",
    "cut": "a list ends early: the second half of the page is missing, and there is no next one",
    "unknown_field": "every object has a field nobody has heard of",
    "unknown_enum": "the status or kind of every object is a word nobody has heard of",
}
WEBHOOK_FAULTS = {
    "duplicate": "the webhook is sent twice",
    "reorder": "it is sent after up to three of its successors",
    "drop": "it is never sent",
}
# Faults of lists only; `repeat` needs a page before.
PAGE_FAULTS = frozenset({"repeat", "lying_total", "low_total", "foreign_next", "twice", "empty", "cut"})
_LATENCY = "latency"
# Faults of one group exclude each other, so their shares add up.
_GROUPS = (tuple(ANSWER_FAULTS), tuple(WEBHOOK_FAULTS))
NAMES = (_LATENCY, *ANSWER_FAULTS, *WEBHOOK_FAULTS)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s)")
_SHARE = re.compile(r"(\d+(?:\.\d+)?)%")


@dataclass(frozen=True, slots=True)
class Faults:
    """How much goes wrong: `latency` of every answer in seconds, and shares from 0 to 1 by the names of faults."""

    latency: float = 0.0
    shares: Mapping[str, float] = field(default_factory=dict)


def parse_faults(text: str) -> Faults:
    """Read `latency=200ms,429=5%,drop=1%`; an empty text is no faults. Raises InvalidError naming what is wrong."""
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
