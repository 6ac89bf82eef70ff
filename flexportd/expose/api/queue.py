"""Work of the daemon: the queue and its items, dead letters, which failed permanently, and scheduled jobs."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypedDict

import msgspec
from aiohttp import web
from msgspec import Meta

from flexportd.core.events.applier import event_title
from flexportd.core.json_types import Stamp, doc
from flexportd.core.resources.identifiers import int_id
from flexportd.errors import not_found
from flexportd.expose.api.events import Attempt, RequeuedItem, payload
from flexportd.expose.api.list_endpoint import ListEndpoint
from flexportd.expose.cached_response import respond, respond_with
from flexportd.expose.context import DB, JOBS, QUEUE
from flexportd.expose.openapi.parameters import EVENT_TYPES, TEXT, UnknownWords, check_words
from flexportd.expose.openapi.router import json_body, param, route
from flexportd.expose.openapi.schemas import json_response, list_schema
from flexportd.expose.serialize import json_document, serialize_fields
from flexportd.queue.queue import QueueState
from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.repositories.deliveries import ITEM_KIND
from flexportd.storage.repositories.items import DEAD_LETTERS, UNFINISHED
from flexportd.storage.transaction import Transaction

Priority = Literal["interactive", "webhook", "events", "sync"]

_PRIORITIES: tuple[Priority, ...] = ("interactive", "webhook", "events", "sync")


class QueueItem(TypedDict):
    """A queued item: waiting (ready) or running (leased)."""

    id: str
    kind: Annotated[str, doc("event: to apply; delivery: to send; refresh or document_file: to fetch.")]
    state: Literal["ready", "leased"]
    priority: Priority
    attempts: Annotated[int, doc("Number of attempts.")]
    enqueued_at: Stamp
    ready_at: Annotated[Stamp, doc("Earliest time of the next attempt.")]
    lease_until: Stamp | None
    lane: Annotated[str | None, doc("Items with the same lane run one after another.")]
    event_id: str | None
    event_type: str | None
    error: Annotated[str | None, doc("Error of the last failed attempt.")]


ITEMS = ListEndpoint.of(
    QueueItem,
    {"enqueued_at": "id"},
    UNFINISHED.filters,
    read=lambda tx, page: tx.items.unfinished(page),
    document=lambda row: serialize_fields(QueueItem, row, priority=_PRIORITIES[row["priority"]]),
    fixed_filters={"unfinished": ()},
)
ITEMS.declare("/queue/items", QueueItem, "list_queue_items", "List queued and running items")


@route("GET", "/queue", returns=QueueState)
async def get_queue(request: web.Request) -> web.StreamResponse:
    """Get the status of the queue: length and age."""
    return await respond(request, request.app[QUEUE].stats)


@route("POST", "/queue/pause", returns=QueueState, scope="admin")
async def pause_queue(request: web.Request) -> web.StreamResponse:
    """Pause the queue.

    Webhooks are still accepted and stored. The queue remains paused across restarts.
    """
    return await _set_paused(request, paused=True)


@route("POST", "/queue/resume", returns=QueueState, scope="admin")
async def resume_queue(request: web.Request) -> web.StreamResponse:
    """Resume the queue."""
    return await _set_paused(request, paused=False)


async def _set_paused(request: web.Request, *, paused: bool) -> web.StreamResponse:
    queue = request.app[QUEUE]
    await queue.set_paused(paused=paused)
    return await respond(request, queue.stats)


MAX_RETRIED = 1000  # dead letters per request


class DeadLetter(TypedDict):
    """Queued work that failed permanently. Discarded dead letters are kept, with the person and the reason."""

    id: str
    kind: Annotated[
        str, doc("event: could not be applied; delivery: could not be sent; other kinds: could not be fetched.")
    ]
    event_id: str | None
    event_type: str | None
    delivery_id: Annotated[str | None, doc("The message to a channel that could not be sent.")]
    title: str
    shipment_id: int | None
    error: Annotated[str | None, doc("Error of the last attempt.")]
    attempts: int
    enqueued_at: Stamp
    ended_at: Annotated[Stamp | None, doc("When it failed permanently.")]
    discarded_at: Stamp | None
    discarded_by: str | None
    discard_reason: str | None


class DeadLetterDetail(DeadLetter):
    """A dead letter with all attempts and its original payload: JSON, or base64 if it is not JSON."""

    failed_attempts: list[Attempt]
    payload: Any
    payload_base64: str | None


class RetriedDeadLetters(TypedDict):
    """The number of dead letters retried, and whether more match."""

    retried: int
    has_more: bool


_Text = Annotated[str, Meta(min_length=1, max_length=500, pattern=TEXT["pattern"])]


class DiscardRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The reason for discarding a dead letter, and the person who decided."""

    reason: Annotated[_Text, doc("Reason for discarding, kept with the dead letter.")]
    discarded_by: Annotated[_Text | None, doc("Person who decided; default: api.")] = None


