"""Faults the sandbox makes on purpose: in its answers (latency, 429, 5xx, resets, truncated JSON) and its webhooks."""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from flexportd.errors import InvalidError
from flexportd.sandbox.shapes import Wire

# How a fault is written: the field that holds it.
NAMES = {
    "latency": "latency",
    "429": "too_many",
    "5xx": "failing",
    "reset": "reset",
    "truncate": "truncate",
    "duplicate": "duplicate",
    "reorder": "reorder",
    "drop": "drop",
}
# Faults of one group exclude each other, so their shares add up.
_GROUPS = (("429", "5xx", "reset", "truncate"), ("duplicate", "reorder", "drop"))
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s)")
_SHARE = re.compile(r"(\d+(?:\.\d+)?)%")
_FURTHEST_BACK = 3


@dataclass(frozen=True, slots=True)
class Faults:
    """How much goes wrong: `latency` in seconds, everything else a share from 0 to 1."""

    latency: float = 0.0
    too_many: float = 0.0
    failing: float = 0.0
    reset: float = 0.0
    truncate: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    drop: float = 0.0


@dataclass(slots=True)
class Mishaps:
    """What happened to webhooks on purpose."""

    duplicated: int = 0
    reordered: int = 0
    dropped: int = 0


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
    found = {NAMES[_known(name)]: _amount(name, value) for name, value in wanted.items()}
    for group in _GROUPS:
        total = sum(found.get(NAMES[name], 0.0) for name in group)
        if total > 1 + 1e-9:
            raise InvalidError(f"The shares of {', '.join(group)} add up to {total:.0%}: more than 100%.", "faults")
    return Faults(**found)


def _known(name: str) -> str:
    if name in NAMES:
        return name
    near = difflib.get_close_matches(name.lower(), NAMES, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(NAMES)}."
    raise InvalidError(f"There is no fault {name!r}: {hint}", "faults")


def _amount(name: str, value: str) -> float:
    if name == "latency":
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


class Dice:
    """Decides what goes wrong, the same way for the same seed and the same order of questions."""

    def __init__(self, faults: Faults, seed: int) -> None:
        self.faults = faults
        self.mishaps = Mishaps()
        self._answers = Random(f"{seed}/answers")  # noqa: S311 (faults, not secrets)
        self._webhooks = Random(f"{seed}/webhooks")  # noqa: S311 (faults, not secrets)
        self._held: list[Wire] = []

    def answer(self) -> str | None:
        """What goes wrong with one answer: `429`, `5xx`, `reset`, `truncate` or nothing."""
        return self._one_of(_GROUPS[0], self._answers)

    def server_error(self) -> int:
        """Which 5xx it is."""
        return self._answers.choice((500, 502, 503, 504))

    def arrange(self, events: Sequence[Wire]) -> list[Wire]:
        """These events as they will be sent: some twice, some later than their successors, some not at all.

        A single event that is held back waits for the next call.
        """
        found: list[Wire] = []
        waiting = [(1, event) for event in self._held]
        self._held = []
        for event in events:
            fault = self._one_of(_GROUPS[1], self._webhooks)
            if fault == "drop":
                self.mishaps.dropped += 1
            elif fault == "reorder":
                self.mishaps.reordered += 1
                waiting.append((self._webhooks.randint(1, _FURTHEST_BACK), event))
                continue
            else:
                found.append(event)
                if fault == "duplicate":
                    self.mishaps.duplicated += 1
                    found.append(event)
            waiting = [(steps - 1, held) for steps, held in waiting]
            found += [held for steps, held in waiting if steps <= 0]
            waiting = [(steps, held) for steps, held in waiting if steps > 0]
        left = [held for _, held in waiting]
        if len(events) > 1:
            return found + left
        self._held = left
        return found

    def _one_of(self, group: tuple[str, ...], source: Random) -> str | None:
        draw = source.random()
        for name in group:
            share: float = getattr(self.faults, NAMES[name])
            if draw < share:
                return name
            draw -= share
        return None
