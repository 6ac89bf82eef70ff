"""Decides what goes wrong: faults by their shares, and faults that a test asked for exactly."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from flexportd.errors import InvalidError
from flexportd.sandbox.catalog.wire_objects import Wire
from flexportd.sandbox.faults.kinds import ANSWER_FAULTS, PAGE_FAULTS, WEBHOOK_FAULTS, Faults, check_name

_FURTHEST_BACK = 3


@dataclass(slots=True)
class FaultCounters:
    """What happened to webhooks on purpose."""

    duplicated: int = 0
    reordered: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """A request as far as faults go: `page` is its number on a list, 0 for anything that is no list."""

    method: str
    path: str
    page: int = 0

    def supports(self, kind: str) -> bool:
        """Whether a fault of that kind can be made of its answer."""
        return kind not in PAGE_FAULTS or self.page > (1 if kind == "repeat" else 0)


class ScriptedFault:
    """A fault asked for exactly: the next `left` answers to such requests; None is all of them. `made` counts them."""

    def __init__(self, kind: str, path: str, times: int | None, method: str | None) -> None:
        if times is not None and times < 1:
            raise InvalidError(f"times is {times}: it must be 1 or more, or None for every time.", "times")
        try:
            self._path = re.compile(path)
        except re.error as error:
            raise InvalidError(f"path is {path!r}, which is no regular expression: {error}.", "path") from None
        self.kind = check_name(kind, tuple(ANSWER_FAULTS))
        self.left = times
        self.made = 0
        self._method = method

    def matches(self, question: RequestInfo) -> bool:
        """Whether this request is one of those; counts it if so."""
        if self.left == 0 or self._method not in {None, question.method} or not question.supports(self.kind):
            return False
        if not self._path.search(question.path):
            return False
        self.made += 1
        if self.left is not None:
            self.left -= 1
        return True


class FaultInjector:
    """Decides the same way for the same seed and the same order of questions."""

    def __init__(self, faults: Faults, seed: int) -> None:
        self.faults = faults
        self.mishaps = FaultCounters()
        self.scripts: list[ScriptedFault] = []
        self._answers = Random(f"{seed}/answers")  # noqa: S311 (faults, not secrets)
        self._webhooks = Random(f"{seed}/webhooks")  # noqa: S311 (faults, not secrets)
        self._held: list[Wire] = []

    def scripted_fault(self, question: RequestInfo) -> str | None:
        """The fault that a script asks for here: the first one that takes the request."""
        return next((script.kind for script in self.scripts if script.matches(question)), None)

    def random_fault(self, question: RequestInfo) -> str | None:
        """What goes wrong with one answer by its share: one of ANSWER_FAULTS or nothing."""
        fault = self._draw(tuple(ANSWER_FAULTS), self._answers)
        return fault if fault is not None and question.supports(fault) else None

    def server_error(self) -> int:
        """Which 5xx it is."""
        return self._answers.choice((500, 502, 503, 504))

    def perturb(self, events: Sequence[Wire]) -> list[Wire]:
        """These events as they will be sent: some twice, some later than their successors, some not at all.

        A single event that is held back waits for the next call.
        """
        found: list[Wire] = []
        waiting = [(1, event) for event in self._held]
        self._held = []
        for event in events:
            fault = self._draw(tuple(WEBHOOK_FAULTS), self._webhooks)
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

    def _draw(self, group: tuple[str, ...], source: Random) -> str | None:
        draw = source.random()
        for name in group:
            share = self.faults.shares.get(name, 0.0)
            if draw < share:
                return name
            draw -= share
        return None