def dead_letter(row: Mapping[str, Any]) -> dict[str, Any]:
    """A dead letter as a document."""
    is_delivery = row["kind"] == ITEM_KIND
    title = f"Notification: {row['delivery_title'] or 'deleted'}" if is_delivery else event_title(row["event_type"])
    return serialize_fields(DeadLetter, row, title=title, delivery_id=row["merge_key"] if is_delivery else None)


LETTERS = ListEndpoint.of(
    DeadLetter,
    {"enqueued_at": "id"},
    DEAD_LETTERS.filters,
    read=lambda tx, page: tx.items.dead_letters(page),
    document=dead_letter,
    fixed_filters={"dead": ()},
    vocabularies={"type": EVENT_TYPES},
)
LETTERS.declare("/dead-letters", DeadLetter, "list_dead_letters", "List dead letters")


def item_id(request: web.Request) -> int:
    """The dead letter in the path. Raises NotFoundError."""
    number = int_id(request.match_info["id"])
    if number is None:
        raise not_found("dead letter", request.match_info["id"])
    return number


@route("GET", "/dead-letters/{id}", returns=DeadLetterDetail)
async def get_dead_letter(request: web.Request) -> web.StreamResponse:
    """Get a dead letter with its payload and all attempts."""
    number = item_id(request)
    return await respond(request, lambda: request.app[DB].read(lambda tx: detail(tx, number)))


def detail(tx: Transaction, number: int) -> dict[str, Any]:
    """A dead letter with its payload and all attempts. Raises NotFoundError."""
    rows = tx.items.dead_letters(PageRequest(1, "id", filters={"dead": (), "one": (number,)}))
    if not rows:
        raise not_found("dead letter", number)
    document = dead_letter(rows[0])
    document["failed_attempts"] = tx.items.attempts(number)
    item = tx.items.by_id(number)
    if item is not None and item.ref is not None:
        return document | payload(tx.events.payload(item.ref)[1])
    return document | payload((rows[0]["payload"] or "null").encode())


@route("POST", "/dead-letters/{id}/retry", returns=RequeuedItem, scope="admin")
async def retry_dead_letter(request: web.Request) -> web.StreamResponse:
    """Retry a dead letter.

    A discarded dead letter is reopened.
    """
    queue, number = request.app[QUEUE], item_id(request)
    if not await queue.retry([number]):
        raise not_found("dead letter", number)
    requeued: RequeuedItem = {"id": str(number), "state": "ready"}
    return await respond_with(request, requeued)


@route(
    "POST",
    "/dead-letters/retry",
    description=f"Retries up to {MAX_RETRIED} dead letters that are not discarded, oldest first.",
    returns=RetriedDeadLetters,
    scope="admin",
    query=tuple(LETTERS.rules.parameters[name] for name in ("type", "error")),
)
async def retry_dead_letters(request: web.Request) -> web.StreamResponse:
    """Retry all matching dead letters."""
    queue = request.app[QUEUE]
    filters: dict[str, Any] = {"dead": (), "not_discarded": ()}
    filters |= {name: (text,) for name in ("type", "error") if (text := param(request, name)) is not None}
    if "type" in filters and filters["type"][0] not in EVENT_TYPES.known:
        await check_words(request, (UnknownWords("type", EVENT_TYPES, filters["type"]),), {}, None)
    rows = await queue.dead_letters(PageRequest(MAX_RETRIED, "id", descending=False, filters=filters))
    retried = await queue.retry([row["id"] for row in rows[:MAX_RETRIED]])
    document: RetriedDeadLetters = {"retried": len(retried), "has_more": len(rows) > MAX_RETRIED}
    return await respond_with(request, document)


