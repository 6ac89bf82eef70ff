"""The page of the sync: what the mirror is worth, what waits for a person, the books of the last run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flexportd.clock import stamp
from flexportd.core.resources.resource_type import ResourceType
from flexportd.errors import NotFoundError
from flexportd.expose.dashboard.view import list_status
from flexportd.expose.dashboard.view.alerts import FLEXPORT_URL, NO_KEY, PageContext
from flexportd.expose.dashboard.view.api_usage import Fact, NextSync, UsageRow, facts, next_sync, usage_rows
from flexportd.expose.dashboard.view.dates import RelativeTime, ViewContext, count
from flexportd.expose.dashboard.view.labels import Text, resource_words, text
from flexportd.expose.dashboard.view.list_status import LastRun, ListRow, ReviewRow, Sentence
from flexportd.expose.dashboard.view.sync_report import Progress, RunReceipts, RunRow, progress, run_receipts, run_rows
from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.repositories.sync import Receipt, Run
from flexportd.storage.transaction import Transaction

_DAY = timedelta(hours=24)
_RUNS = 6  # of each kind
_UNREADABLE = 20

NOTICES = {
    "begun": "Full sync started.",
    "accepted": "The missing items were marked as removed.",
}


@dataclass(frozen=True, slots=True)
class SyncData:
    """What the store says: the full run that goes on and the last that has ended, with their receipts."""

    running: tuple[Run, Sequence[Receipt]] | None
    ended: tuple[Run, Sequence[Receipt]] | None
    runs: Sequence[Mapping[str, Any]]
    unreadable: Mapping[str, int]
    unreadable_rows: Sequence[Mapping[str, Any]]
    calls: Mapping[str, Mapping[str, Any]]
    details: tuple[int, bool] = (0, False)
    """How many shipments are to be fetched one by one; whether list entries are complete, so that none need be."""

    chosen: tuple[Run, Sequence[Receipt]] | None = None
    """The run that was asked for."""


@dataclass(frozen=True, slots=True)
class SyncRuntime:
    """What the running daemon says. `state` and `forecast` are the client's, None where no key is configured."""

    state: Mapping[str, Any] | None
    forecast: Mapping[str, Any] | None
    job: Mapping[str, Any] | None
    domains: Mapping[str, ResourceType]


@dataclass(frozen=True, slots=True)
class UnreadableRow:
    """An object that Flexport sent and nobody here can read."""

    name: str
    key: Text
    error: Text | None
    times: str
    last: RelativeTime | None


@dataclass(frozen=True, slots=True)
class SyncPage:
    """Everything the page of the sync shows."""

    notice: str | None
    no_key: str | None
    sentences: tuple[Sentence, ...]
    running: Progress | None
    held: tuple[ReviewRow, ...]
    lists: tuple[ListRow, ...]
    run: RunReceipts | None
    run_title: str
    unreadable: tuple[UnreadableRow, ...]
    unreadable_total: str
    forecast: NextSync | None
    runs: tuple[RunRow, ...]
    flexport: tuple[Fact, ...]
    budget: tuple[UsageRow, ...]
    budget_total: UsageRow | None


def read(tx: Transaction, now: datetime, run: int | None = None) -> SyncData:
    """Everything but what is noted on every page, in the same snapshot; `run` is the one whose receipts are asked for.

    Raises NotFoundError.
    """
    chosen = None if run is None else tx.sync.run(run)
    if chosen is None and run is not None:
        raise NotFoundError(f"there is no run {run}")
    running, ended = tx.sync.running("full"), tx.sync.last("full")
    runs = [
        row
        for kind in ("full", "incremental")
        for row in tx.sync.runs(PageRequest(_RUNS, "id", filters={"kind": (kind,)}))[:_RUNS]
    ]
    return SyncData(
        running=(running, tx.sync.receipts(running.id)) if running else None,
        ended=(ended, tx.sync.receipts(ended.id)) if ended else None,
        runs=sorted(runs, key=lambda row: int(row["id"]), reverse=True),
        unreadable=tx.unreadable.counts(),
        unreadable_rows=tx.unreadable.page(PageRequest(_UNREADABLE, "id"))[:_UNREADABLE],
        calls=tx.api_usage.since(stamp(now - _DAY)[:13]),
        details=(tx.shipment_details.count_pending(), tx.shipment_details.richness().is_rich),
        chosen=(chosen, tx.sync.receipts(chosen.id)) if chosen else None,
    )


