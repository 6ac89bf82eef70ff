"""The page of the daemon itself: jobs, storage, cache, what Flexport sends that nobody published."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from flexportd.cache import DiskStats
from flexportd.clock import age
from flexportd.core.labels import format_duration
from flexportd.escape import escape_control
from flexportd.expose.api.health import version_warnings
from flexportd.expose.context import DisplaySettings
from flexportd.expose.dashboard.view.alerts import sentence
from flexportd.expose.dashboard.view.dates import DateText, RelativeTime, ViewContext, count
from flexportd.expose.dashboard.view.labels import Badge, Text, short_text, size, text
from flexportd.expose.webhook_refusals import explanation, hint
from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.repositories.events import EventVersion
from flexportd.storage.repositories.webhook_refusals import WebhookRefusal
from flexportd.storage.transaction import Transaction

_FINDINGS = 50
_SENTENCES = 20

NOTICES = {
    "started": "Job started.",
    "paused": "Job paused. The current run will finish.",
    "resumed": "Job resumed.",
}

_OUTCOMES = {
    "done": Badge("Done", "delivered"),
    "failed": Badge("Failed", "bad"),
    "timed_out": Badge("Timed out", "bad"),
    "cancelled": Badge("Cancelled", "arriving"),
    "interrupted": Badge("Interrupted", "arriving"),
}

_KINDS = {
    "field": "Field",
    "value": "Value",
    "shape": "Structure",
    "object": "Object",
    "event_type": "Event type",
    "response": "Response",
}


@dataclass(frozen=True, slots=True)
class SystemRuntime:
    """What the running daemon says."""

    version: str
    started_at: str
    reasons: Sequence[str]
    warnings: Sequence[str]
    jobs: Sequence[Mapping[str, Any]]
    fault: str | None
    wal_bytes: int
    memory: tuple[int, int, int]
    """Hits, misses, bytes."""
    disk: DiskStats
    refusals: Sequence[WebhookRefusal] = ()
    shown: DisplaySettings = field(default_factory=DisplaySettings)


@dataclass(frozen=True, slots=True)
class SystemData:
    """What the store says: the findings seen last, and how many there are."""

    findings: Sequence[Mapping[str, Any]]
    total: int
    versions: Sequence[EventVersion] = ()


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job. `url` is where its buttons post to."""

    name: str
    title: str
    schedule: str
    next: RelativeTime | None
    next_words: str
    is_running: bool
    started: str | None
    is_paused: bool
    last: RelativeTime | None
    lasted: str | None
    outcome: Badge | None
    message: Text | None
    failing: str | None
    url: str


@dataclass(frozen=True, slots=True)
class CacheRow:
    """One layer of the cache; `share` of look-ups that it answered is in percent."""

    title: str
    share: int | None
    hits: str
    misses: str
    held: str


@dataclass(frozen=True, slots=True)
class DriftRow:
    """Something that Flexport sent and nobody published."""

    kind: str
    object: Text | None
    name: Text | None
    example: Text | None
    count: str
    first: DateText | None
    last: RelativeTime | None


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """Webhooks that were refused for one reason."""

    reason: str
    count: str
    last: RelativeTime | None
    first: DateText | None
    address: str
    path: str
    hint: str


@dataclass(frozen=True, slots=True)
class Storage:
    """How the database is."""

    state: Badge
    words: str
    wal: str


@dataclass(frozen=True, slots=True)
class SystemPage:
    """Everything the page of the daemon shows."""

    notice: str | None
    version: str
    uptime: str
    started: DateText | None
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    jobs: tuple[JobRow, ...]
    refused: tuple[RefusedRow, ...]
    storage: Storage
    layers: tuple[CacheRow, ...]
    findings: tuple[DriftRow, ...]
    findings_total: str
    has_more_findings: bool


def read(tx: Transaction) -> SystemData:
    """The findings that were seen last, and the versions of events."""
    findings = tx.drift.page(PageRequest(_FINDINGS, "last_seen_at"))[:_FINDINGS]
    return SystemData(findings, tx.drift.total(), tx.events.versions())