@route(
    "POST",
    "/dead-letters/{id}/discard",
    returns=DeadLetterDetail,
    scope="admin",
    body=DiscardRequest,
    problems=("conflict",),
)
async def discard_dead_letter(request: web.Request) -> web.StreamResponse:
    """Discard a dead letter.

    The dead letter is kept, with the person and the reason.
    """
    number, body = item_id(request), json_body(request, DiscardRequest)
    await request.app[QUEUE].discard(number, (body.discarded_by or "api").strip(), body.reason.strip())
    return await respond(request, lambda: request.app[DB].read(lambda tx: detail(tx, number)))


RunCause = Annotated[
    Literal["schedule", "start", "catch_up", "manual"],
    doc("What started it: the schedule, a start of the daemon, a missed run, or a person."),
]
RunOutcome = Literal["done", "failed", "cancelled", "timed_out", "interrupted"]


class CurrentJobRun(TypedDict):
    """The current run of a job."""

    id: str
    since: Stamp
    cause: RunCause


class LastJobRun(TypedDict):
    """The last completed run of a job."""

    started_at: Stamp | None
    ended_at: Stamp | None
    seconds: Annotated[float | None, doc("Null if the daemon stopped during the run.")]
    outcome: RunOutcome | None
    message: str | None


class JobRunRecord(TypedDict):
    """A run of a job; while it is running, end and outcome are null."""

    id: str
    cause: RunCause
    started_at: Stamp
    ended_at: Stamp | None
    seconds: float | None
    outcome: RunOutcome | None
    message: str | None


class JobStatus(TypedDict):
    """A scheduled job: its next run and its last result. Its id is its name."""

    id: str
    title: str
    schedule: Annotated[str, doc("As text: every 15 min, daily at 02:15 UTC.")]
    paused: bool
    running: CurrentJobRun | None
    next_run_at: Annotated[Stamp | None, doc("When it next runs; null while it is paused.")]
    last_run: LastJobRun | None
    last_success_at: Stamp | None
    runs: int
    failures: int
    consecutive_failures: int
    skipped: Annotated[int, doc("Number of runs skipped because the previous one was still running.")]


class JobDetail(JobStatus):
    """A job with its last runs, newest first."""

    recent_runs: list[JobRunRecord]


@route("GET", "/jobs", returns=json_response(list_schema(JobStatus), "All jobs."))
async def list_jobs(request: web.Request) -> web.StreamResponse:
    """List scheduled jobs."""
    jobs = request.app[JOBS]
    return await respond_with(request, {"data": jobs.list_jobs(), "next": None, "as_of": jobs.as_of()})


@route("GET", "/jobs/{id}", returns=JobDetail)
async def get_job(request: web.Request) -> web.StreamResponse:
    """Get a job with its last runs."""
    jobs, name = request.app[JOBS], request.match_info["id"]
    return await respond(request, lambda: jobs.detail(name))


@route(
    "POST",
    "/jobs/{id}/run",
    returns=json_response(JobStatus, "The run has started.", 202, location="URL of the job."),
    scope="admin",
    problems=("conflict",),
)
async def run_job(request: web.Request) -> web.StreamResponse:
    """Run a job now.

    Works for paused jobs too. The run is `running.id`, and is also listed in `recent_runs`.
    """
    document = await request.app[JOBS].run_now(request.match_info["id"])
    return json_document(document, 202, location=str(request.rel_url.parent))


@route("POST", "/jobs/{id}/pause", returns=JobStatus, scope="admin")
async def pause_job(request: web.Request) -> web.StreamResponse:
    """Pause a job.

    The current run will finish. The job remains paused across restarts.
    """
    return await _set_job_paused(request, paused=True)


@route("POST", "/jobs/{id}/resume", returns=JobStatus, scope="admin")
async def resume_job(request: web.Request) -> web.StreamResponse:
    """Resume a job."""
    return await _set_job_paused(request, paused=False)


async def _set_job_paused(request: web.Request, *, paused: bool) -> web.StreamResponse:
    return await respond(request, lambda: request.app[JOBS].set_paused(request.match_info["id"], paused=paused))