def sync_runtime(
    domains: Sequence[ResourceType],
    state: Mapping[str, Any] | None,
    forecast: Mapping[str, Any] | None,
    jobs: Sequence[Mapping[str, Any]],
) -> SyncRuntime:
    """What the parts say, as the page needs it."""
    job = next((job for job in jobs if job["id"] == "full_sync"), None)
    return SyncRuntime(state, forecast, job, {domain.name: domain for domain in domains})


def sync_page(found: SyncData, around: SyncRuntime, query: Mapping[str, str], look: PageContext) -> SyncPage:
    """The sync in words; `query` is what the browser sent."""
    noted, sight = look.stored, look.view
    lists = list_status.list_rows(around.domains.values(), noted, _last_run(found, around), sight)
    held = list_status.review_rows(noted.pending_removals, around.domains, sight)
    running = None
    if found.running and around.state is not None:
        running = progress(found.running[1], noted.lists, sight.ago(found.running[0].started_at))
    told: tuple[Sentence, ...] = ()
    if around.state is not None:
        told = tuple(Sentence(need.sentence, need.tone) for need in look.alerts if need.url == FLEXPORT_URL)
        told += list_status.sentences(noted, lists, held, sight, is_running=running is not None)
    rows, total = usage_rows(found.calls)
    return SyncPage(
        notice=NOTICES.get(query.get("done", "")),
        no_key=NO_KEY if around.state is None else None,
        sentences=told,
        running=running,
        held=held,
        lists=lists if around.state is not None or noted.lists else (),
        run=_run(found, around, sight),
        run_title=_run_title(found, is_running=running is not None),
        unreadable=tuple(_unreadable(row, sight) for row in found.unreadable_rows),
        unreadable_total=count(sum(found.unreadable.values()), "object"),
        forecast=_forecast(around, sight),
        runs=run_rows(found.runs, sight),
        flexport=(*facts(around.state, sight), _details(*found.details)) if around.state is not None else (),
        budget=rows,
        budget_total=total,
    )


def _last_run(found: SyncData, around: SyncRuntime) -> LastRun:
    reading = {one.resource for one in found.running[1] if one.state == "running"} if found.running else set()
    return LastRun(
        receipts={one.resource: one for one in found.ended[1]} if found.ended else {},
        syncing=reading if around.state is not None else (),
        unread=None if around.forecast is None else frozenset(around.forecast["never_synced"]),
        unreadable=found.unreadable,
    )


def _run(found: SyncData, around: SyncRuntime, sight: ViewContext) -> RunReceipts | None:
    """The run that was asked for, else the one that goes on, else the last one."""
    if found.chosen:
        return run_receipts(*found.chosen, around.domains, sight)
    one = found.running if found.running and around.state is not None else found.ended
    return run_receipts(*one, around.domains, sight) if one else None


def _run_title(found: SyncData, *, is_running: bool) -> str:
    if found.chosen:
        return f"Run {found.chosen[0].id}"
    return "Full sync in progress" if is_running else "Last full sync"


def _forecast(around: SyncRuntime, sight: ViewContext) -> NextSync | None:
    if around.forecast is None:
        return None
    job = around.job or {}
    return next_sync(around.forecast, job.get("next_run_at"), sight, paused=bool(job.get("paused")))


def _details(waiting: int, is_complete: bool) -> Fact:
    if waiting:
        return Fact("Shipment details", None, f"{waiting:,} to fetch")
    return Fact("Shipment details", None, "Not needed: lists are complete" if is_complete else "All fetched")


def _unreadable(row: Mapping[str, Any], sight: ViewContext) -> UnreadableRow:
    return UnreadableRow(
        name=resource_words(row["resource"]),
        key=text(row["resource_id"], 40) or Text("?"),
        error=text(row["error"], 200),
        times=f"{row['count']:,}",
        last=sight.ago(row["last_seen_at"]),
    )
