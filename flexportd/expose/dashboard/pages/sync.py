"""The page of the sync: completeness of the lists, pending removals, receipts, API calls; and its forms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, NamedTuple

from aiohttp import web

from flexportd.clock import stamp
from flexportd.errors import InvalidError, NotFoundError
from flexportd.expose.api.sync import resource_by_name
from flexportd.expose.context import CLOCK, JOBS, UPSTREAM, require_flexport
from flexportd.expose.dashboard.page import SUBMIT_GUARD, PageTable, done, form_field
from flexportd.expose.dashboard.view import sync_report
from flexportd.expose.dashboard.view.alerts import FLEXPORT_URL, NO_KEY, PageContext
from flexportd.expose.dashboard.view.dates import ViewContext, count
from flexportd.expose.dashboard.view.labels import Text, resource_words, text
from flexportd.expose.dashboard.view.sync_report import (
    Fact,
    LastRun,
    Sentence,
    facts,
    next_sync,
    progress,
    run_receipts,
    run_rows,
    usage_rows,
)
from flexportd.expose.openapi import query_params
from flexportd.expose.openapi.parameters import parse_integer
from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.repositories.sync import Receipt, Run
from flexportd.storage.transaction import Transaction

_DAY = timedelta(hours=24)
_RUNS = 6  # of each kind
_UNREADABLE = 20
_MAX_NAME = 100  # characters of a resource's name

NOTICES = {"begun": "Full sync started.", "accepted": "The missing items were marked as removed."}

PAGES = PageTable("sync")


class SyncQuery(NamedTuple):
    """The query, and the `full_sync` job. `run` is the run whose receipts are shown; None: the current or last one."""

    notice: str | None
    run: int | None
    job: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class SyncData:
    """What the database says: the full run in progress and the last one that has ended, with their receipts."""

    query: SyncQuery
    running: tuple[Run, Sequence[Receipt]] | None
    ended: tuple[Run, Sequence[Receipt]] | None
    runs: Sequence[Mapping[str, Any]]
    unreadable: Mapping[str, int]
    unreadable_rows: Sequence[Mapping[str, Any]]
    calls: Mapping[str, Mapping[str, Any]]
    details: tuple[int, bool] = (0, False)
    """The number of shipments whose details are still to be fetched; whether list entries are complete anyway."""

    chosen: tuple[Run, Sequence[Receipt]] | None = None  # the run of the query


async def _query(request: web.Request) -> SyncQuery:
    query = query_params.parse_unique(request.query, ("done", "run"))
    run = parse_integer("run", query["run"], 1, 2**63 - 1) if "run" in query else None
    jobs = request.app[JOBS].list_jobs()
    job = next((job for job in jobs if job["id"] == "full_sync"), None)
    return SyncQuery(NOTICES.get(query.get("done", "")), run, job)


def read(tx: Transaction, request: web.Request, query: SyncQuery) -> SyncData:
    """Runs, receipts, unreadable objects and API calls in one snapshot. Raises NotFoundError."""
    chosen = None if query.run is None else tx.sync.run(query.run)
    if chosen is None and query.run is not None:
        raise NotFoundError(f"there is no run {query.run}")
    running, ended = tx.sync.running("full"), tx.sync.last("full")
    runs = [
        row
        for kind in ("full", "incremental")
        for row in tx.sync.runs(PageRequest(_RUNS, "id", filters={"kind": (kind,)}))[:_RUNS]
    ]
    return SyncData(
        query=query,
        running=(running, tx.sync.receipts(running.id)) if running else None,
        ended=(ended, tx.sync.receipts(ended.id)) if ended else None,
        runs=sorted(runs, key=lambda row: int(row["id"]), reverse=True),
        unreadable=tx.unreadable.counts(),
        unreadable_rows=tx.unreadable.page(PageRequest(_UNREADABLE, "id"))[:_UNREADABLE],
        calls=tx.api_usage.since(stamp(request.app[CLOCK].now() - _DAY)[:13]),
        details=(tx.shipment_details.count_pending(), tx.shipment_details.richness().is_rich),
        chosen=(chosen, tx.sync.receipts(chosen.id)) if chosen else None,
    )


@PAGES.page("/sync", "sync.html", query=_query, read=read)
def sync_page(data: SyncData, context: PageContext) -> SimpleNamespace:
    """The sync; not cached, as it shows the progress of a run."""
    stored, view, state = context.stored, context.view, context.runtime.flexport
    resources = {resource.name: resource for resource in context.runtime.resources}
    lists = sync_report.list_rows(resources.values(), stored, _last_run(data, context), view)
    held = sync_report.review_rows(stored.pending_removals, resources, view)
    current = data.running if state is not None else None
    report, sentences = data.chosen or current or data.ended, tuple[Sentence, ...]()
    if state is not None:
        sentences = tuple(Sentence(alert.sentence, alert.tone) for alert in context.alerts if alert.url == FLEXPORT_URL)
        sentences += sync_report.sentences(stored, lists, held, view, is_running=current is not None)
    rows, total = usage_rows(data.calls)
    title = f"Run {data.chosen[0].id}" if data.chosen else "Full sync in progress" if current else "Last full sync"
    pending, is_complete = data.details
    details = f"{pending:,} to fetch" if pending else "Not needed: lists are complete" if is_complete else "All fetched"
    return SimpleNamespace(
        notice=data.query.notice,
        no_key=NO_KEY if state is None else None,
        sentences=sentences,
        running=progress(*current, stored.lists, view) if current else None,
        held=held,
        lists=lists if state is not None or stored.lists else (),
        receipts=run_receipts(*report, resources, view) if report else None,
        receipts_title=title,
        unreadable=tuple(_unreadable(row, view) for row in data.unreadable_rows),
        unreadable_total=count(sum(data.unreadable.values()), "object"),
        forecast=next_sync(context.forecast, data.query.job, view),
        runs=run_rows(data.runs, view),
        flexport=(*facts(state, view), Fact("Shipment details", None, details)) if state is not None else (),
        usage=rows,
        usage_total=total,
    )


def _last_run(data: SyncData, context: PageContext) -> LastRun:
    syncing = {receipt.resource for receipt in data.running[1] if receipt.state == "running"} if data.running else ()
    return LastRun(
        receipts={receipt.resource: receipt for receipt in data.ended[1]} if data.ended else {},
        syncing=syncing if context.runtime.has_key else (),
        unread=None if context.forecast is None else frozenset(context.forecast["never_synced"]),
        unreadable=data.unreadable,
    )


def _unreadable(row: Mapping[str, Any], view: ViewContext) -> SimpleNamespace:
    return SimpleNamespace(
        name=resource_words(row["resource"]),
        key=text(row["resource_id"], 40) or Text("?"),
        error=text(row["error"], 200),
        count=f"{row['count']:,}",
        last=view.ago(row["last_seen_at"]),
    )


@PAGES.form("/sync/run")
async def run_sync(request: web.Request) -> web.StreamResponse:
    """Start a full sync, or join the one that is running."""
    await request.app[SUBMIT_GUARD].once(request, require_flexport(request.app[UPSTREAM]).begin_sync)
    return done("/sync", "begun")


@PAGES.form("/sync/accept")
async def accept(request: web.Request) -> web.StreamResponse:
    """Confirm the removals of the list in the field `resource`."""
    app, name = request.app, await form_field(request, "resource", _MAX_NAME)
    if not name:
        raise InvalidError("resource is missing; name a list", "resource")
    upstream, resource = require_flexport(app[UPSTREAM]), resource_by_name(app, name)
    await request.app[SUBMIT_GUARD].once(request, lambda: upstream.confirm_removals(resource), name)
    return done("/sync", "accepted")
