"""Conditions of the daemon itself that need a person: what they are, and whether each holds at present.

`jobs.condition_monitor` stores when one begins and ends, each with one notice. Notifications about freight are held
while one of HOLDING_KINDS is open: what is stored may be out of date then.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Literal, NamedTuple, get_args

from flexportd.clock import stamp
from flexportd.core.outages import assess, delivery_signals, detection
from flexportd.storage.repositories.sync import Receipt, Run
from flexportd.storage.transaction import Transaction

ConditionKind = Literal[
    "sync_failed", "sync_incomplete", "review_needed", "webhook_silent", "disk_low", "webhook_check_failed"
]
KINDS: tuple[ConditionKind, ...] = get_args(ConditionKind)

HOLDING_KINDS: frozenset[ConditionKind] = frozenset({"sync_failed", "webhook_silent"})
"""While one of these is open, what is stored of freight may be out of date."""


class ConditionSpec(NamedTuple):
    """The topic of the notice, the seconds for which a fault must last before it is reported, and the all-clear."""

    topic: str
    delay: float
    recovered: str


_MINUTE = 60.0

CONDITIONS: Mapping[str, ConditionSpec] = {
    "sync_failed": ConditionSpec("system.sync_failed", 0.0, "Data is read from Flexport again"),
    # An outage that begins during a sync run shows in the next run as `sync_failed`.
    "sync_incomplete": ConditionSpec("system.sync_failed", 10 * _MINUTE, "All lists are read completely again"),
    "review_needed": ConditionSpec("system.review_needed", 0.0, "No missing objects need review"),
    "webhook_silent": ConditionSpec("system.webhook_silent", 10 * _MINUTE, "Webhooks are arriving again"),
    "disk_low": ConditionSpec("system.disk_low", 0.0, "Enough disk space is free again"),
    "webhook_check_failed": ConditionSpec("system.webhook_check_failed", 0.0, "The path check succeeds again"),
}

RECOVERY_TIME = 5 * _MINUTE
"""Seconds for which a fault must be gone before its condition ends: one that comes and goes is one condition."""


PathCheckStep = Literal["dns", "connect", "tls", "proxy", "secret", "accepted"]


class PathCheckResult(NamedTuple):
    """The result of the path check of webhooks.

    `step` is the one that fails, or `accepted`; `detail` a sentence for people, without a full stop.
    """

    state: Literal["off", "pending", "ok", "failed"]
    step: PathCheckStep | None = None
    detail: str = ""
    checked_at: str | None = None

    @property
    def problem(self) -> str | None:
        """A sentence if the check failed."""
        return f"The path check of webhooks fails ({self.step}): {self.detail}" if self.state == "failed" else None


class ConditionState(NamedTuple):
    """Whether a fault is present; None: that cannot be said now, and what was known stays.

    `since` is when it began, or was over; None if unknown. `detail` is a sentence for people, without a full stop; of
    an absent fault, why it is over, if that is not the usual reason.
    """

    is_present: bool | None
    detail: str = ""
    since: str | None = None


UNKNOWN = ConditionState(None)
ABSENT = ConditionState(False)
_NO_KEY = ConditionState(False, "Flexport's lists are not read any more: no API key is configured")
_NO_WEBHOOKS = ConditionState(
    False, "Whether webhooks arrive is not checked any more: no API key or no secret is configured"
)


def stored_states(
    tx: Transaction, now: datetime, *, reads_lists: bool, expects_webhooks: bool, started_at: str
) -> dict[ConditionKind, ConditionState]:
    """The conditions that the database shows.

    Args:
        tx: The transaction.
        now: The present.
        reads_lists: Whether Flexport's lists are read.
        expects_webhooks: Whether webhooks can be accepted.
        started_at: When the daemon started; webhooks that it missed before are no fault of their path.
    """
    open_kinds = {condition.kind for condition in tx.conditions.open()}
    failed = _sync_failed(tx, stamp(now)) if reads_lists else _NO_KEY
    found: dict[ConditionKind, ConditionState] = {"sync_failed": failed, "review_needed": _review_needed(tx)}
    if failed.is_present or "sync_failed" in open_kinds:  # the cause of both of the others
        return found | {"sync_incomplete": UNKNOWN, "webhook_silent": UNKNOWN}
    found["sync_incomplete"] = _sync_incomplete(tx) if reads_lists else _NO_KEY
    if not expects_webhooks or not reads_lists:
        return found | {"webhook_silent": _NO_WEBHOOKS}
    not_before = max(started_at, tx.conditions.recovered_at(["sync_failed"]) or "")
    is_open = "webhook_silent" in open_kinds
    return found | {"webhook_silent": _webhook_silent(tx, now, None if is_open else not_before)}


def _sync_failed(tx: Transaction, now: str) -> ConditionState:
    """Whether the newest run could read nothing, or not the shipments.

    A run that ended in the future is not the newest: the clock was set back since.
    """
    runs = [run for kind in ("full", "incremental") if (run := tx.sync.last(kind)) is not None]
    ended = {run.id: run.ended_at or "" for run in runs}
    newest = max(runs, key=lambda run: (ended[run.id] <= now, ended[run.id]), default=None)
    if newest is None:
        return ABSENT
    receipts = tx.sync.receipts(newest.id)
    if not (failures := _failures(newest, receipts)):
        return ABSENT._replace(since=newest.started_at) if _has_read(receipts) else UNKNOWN
    if not _is_total(receipts, failures):
        return ABSENT._replace(since=newest.started_at)
    what = "Flexport's list of shipments cannot be read" if _has_read(receipts) else "Syncs with Flexport fail"
    return ConditionState(True, f"{what}: {_reason(failures)}", newest.started_at)


def _sync_incomplete(tx: Transaction) -> ConditionState:
    """Whether some lists could not be read by the last run of either kind."""
    found: list[Receipt] = []
    for kind in ("full", "incremental"):
        run = tx.sync.last(kind)
        if run is None:
            continue
        receipts = tx.sync.receipts(run.id)
        failures = _failures(run, receipts)
        if failures and _is_total(receipts, failures):
            return UNKNOWN  # it could read nothing at all; the next one will say more
        found += [one for one in failures if one.state == "failed"]
    if not found:
        return ABSENT
    names = ", ".join(dict.fromkeys(one.resource.replace("_", " ") for one in found))
    return ConditionState(True, f"Lists of Flexport are incomplete ({names}): {_reason(found)}")


def _failures(run: Run, receipts: list[Receipt]) -> list[Receipt]:
    """The lists that could not be read. In an incremental run, `unavailable` only means that a filter is ignored."""
    states = ("failed", "unavailable") if run.kind == "full" else ("failed",)
    return [one for one in receipts if one.state in states] if run.state == "failed" else []


def _has_read(receipts: list[Receipt]) -> bool:
    return any(one.state in ("complete", "held") for one in receipts)


def _is_total(receipts: list[Receipt], failures: list[Receipt]) -> bool:
    return not _has_read(receipts) or any(one.resource == "shipments" and one.state == "failed" for one in failures)


def _reason(failures: list[Receipt]) -> str:
    first = next((one for one in failures if one.resource == "shipments"), failures[0])
    return first.reason or "no reason given"


def _review_needed(tx: Transaction) -> ConditionState:
    held = tx.sync.held_counts()
    if not held:
        return ABSENT
    words = ", ".join(f"{count} {name.replace('_', ' ')}" for name, (count, _) in held.items())
    return ConditionState(True, f"Missing from Flexport's lists: {words}. Review whether they were removed")


def _webhook_silent(tx: Transaction, now: datetime, not_before: str | None) -> ConditionState:
    """Whether webhooks are missing, by the same assessment as the page of gaps.

    With `not_before`, only an event since that time, or silence since then, shows it: neither events that the daemon
    could not receive while it was off, nor those of an outage of Flexport.
    """
    signals, detected = delivery_signals(tx), detection(tx.gaps.polls(), now)
    newest = signals.last_upstream_at or ""
    if not_before is not None:
        signals = replace(signals, last_upstream_at=max(newest, not_before))
    verdict, sentence = assess(signals, now, detected)
    if verdict in ("polling_failed", "not_polled"):
        return UNKNOWN
    is_silent = verdict == "unusually_quiet"
    if not is_silent and (verdict not in ("broken", "never_received") or newest < (not_before or "")):
        return ABSENT
    return ConditionState(True, sentence, signals.down_since or signals.last_webhook_at)


_LOW_SHARE = 0.05  # of the disk
_LOW_MIN, _LOW_MAX = 500_000_000, 5_000_000_000  # bytes
_ENOUGH = 1.25  # times the limit


def disk_low(free: int, total: int, *, is_open: bool) -> ConditionState:
    """Whether little disk space is free: less than 5 %, at least 500 MB and at most 5 GB; of a small disk a quarter.

    It is over when a quarter more than that is free.
    """
    limit = min(max(total * _LOW_SHARE, min(_LOW_MIN, total / 4)), _LOW_MAX)
    if free >= limit * (_ENOUGH if is_open else 1):
        return ABSENT
    return ConditionState(
        True, f"Only {free / 1e9:.1f} of {total / 1e9:.0f} GB are free on the disk of the data directory"
    )


def lists_complete_since(tx: Transaction, at: str) -> bool:
    """Whether all lists have been read once since a time on our clock, by a full sync that began after it.

    True if no list is ever read. A list that fails in such a run does not count: `sync_incomplete` reports it.
    """
    run = tx.sync.last("full")
    if run is None:
        return tx.sync.running("full") is None
    receipts = tx.sync.receipts(run.id)
    failures = _failures(run, receipts)
    return run.started_at >= at and not (failures and _is_total(receipts, failures))