def system_page(found: SystemData, daemon: SystemRuntime, query: Mapping[str, str], sight: ViewContext) -> SystemPage:
    """The daemon in words; `query` is what the browser sent."""
    return SystemPage(
        notice=NOTICES.get(query.get("done", "")),
        version=daemon.version,
        uptime=format_duration(age(daemon.started_at, sight.now) or 0.0),
        started=sight.instant(daemon.started_at),
        reasons=tuple(sentence(one) for one in daemon.reasons[:_SENTENCES]),
        warnings=tuple(
            sentence(one) for one in [*daemon.warnings, *version_warnings(found.versions, sight.now)][:_SENTENCES]
        ),
        jobs=tuple(_job(job, sight) for job in daemon.jobs),
        refused=tuple(_refused(one, daemon.shown, sight) for one in daemon.refusals),
        storage=_storage(daemon),
        layers=_layers(daemon),
        findings=tuple(_finding(row, sight) for row in found.findings),
        findings_total=f"{found.total:,}",
        has_more_findings=found.total > len(found.findings),
    )


def _job(job: Mapping[str, Any], sight: ViewContext) -> JobRow:
    last, running, failures = job["last_run"], job["running"], job["consecutive_failures"]
    upcoming = None if job["paused"] or running else sight.until(job["next_run_at"])
    since = sight.ago(running["since"]) if running else None
    words = "Running" if running else "Paused" if job["paused"] else "Not scheduled"
    seconds = last["seconds"] if last else None
    return JobRow(
        name=escape_control(job["id"], 60),
        title=escape_control(job["title"], 120),
        schedule=escape_control(job["schedule"], 80),
        next=upcoming,
        next_words=upcoming.words if upcoming else words,
        is_running=running is not None,
        started=f"started {since.words}" if since else None,
        is_paused=job["paused"],
        last=sight.ago(last["ended_at"]) if last else None,
        lasted=None if seconds is None else format_duration(seconds) if seconds >= 1 else f"{seconds * 1000:.0f} ms",
        outcome=_outcome(last["outcome"]) if last else None,
        message=text(last["message"], 160) if last else None,
        failing=f"{failures:,} times in a row" if failures > 1 else None,
        url=f"/system/jobs/{quote(job['id'], safe='')}",
    )


def _refused(one: WebhookRefusal, shown: DisplaySettings, sight: ViewContext) -> RefusedRow:
    title = explanation(one.reason).title
    return RefusedRow(
        reason=title[:1].upper() + title[1:],
        count=f"{one.count:,}",
        last=sight.ago(one.last_at),
        first=sight.instant(one.first_at),
        address=escape_control(one.last_address, 60),
        path=escape_control(one.last_path, 100),
        hint=hint(one, shown),
    )


def _outcome(name: str) -> Badge:
    return _OUTCOMES.get(name) or Badge(escape_control(name, 40), "plain")


def _storage(daemon: SystemRuntime) -> Storage:
    wal = size(daemon.wal_bytes)
    if daemon.fault:
        return Storage(Badge("Fault", "bad"), sentence(f"The database is not writable: {daemon.fault}"), wal)
    return Storage(Badge("Healthy", "delivered"), "Webhooks are stored on disk before they are acknowledged.", wal)


def _layers(daemon: SystemRuntime) -> tuple[CacheRow, ...]:
    hits, misses, held = daemon.memory
    disk = daemon.disk
    return (
        _layer("Memory", hits, misses, size(held)),
        _layer("Disk", disk.hits, disk.misses, f"{size(disk.bytes)} in {count(disk.entries, 'item')}"),
    )


def _layer(title: str, hits: int, misses: int, held: str) -> CacheRow:
    asked = hits + misses
    return CacheRow(title, round(100 * hits / asked) if asked else None, f"{hits:,}", f"{misses:,}", held)


def _finding(row: Mapping[str, Any], sight: ViewContext) -> DriftRow:
    return DriftRow(
        kind=_KINDS.get(row["kind"]) or short_text(row["kind"]) or "",
        object=text(row["object"], 60),
        name=text(row["name"], 80),
        example=text(row["example"], 80),
        count=f"{row['count']:,}",
        first=sight.instant(row["first_seen_at"]),
        last=sight.ago(row["last_seen_at"]),
    )
