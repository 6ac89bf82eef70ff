"""The page of the daemon itself: jobs, storage, cache, what Flexport sends that nobody published."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from flexportd.cache import DiskStats
from flexportd.clock import age
from flexportd.core.outages import lasting
from flexportd.escape import harmless
from flexportd.expose.api.health import version_warnings
from flexportd.expose.context import Shown
from flexportd.expose.dashboard.view.alerts import sentence
from flexportd.expose.dashboard.view.dates import Ago, Sight, When, count
from flexportd.expose.dashboard.view.labels import Pill, Text, size, text, word
from flexportd.expose.webhook_refusals import explanation, hint
from flexportd.storage.queries.list_query import Page
from flexportd.storage.repositories.events import EventVersion
from flexportd.storage.repositories.webhook_refusals import WebhookRefusal
from flexportd.storage.transaction import Session

_FINDINGS = 50
_SENTENCES = 20

NOTICES = {
    "started": "Job started.",
    "paused": "Job paused. The current run will finish.",
    "resumed": "Job resumed.",
}

_OUTCOMES = {
    "done": Pill("Done", "delivered"),
    "failed": Pill("Failed", "bad"),
    "timed_out": Pill("Timed out", "bad"),
    "cancelled": Pill("Cancelled", "arriving"),
    "interrupted": Pill("Interrupted", "arriving"),
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
class Daemon:
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
    shown: Shown = field(default_factory=Shown)


@dataclass(frozen=True, slots=True)
class Found:
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
    next: Ago | None
    next_words: str
    is_running: bool
    started: str | None
    is_paused: bool
    last: Ago | None
    lasted: str | None
    outcome: Pill | None
    message: Text | None
    failing: str | None
    url: str


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of the cache; `share` of look-ups that it answered is in percent."""

    title: str
    share: int | None
    hits: str
    misses: str
    held: str


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that Flexport sent and nobody published."""

    kind: str
    object: Text | None
    name: Text | None
    example: Text | None
    count: str
    first: When | None
    last: Ago | None


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """Webhooks that were refused for one reason."""

    reason: str
    count: str
    last: Ago | None
    first: When | None
    address: str
    path: str
    hint: str


@dataclass(frozen=True, slots=True)
class Storage:
    """How the database is."""

    state: Pill
    words: str
    wal: str


@dataclass(frozen=True, slots=True)
class SystemPage:
    """Everything the page of the daemon shows."""

    notice: str | None
    version: str
    uptime: str
    started: When | None
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    jobs: tuple[JobRow, ...]
    refused: tuple[RefusedRow, ...]
    storage: Storage
    layers: tuple[Layer, ...]
    findings: tuple[Finding, ...]
    findings_total: str
    has_more_findings: bool


def read(tx: Session) -> Found:
    """The findings that were seen last, and the versions of events."""
    findings = tx.drift.page(Page(_FINDINGS, "last_seen_at"))[:_FINDINGS]
    return Found(findings, tx.drift.total(), tx.events.versions())


def system_page(found: Found, daemon: Daemon, query: Mapping[str, str], sight: Sight) -> SystemPage:
    """The daemon in words; `query` is what the browser sent."""
    return SystemPage(
        notice=NOTICES.get(query.get("done", "")),
        version=daemon.version,
        uptime=lasting(age(daemon.started_at, sight.now) or 0.0),
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


def _job(job: Mapping[str, Any], sight: Sight) -> JobRow:
    last, running, failures = job["last_run"], job["running"], job["consecutive_failures"]
    upcoming = None if job["paused"] or running else sight.ahead(job["next_run_at"])
    since = sight.ago(running["since"]) if running else None
    words = "Running" if running else "Paused" if job["paused"] else "Not scheduled"
    seconds = last["seconds"] if last else None
    return JobRow(
        name=harmless(job["id"], 60),
        title=harmless(job["title"], 120),
        schedule=harmless(job["schedule"], 80),
        next=upcoming,
        next_words=upcoming.words if upcoming else words,
        is_running=running is not None,
        started=f"started {since.words}" if since else None,
        is_paused=job["paused"],
        last=sight.ago(last["ended_at"]) if last else None,
        lasted=None if seconds is None else lasting(seconds) if seconds >= 1 else f"{seconds * 1000:.0f} ms",
        outcome=_outcome(last["outcome"]) if last else None,
        message=text(last["message"], 160) if last else None,
        failing=f"{failures:,} times in a row" if failures > 1 else None,
        url=f"/system/jobs/{quote(job['id'], safe='')}",
    )


def _refused(one: WebhookRefusal, shown: Shown, sight: Sight) -> RefusedRow:
    title = explanation(one.reason).title
    return RefusedRow(
        reason=title[:1].upper() + title[1:],
        count=f"{one.count:,}",
        last=sight.ago(one.last_at),
        first=sight.instant(one.first_at),
        address=harmless(one.last_address, 60),
        path=harmless(one.last_path, 100),
        hint=hint(one, shown),
    )


def _outcome(name: str) -> Pill:
    return _OUTCOMES.get(name) or Pill(harmless(name, 40), "plain")


def _storage(daemon: Daemon) -> Storage:
    wal = size(daemon.wal_bytes)
    if daemon.fault:
        return Storage(Pill("Fault", "bad"), sentence(f"The database is not writable: {daemon.fault}"), wal)
    return Storage(Pill("Healthy", "delivered"), "Webhooks are stored on disk before they are acknowledged.", wal)


def _layers(daemon: Daemon) -> tuple[Layer, ...]:
    hits, misses, held = daemon.memory
    disk = daemon.disk
    return (
        _layer("Memory", hits, misses, size(held)),
        _layer("Disk", disk.hits, disk.misses, f"{size(disk.bytes)} in {count(disk.entries, 'item')}"),
    )


def _layer(title: str, hits: int, misses: int, held: str) -> Layer:
    asked = hits + misses
    return Layer(title, round(100 * hits / asked) if asked else None, f"{hits:,}", f"{misses:,}", held)


def _finding(row: Mapping[str, Any], sight: Sight) -> Finding:
    return Finding(
        kind=_KINDS.get(row["kind"]) or word(row["kind"]) or "",
        object=text(row["object"], 60),
        name=text(row["name"], 80),
        example=text(row["example"], 80),
        count=f"{row['count']:,}",
        first=sight.instant(row["first_seen_at"]),
        last=sight.ago(row["last_seen_at"]),
    )
