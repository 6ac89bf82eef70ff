"""Watches for faults of the daemon itself: one notice when a condition begins, one all-clear when it ends."""

import asyncio
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import structlog

from flexportd.clock import Clock, MonotonicClock, age, parse, stamp
from flexportd.core.changes.topics import RECOVERED
from flexportd.core.labels import format_duration
from flexportd.core.system_conditions import (
    CONDITIONS,
    HOLDING_KINDS,
    KINDS,
    RECOVERY_TIME,
    ConditionKind,
    ConditionState,
    disk_low,
    lists_complete_since,
    stored_states,
)
from flexportd.errors import UnavailableError
from flexportd.settings import Settings
from flexportd.storage.database import Database
from flexportd.storage.repositories.conditions import Condition
from flexportd.storage.transaction import Transaction

log = structlog.get_logger(__name__)

CHECK_INTERVAL = 60.0  # seconds between checks
_MAX_PAUSE = 600.0  # seconds without a check; after more, the machine was suspended


@dataclass(frozen=True, slots=True)
class MonitorRules:
    """What is watched: the disk of `data_dir`; lists and webhooks where Flexport's API and a secret are configured."""

    data_dir: Path
    reads_lists: bool
    expects_webhooks: bool

    @classmethod
    def from_settings(cls, settings: Settings) -> "MonitorRules":
        """What the sections `[storage]`, `[flexport]` and `[webhook]` say."""
        return cls(settings.storage.data_dir, settings.flexport.has_key, bool(settings.webhook.secrets))


class _Streak(NamedTuple):
    """For how long a fault has been present, or absent: since a time, and since a number of monotonic seconds."""

    is_present: bool
    since: str
    began: float


class _Ended(NamedTuple):
    """A condition that ends, when it was over, and the all-clear."""

    condition: Condition
    over: str
    words: str


