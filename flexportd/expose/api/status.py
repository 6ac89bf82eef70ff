"""How the daemon is: liveness, readiness with reasons, and the status document."""

from typing import Any

from aiohttp import web

from flexportd import __version__
from flexportd.answers import Answer, EncodedResponse
from flexportd.clock import age
from flexportd.core import shipments
from flexportd.core.apply import is_known_type
from flexportd.core.gaps import Health, health
from flexportd.expose import parameters
from flexportd.expose.api.gaps import health_document
from flexportd.expose.parts import PARTS, Parts
from flexportd.expose.problems import problem
from flexportd.expose.responding import respond
from flexportd.storage.session import Session

_ALIVE = Answer(200, b'{"status":"alive"}', cache_control="no-store")
_READY = Answer(200, b'{"status":"ready"}', cache_control="no-store")


async def healthz(_request: web.Request) -> web.StreamResponse:
    """`GET /healthz`: the process answers."""
    return EncodedResponse(_ALIVE)


async def readyz(request: web.Request) -> web.StreamResponse:
    """`GET /readyz`: webhooks can be kept and are applied; else 503 with the reasons."""
    reasons = reasons_against(request.app[PARTS])
    if not reasons:
        return EncodedResponse(_READY)
    return EncodedResponse(problem(503, "not-ready", "; ".join(reasons), cache_control="no-store", retry_after="5"))


def reasons_against(parts: Parts) -> list[str]:
    """Why the daemon is not ready, one sentence each; none when it is."""
    found = []
    fault = parts.db.writer.fault
    if fault:
        found.append(f"the database cannot be written: {fault.reason}")
    if parts.db.hung:
        found.append("the disk does not answer: acknowledgements wait too long")
    found += [f"{kind} items cannot be worked off: {why}" for kind, why in parts.queue.tallies.trouble.items()]
    found += [f"the background task {name} has died: {why}" for name, why in parts.task_deaths().items()]
    waiting = parts.queue.waiting("event")
    if waiting >= parts.shown.max_pending:
        found.append(f"{waiting} events wait to be applied, no more are taken")
    return found


def warnings(parts: Parts) -> list[str]:
    """What works, but not as somebody would want it."""
    found, results = [], parts.webhook_results()
    if not parts.shown.has_secrets:
        found.append("no webhook secret is configured: every delivery is refused; see [webhook] secrets")
    if results.get("sha1-only"):
        found.append(
            f"{results['sha1-only']} deliveries were refused because they carried only a SHA-1 signature: "
            "your account may send no other, see [webhook] allow_sha1"
        )
    if results.get("signature"):
        found.append(f"{results['signature']} deliveries were refused because their signature did not match the secret")
    return found + parts.jobs.problems()


def _mirror_warnings(parts: Parts, held: dict[str, tuple[int, str]], hearing: Health) -> list[str]:
    """What of the mirror needs a person."""
    if parts.upstream is None:
        return ["no key for Flexport's API is configured: only webhooks are heard; see [flexport] api_key"]
    found = [
        f"{count} {name.replace('_', ' ')} vanished from Flexport's list and wait for: flexportd sync accept "
        f"{name.replace('_', '-')}"
        for name, (count, _) in held.items()
    ]
    state = parts.upstream.state()
    if state["breaker"]["state"] != "closed":
        found.append(f"Flexport is left alone since {state['breaker']['since']}: {state['breaker']['reason']}")
    if state["auth"].get("reason"):
        found.append(f"Flexport does not let us in: {state['auth']['reason']}")
    if hearing.worrying:
        found.append(hearing.sentence)
    return found


async def status(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/status`."""
    parameters.once(request.query, ())
    parts = request.app[PARTS]
    return await respond(request, lambda: document(parts))


async def document(parts: Parts) -> dict[str, Any]:
    """Everything an operator asks first."""
    now = parts.clock.now()

    def read(tx: Session) -> tuple[Any, ...]:
        return (
            tx.events.counts(),
            tx.events.newest(),
            tx.resources.counts(shipments.TABLE, "status"),
            tx.resources.counts(shipments.TABLE, "mode"),
            tx.resources.newest_as_of(shipments.TABLE),
            tx.sync.list_states(),
            tx.sync.held_counts(),
            health(tx, now),
        )

    counts, (_, created_at), by_status, by_mode, as_of, lists, held, hearing = await parts.db.read(read)
    reasons, upstream = reasons_against(parts), parts.upstream
    forecast = upstream.forecast(lists) if upstream else None
    return {
        "version": __version__,
        "started_at": parts.started_at,
        "uptime_seconds": round(age(parts.started_at, parts.clock.now()) or 0.0, 3),
        "ready": not reasons,
        "reasons": reasons,
        "warnings": [*warnings(parts), *_mirror_warnings(parts, held, hearing)],
        "queue": await parts.queue.stats(),
        "webhook": {
            "path": parts.shown.webhook_path,
            "has_secrets": parts.shown.has_secrets,
            "last_received_at": hearing.clocks.last_webhook_at,
            "last_created_at": created_at,
            "since_start": parts.webhook_results(),
        },
        "events": _events(counts),
        "shipments": {
            "total": sum(by_status.values()),
            "by_status": by_status,
            "by_mode": by_mode,
            "as_of": as_of,
        },
        "storage": {
            "wal_bytes": parts.db.writer.wal_bytes(),
            "fault": parts.db.writer.fault.reason if parts.db.writer.fault else None,
        },
        "flexport": upstream.state() if upstream else None,
        "sync": {
            "configured": upstream is not None,
            "complete_at": min((one.complete_at for one in lists.values() if one.complete_at), default=None),
            "forecast": forecast,
            "held": {name: count for name, (count, _) in held.items()},
            "unavailable": {name: one.unavailable_reason for name, one in lists.items() if one.unavailable_at},
        },
        "hearing": health_document(hearing),
        "cache": {"bytes": parts.cache.size, "hits": parts.cache.hits, "misses": parts.cache.misses},
    }


def _events(counts: list[tuple[str, str, int]]) -> dict[str, Any]:
    by_type: dict[str, dict[str, Any]] = {}
    by_state: dict[str, int] = dict.fromkeys(("applied", "coalesced", "ignored", "dead"), 0)
    for event_type, state, count in counts:
        entry = by_type.setdefault(event_type or "(none)", {"known": is_known_type(event_type)})
        entry[state] = count
        by_state[state] = by_state.get(state, 0) + count
    return {"ended": sum(by_state.values()), "by_state": by_state, "by_type": by_type}
