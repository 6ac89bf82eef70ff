"""The page of the daemon: jobs, refused webhooks, cache, storage, schema drift; and its forms."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple
from urllib.parse import quote

from aiohttp import web

from flexportd import __version__
from flexportd.cache import DiskStats
from flexportd.clock import age
from flexportd.core.labels import format_duration
from flexportd.escape import escape_control
from flexportd.expose.api.status import version_warnings, warnings
from flexportd.expose.context import CACHE, DB, JOBS, SERVER_INFO, DisplaySettings
from flexportd.expose.dashboard.page import SUBMIT_GUARD, PageTable, done
from flexportd.expose.dashboard.view.alerts import PageContext
from flexportd.expose.dashboard.view.dates import ViewContext, count
from flexportd.expose.dashboard.view.labels import LABELS, Badge, sentence, short_text, size, text
from flexportd.expose.openapi import query_params
from flexportd.expose.webhook_refusals import explanation, hint
from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.repositories.counters import WebhookRefusal
from flexportd.storage.repositories.events import EventVersion
from flexportd.storage.transaction import Transaction

_FINDINGS = 50
_SENTENCES = 20

NOTICES = {"started": "Job started.", "paused": "Job paused. The current run will finish.", "resumed": "Job resumed."}

PAGES = PageTable("system")


class SystemQuery(NamedTuple):
    """The query, and what the daemon reports for this page only. `memory` is hits, misses and bytes."""

    started_at: str
    warnings: Sequence[str]
    jobs: Sequence[Mapping[str, Any]]
    wal_bytes: int
    memory: tuple[int, int, int]
    disk: DiskStats
    notice: str | None = None


class SystemData(NamedTuple):
    """The latest findings of schema drift, with their total, and the versions of events."""

    query: SystemQuery
    findings: Sequence[Mapping[str, Any]]
    total: int
    versions: Sequence[EventVersion] = ()


async def _query(request: web.Request) -> SystemQuery:
    app, query = request.app, query_params.parse_unique(request.query, ("done",))
    return SystemQuery(
        started_at=app[SERVER_INFO].started_at,
        warnings=warnings(app),
        jobs=app[JOBS].list_jobs(),
        wal_bytes=app[DB].writer.wal_bytes(),
        memory=(app[CACHE].hits, app[CACHE].misses, app[CACHE].size),
        disk=app[CACHE].disk.stats(),
        notice=NOTICES.get(query.get("done", "")),
    )


def read(tx: Transaction, _request: web.Request, query: SystemQuery) -> SystemData:
    """Schema drift and the versions of events in one snapshot."""
    findings = tx.drift.page(PageRequest(_FINDINGS, "last_seen_at"))[:_FINDINGS]
    return SystemData(query, findings, tx.drift.total(), tx.events.versions())


@PAGES.page("/system", "system.html", query=_query, read=read)
def system_page(data: SystemData, context: PageContext) -> SimpleNamespace:
    """The daemon; not cached, as it shows the present moment."""
    query, runtime, view = data.query, context.runtime, context.view
    wanted = [*query.warnings, *version_warnings(data.versions, view.now)]
    return SimpleNamespace(
        notice=query.notice,
        version=__version__,
        uptime=format_duration(age(query.started_at, view.now) or 0.0),
        started=view.instant(query.started_at),
        reasons=tuple(sentence(reason) for reason in runtime.reasons[:_SENTENCES]),
        warnings=tuple(sentence(warning) for warning in wanted[:_SENTENCES]),
        jobs=tuple(_job(job, view) for job in query.jobs),
        refused=tuple(_refused(refusal, runtime.display, view) for refusal in runtime.refusals),
        storage=_storage(runtime.fault, query.wal_bytes),
        layers=_layers(query),
        findings=tuple(_finding(row, view) for row in data.findings),
        findings_total=f"{data.total:,}",
        has_more_findings=data.total > len(data.findings),
    )


def _job(job: Mapping[str, Any], view: ViewContext) -> SimpleNamespace:
    last, running, failures = job["last_run"], job["running"], job["consecutive_failures"]
    upcoming = None if job["paused"] or running else view.until(job["next_run_at"])
    since = view.ago(running["since"]) if running else None
    words = "Running" if running else "Paused" if job["paused"] else "Not scheduled"
    seconds, outcome = (last["seconds"], last["outcome"]) if last else (None, "")
    return SimpleNamespace(
        name=escape_control(job["id"], 60),
        title=escape_control(job["title"], 120),
        schedule=escape_control(job["schedule"], 80),
        next=upcoming,
        next_words=upcoming.words if upcoming else words,
        is_running=running is not None,
        started=f"started {since.words}" if since else None,
        is_paused=job["paused"],
        last=view.ago(last["ended_at"]) if last else None,
        duration=None if seconds is None else format_duration(seconds) if seconds >= 1 else f"{seconds * 1000:.0f} ms",
        outcome=(LABELS.job_outcomes.get(outcome) or Badge(escape_control(outcome, 40), "plain")) if last else None,
        message=text(last["message"], 160) if last else None,
        failing=f"{failures:,} times in a row" if failures > 1 else None,
        url=f"/system/jobs/{quote(job['id'], safe='')}",
    )


def _refused(refusal: WebhookRefusal, display: DisplaySettings, view: ViewContext) -> SimpleNamespace:
    title = explanation(refusal.reason).title
    return SimpleNamespace(
        reason=title[:1].upper() + title[1:],
        count=f"{refusal.count:,}",
        last=view.ago(refusal.last_at),
        first=view.instant(refusal.first_at),
        address=escape_control(refusal.last_address, 60),
        path=escape_control(refusal.last_path, 100),
        hint=hint(refusal, display),
    )


def _storage(fault: str | None, wal_bytes: int) -> SimpleNamespace:
    state, words = Badge("Healthy", "delivered"), "Webhooks are stored on disk before they are acknowledged."
    if fault:
        state, words = Badge("Fault", "bad"), sentence(f"The database is not writable: {fault}")
    return SimpleNamespace(state=state, words=words, wal=size(wal_bytes))


def _layers(query: SystemQuery) -> tuple[SimpleNamespace, ...]:
    """The layers of the cache; `hit_rate` in percent."""
    disk, (hits, misses, used) = query.disk, query.memory
    on_disk = f"{size(disk.bytes)} in {count(disk.entries, 'item')}"
    return tuple(
        SimpleNamespace(
            title=title,
            hit_rate=round(100 * hits / (hits + misses)) if hits + misses else None,
            hits=f"{hits:,}",
            misses=f"{misses:,}",
            size=held,
        )
        for title, hits, misses, held in (
            ("Memory", hits, misses, size(used)),
            ("Disk", disk.hits, disk.misses, on_disk),
        )
    )


def _finding(row: Mapping[str, Any], view: ViewContext) -> SimpleNamespace:
    return SimpleNamespace(
        kind=LABELS.drift_kinds.get(row["kind"]) or short_text(row["kind"]) or "",
        object=text(row["object"], 60),
        name=text(row["name"], 80),
        example=text(row["example"], 80),
        count=f"{row['count']:,}",
        first=view.instant(row["first_seen_at"]),
        last=view.ago(row["last_seen_at"]),
    )


@PAGES.form("/system/jobs/{id}/run")
async def run_job(request: web.Request) -> web.StreamResponse:
    """Run a job now."""
    jobs, name = request.app[JOBS], request.match_info["id"]
    await request.app[SUBMIT_GUARD].once(request, lambda: jobs.run_now(name))
    return done("/system", "started")


@PAGES.form("/system/jobs/{id}/pause")
@PAGES.form("/system/jobs/{id}/resume")
async def set_job_paused(request: web.Request) -> web.StreamResponse:
    """Pause or resume a job."""
    paused = request.path.endswith("/pause")
    await request.app[JOBS].set_paused(request.match_info["id"], paused=paused)
    return done("/system", "paused" if paused else "resumed")