class ConditionMonitor:
    """Keeps the open conditions. `open_conditions` are those that are stored, as of the last check."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        rules: MonitorRules,
        *,
        path_check: Callable[[], ConditionState],
        after_write: Callable[[], None],
        on_stale_lists: Callable[[], None],
        disk_usage: Callable[[Path], Any] = shutil.disk_usage,
    ) -> None:
        """Watch one daemon.

        Args:
            db: The database.
            clock: The clock.
            rules: What is watched.
            path_check: The result of the path check.
            after_write: Called on the event loop after a condition began or ended.
            on_stale_lists: Called when a condition ended that keeps the lists from being read: they are to be read now.
            disk_usage: The size and the free space of the disk that a directory is on.
        """
        self._db = db
        self._clock = clock
        self._rules = rules
        self._path_check = path_check
        self._after_write = after_write
        self._on_stale_lists = on_stale_lists
        self._disk_usage = disk_usage
        self._monotonic = MonotonicClock(clock)
        self._started_at = clock.stamp()
        self._pauses = MonotonicClock(clock.machine)
        self._last_check = 0.0  # by `_pauses`
        self._streaks: dict[ConditionKind, _Streak] = {}
        self._wake = asyncio.Event()
        self._turn = asyncio.Lock()  # what an older check has read must not follow a newer one
        self.open_conditions: tuple[Condition, ...] = ()

    def reload(self, settings: Settings) -> None:
        """Apply the settings that can change while running."""
        self._rules = MonitorRules.from_settings(settings)

    def wake(self) -> None:
        """Check now; to be called on the event loop."""
        self._wake.set()

    async def clock_was_set_back(self) -> None:
        """Correct the times that are in the future now. Raises UnavailableError when the disk refuses."""
        async with self._turn:
            now = self._clock.stamp()
            await self._db.write(lambda tx: tx.conditions.correct_times(now))
            self._started_at = min(self._started_at, now)
            self._streaks = {kind: one._replace(since=min(one.since, now)) for kind, one in self._streaks.items()}

    async def run(self) -> None:
        """Check every minute, and when woken, until cancelled."""
        while True:
            self._wake.clear()
            try:
                await self.check()
            except (UnavailableError, OSError) as error:  # the next check does it
                log.warning("condition_check_failed", reason=str(error))
            await self._wait()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(CHECK_INTERVAL):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def check(self) -> None:
        """Compare what is with what is stored, and write what began or ended, each with its notice.

        Raises UnavailableError when the disk refuses, OSError when it cannot be examined.
        """
        async with self._turn:
            await self._check()

    async def _check(self) -> None:
        rules, now = self._rules, self._clock.now()
        self._detect_pause(now)
        usage = await asyncio.to_thread(self._disk_usage, rules.data_dir)

        def read(tx: Transaction) -> tuple[list[Condition], dict[ConditionKind, ConditionState]]:
            return tx.conditions.open(), stored_states(
                tx, now, reads_lists=rules.reads_lists, expects_webhooks=rules.expects_webhooks,
                started_at=self._started_at,
            )  # fmt: skip

        stored, states = await self._db.read(read)
        known = {condition.kind: condition for condition in stored}
        states["disk_low"] = disk_low(usage.free, usage.total, is_open="disk_low" in known)
        states["webhook_check_failed"] = self._path_check()
        began, ended = self._changes(known, states, now)
        if began or ended:
            await self._db.write(lambda tx: _write(tx, began, ended, self._clock.now()))
            for condition in began:
                log.warning("condition_began", kind=condition.kind, detail=condition.detail)
            for condition, *_ in ended:
                log.info("condition_ended", kind=condition.kind, since=condition.since)
            self._after_write()
        gone = {condition.kind for condition, *_ in ended}
        self.open_conditions = (*(one for one in stored if one.kind not in gone), *began)
        at = max((over for condition, over, _ in ended if condition.kind in HOLDING_KINDS), default=None)
        if at is not None and rules.reads_lists and not await self._db.read(lambda tx: lists_complete_since(tx, at)):
            self._on_stale_lists()

    def _detect_pause(self, now: datetime) -> None:
        """A machine that was suspended missed webhooks, as a daemon that was off."""
        seconds = self._pauses.seconds()
        if seconds - self._last_check > _MAX_PAUSE:
            self._started_at = stamp(now)
        self._last_check = seconds

    def _changes(
        self, known: Mapping[str, Condition], states: Mapping[ConditionKind, ConditionState], now: datetime
    ) -> tuple[list[Condition], list["_Ended"]]:
        """The conditions that begin, and those that end."""
        began, ended, seconds = list[Condition](), list[_Ended](), self._monotonic.seconds()
        for kind in KINDS:
            state = states[kind]
            if state.is_present is None:
                self._streaks.pop(kind, None)
                continue
            streak = self._streaks.get(kind)
            if streak is None or streak.is_present != state.is_present:
                streak = self._streaks[kind] = _Streak(state.is_present, state.since or stamp(now), seconds)
            lasted, condition = seconds - streak.began, known.get(kind)
            if state.is_present and condition is None and lasted >= CONDITIONS[kind].delay:
                began.append(Condition(kind, streak.since, state.detail))
            elif not state.is_present and condition is not None and lasted >= RECOVERY_TIME:
                words = state.detail or CONDITIONS[kind].recovered
                ended.append(_Ended(condition, max(streak.since, condition.since), words))
        return began, ended


def _write(tx: Transaction, began: list[Condition], ended: list[_Ended], now: datetime) -> None:
    notices = [
        {"topic": CONDITIONS[condition.kind].topic, **condition._asdict()}
        for condition in began
        if tx.conditions.begin(condition)
    ]
    for condition, over, words in ended:
        if tx.conditions.end(condition.kind, over):
            lasted = format_duration(age(condition.since, parse(over)) or 0.0)
            detail = f"{words}, after {lasted}"
            notices.append({"topic": RECOVERED, **condition._asdict(), "detail": detail})
    tx.journal.add(stamp(now), notices=notices)
