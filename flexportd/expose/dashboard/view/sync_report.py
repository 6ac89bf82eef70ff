"""The sync in words: receipts with their balance, progress, the Flexport client and its calls, the next run. Pure."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, NamedTuple

from flexportd.clock import parse
from flexportd.core.labels import format_duration
from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.sync_forecast import PAGE_SIZE
from flexportd.escape import escape_control
from flexportd.expose.api.sync import receipt_document
from flexportd.expose.dashboard.view.alerts import StoredStatus
from flexportd.expose.dashboard.view.dates import Tone, ViewContext, count
from flexportd.expose.dashboard.view.labels import (
    LABELS,
    Badge,
    Text,
    join_words,
    missing_objects_text,
    resource_words,
    sentence,
    size,
    text,
)
from flexportd.storage.repositories.sync import ListState, Receipt, Run

_SAME_TIME = timedelta(hours=2)  # lists synced within this time count as synced together

_TONES: Mapping[str, Tone] = {
    "arriving": "good", "idle": "good", "broken": "bad", "never_received": "bad",
    "unusually_quiet": "warn", "polling_failed": "warn",
}  # fmt: skip


class Sentence(NamedTuple):
    """One sentence about the state, with a link to the details."""

    text: str
    tone: Tone
    url: str | None = None
    link: str | None = None


class LastRun(NamedTuple):
    """The last run by resource. `unread` lists are still to be read for the first time; None: nothing is read."""

    receipts: Mapping[str, Receipt]
    syncing: Collection[str]
    unread: Collection[str] | None
    unreadable: Mapping[str, int]


def list_rows(
    resources: Iterable[ResourceType], stored: StoredStatus, last: LastRun, view: ViewContext
) -> tuple[SimpleNamespace, ...]:
    """The state of every list, in the order of the registry; `changes` is the last incremental sync."""
    return tuple(_row(resource.name, resource.route, stored, last, view) for resource in resources)


def _row(name: str, route: str, stored: StoredStatus, last: LastRun, view: ViewContext) -> SimpleNamespace:
    state, receipt = stored.lists.get(name) or ListState(name), last.receipts.get(name)
    pending, unreadable = stored.pending_removals.get(name, (0, ""))[0], last.unreadable.get(name, 0)
    badge = _badge(state, pending, last)
    reason = None
    if state.unavailable_at:
        reason = state.unavailable_reason
    elif receipt and badge.tone == "bad":
        reason = receipt.reason
    if reason is None and state.filter_refused_at:
        reason = "Flexport ignores the filter on update time; changes are found only by the full sync"
    return SimpleNamespace(
        name=resource_words(name),
        route=route,
        state=badge,
        objects=None if state.total is None else f"{state.total:,}",
        complete=view.ago(state.complete_at),
        changes=view.ago(state.incremental_since),
        pending=f"{pending:,}" if pending else None,
        unreadable=f"{unreadable:,}" if unreadable else None,
        note=text(reason, 200),
        is_included=badge.text != _NOT_INCLUDED,
        complete_at=state.complete_at,
        is_available=state.unavailable_at is None,
    )


_NOT_INCLUDED = "Not included"


def _badge(state: ListState, pending: int, last: LastRun) -> Badge:
    name, receipt = state.resource, last.receipts.get(state.resource)
    if name in last.syncing:
        return Badge("Syncing", "transit")
    if state.unavailable_at:
        return Badge("Unavailable", "other")
    if pending:
        return Badge("Review needed", "arriving")
    if receipt is not None and receipt.state == "failed":
        return Badge("Failed", "bad")
    if state.complete_at:
        return Badge("Complete", "delivered")
    is_included = last.unread is None or name in last.unread
    return Badge("Not synced yet" if is_included else _NOT_INCLUDED, "plain")


def review_rows(
    pending: Mapping[str, tuple[int, str]], resources: Mapping[str, ResourceType], view: ViewContext
) -> tuple[SimpleNamespace, ...]:
    """The lists with so many missing objects that a person has to confirm their removal."""
    return tuple(
        SimpleNamespace(
            name=resource_words(name),
            route=resources[name].route,
            objects=count(number, "object"),
            since=view.ago(since),
            command=f"flexportd sync accept {resources[name].route}",
        )
        for name, (number, since) in sorted(pending.items())
        if name in resources
    )


def sentences(
    stored: StoredStatus,
    lists: Sequence[SimpleNamespace],
    review: Sequence[SimpleNamespace],
    view: ViewContext,
    *,
    is_running: bool,
) -> tuple[Sentence, ...]:
    """The state of webhooks, lists and pending removals."""
    result = [delivery_sentence(stored), completeness(lists, view, is_running=is_running)]
    unavailable = [row.name for row in lists if not row.is_available]
    if unavailable:
        result.append(Sentence(f"This Flexport account has no access to {join_words(unavailable)}.", "plain"))
    if review:
        result.append(Sentence(missing_objects_text(stored.pending_removals), "warn", "#held", "Review"))
    else:
        result.append(Sentence("Nothing to review.", "good"))
    return tuple(result)


def delivery_sentence(stored: StoredStatus) -> Sentence:
    """Whether webhooks arrive."""
    tone = _TONES.get(stored.health.verdict, "plain")
    if stored.health.needs_attention and tone != "bad":
        tone = "warn"
    return Sentence(sentence(stored.health.sentence), tone, "/gaps", "Gaps")


def completeness(lists: Sequence[SimpleNamespace], view: ViewContext, *, is_running: bool = False) -> Sentence:
    """Whether all lists were synced, and when."""
    included = [row for row in lists if row.is_available and row.is_included]
    synced = [row for row in included if row.complete_at]
    unread = [row.name for row in included if not row.complete_at]
    if not synced:
        words = "The first full sync is in progress." if is_running else "No full sync has completed yet."
        return Sentence(words, "warn")
    if unread:
        words = f"{len(synced)} of {count(len(included), 'list')} synced, the latest {_age(synced, view, max)}"
        return Sentence(f"{words}. Not synced yet: {join_words(unread)}.", "warn")
    failed = [row for row in synced if row.state.tone == "bad"]
    if failed:
        others = [row for row in synced if row.state.tone != "bad"]
        names = join_words([row.name for row in failed])
        words = f"The last sync failed for {names} (last synced {_age(failed, view, min)})."
        return Sentence(f"{words} All other lists synced {_age(others, view, min)}." if others else words, "warn")
    newest = max(parse(row.complete_at or "") for row in synced)
    recent = [row for row in synced if newest - parse(row.complete_at or "") <= _SAME_TIME]
    if len(recent) == len(synced):
        return Sentence(f"All lists synced {_age(synced, view, min)}.", "good")
    rest = len(synced) - len(recent)
    others_words = "the other" if rest == 1 else f"the other {rest:,} at most"
    words = f"{count(len(recent), 'list')} {_age(recent, view, min)}, {others_words} {_age(synced, view, min)}"
    return Sentence(f"All lists synced: {words}.", "good")


def _age(rows: Sequence[SimpleNamespace], view: ViewContext, choose: Callable[[Iterable[str]], str]) -> str:
    age = view.ago(choose(row.complete_at for row in rows if row.complete_at))
    return age.words if age else "never"


_KINDS = {"full": "Full sync", "incremental": "Incremental sync"}
_CAUSES = {"schedule": "scheduled", "manual": "started manually"}
_COUNTS = ("unchanged", "changed", "new", "skipped", "failed")


def run_receipts(
    run: Run, receipts: Iterable[Receipt], resources: Mapping[str, ResourceType], view: ViewContext
) -> SimpleNamespace:
    """A run with its receipts, in the order of the registry; the reason only of a run that needs attention."""
    order = {name: place for place, name in enumerate(resources)}
    ordered = sorted(receipts, key=lambda receipt: order.get(receipt.resource, len(order)))
    rows = tuple(_receipt(receipt, resources.get(receipt.resource)) for receipt in ordered)
    reason = text(run.reason, 300) if run.state in ("failed", "held") else None
    tones = [row.balance.tone for row in rows if row.balance is not None]
    wrong = tones.count("bad")
    balance = Badge(f"{wrong} not balanced", "bad") if wrong else Badge("OK", "good") if "good" in tones else None
    totals = _receipt_row("All lists", ordered, balance) if len(ordered) > 1 else None
    return SimpleNamespace(run=_run(run, reason, view), rows=rows, totals=totals)


def run_rows(runs: Iterable[Mapping[str, Any]], view: ViewContext) -> tuple[SimpleNamespace, ...]:
    """The last runs, newest first."""
    return tuple(_run(Run(**row), text(row["reason"], 160), view) for row in runs)


def _run(run: Run, reason: Text | None, view: ViewContext) -> SimpleNamespace:
    seconds = view.between(run.started_at, run.ended_at)
    duration = None if seconds is None else format_duration(seconds) if seconds >= 1 else "less than a second"
    return SimpleNamespace(
        id=run.id,
        kind=_KINDS.get(run.kind, run.kind),
        state=LABELS.sync_states[run.state],
        started=view.ago(run.started_at),
        duration=duration,
        cause=_CAUSES.get(run.cause, run.cause),
        reason=reason,
    )


def _receipt(receipt: Receipt, domain: ResourceType | None) -> SimpleNamespace:
    document, is_complete = receipt_document(receipt, domain), receipt.state == "complete"
    notes = [f"Skipped: {number:,} {why}" for why, number in list(document["skipped_by_reason"].items())[:6]]
    if receipt.reason and not is_complete:
        notes.append(receipt.reason)
    return _receipt_row(
        resource_words(receipt.resource),
        [receipt],
        _balance(receipt, is_balanced=document["balanced"]),
        None if is_complete else LABELS.sync_states[receipt.state],
        tuple(shown for note in notes if (shown := text(note, 200))),
    )


def _receipt_row(
    name: str,
    receipts: Sequence[Receipt],
    balance: Badge | None,
    state: Badge | None = None,
    notes: tuple[Text, ...] = (),
) -> SimpleNamespace:
    """`total` is the number of objects that Flexport reports, if any."""
    totals = [receipt.total for receipt in receipts if receipt.total is not None]
    removed = sum(receipt.removed for receipt in receipts)
    numbers = [(name, sum(getattr(receipt, name) for receipt in receipts)) for name in _COUNTS]
    return SimpleNamespace(
        name=name,
        state=state,
        total=f"{sum(totals):,}" if totals else None,
        counts=[SimpleNamespace(title=name.capitalize(), count=f"{n:,}", is_zero=not n) for name, n in numbers],
        balance=balance,
        removed=f"{removed:,} removed" if removed else None,
        notes=notes,
    )


def _balance(receipt: Receipt, *, is_balanced: bool | None) -> Badge | None:
    if receipt.state in ("waiting", "running", "unavailable") or (receipt.total is None and not receipt.objects):
        return None
    if is_balanced is None or receipt.total is None:
        return Badge("No total given", "plain")
    if not is_balanced:
        return Badge(f"Off by {abs(receipt.total - receipt.objects):,}", "bad")
    twice = receipt.objects - receipt.total
    return Badge("OK" if not twice else f"OK, {twice:,} listed twice", "good")


def progress(
    run: Run, receipts: Sequence[Receipt], lists: Mapping[str, ListState], view: ViewContext
) -> SimpleNamespace:
    """Pages read and expected; a list that was never read makes the expected number a lower bound."""
    done, expected, unknown = 0, 0, 0
    for receipt in receipts:
        read = receipt.next_page - 1
        pages = _pages(receipt, lists.get(receipt.resource))
        done, expected = done + read, expected + max(read, pages or 0)
        unknown += pages is None
    most = f"at least {expected:,}" if unknown else f"{expected:,}"
    ended = sum(receipt.state not in ("waiting", "running") for receipt in receipts)
    words = f"{done:,} of {most} pages, {ended} of {count(len(receipts), 'list')} done"
    return SimpleNamespace(words=words, done=done, expected=max(expected, done, 1), since=view.ago(run.started_at))


def _pages(receipt: Receipt, state: ListState | None) -> int | None:
    if receipt.state not in ("waiting", "running"):
        return receipt.next_page - 1
    if receipt.state == "running" and receipt.total is not None:
        return max(1, -(-receipt.total // PAGE_SIZE))
    return state.requests if state else None


class Fact(NamedTuple):
    """One property of the connection to Flexport."""

    title: str
    badge: Badge | None
    words: str


def facts(state: Mapping[str, Any], view: ViewContext) -> tuple[Fact, ...]:
    """The connection to Flexport; `state` is that of the client."""
    rows = [_reachability(state, view), _sign_in(state["auth"], view)]
    auth, limit, offset = state["auth"], state["rate_limit"], state["clock"]["offset_seconds"]
    if auth["kind"] == "oauth":
        tokens = f"{auth['token_requests']} of {auth['token_requests_limit']} in the last 24 hours"
        rows.append(Fact("Token requests", None, tokens))
    rate = f"{limit['current']:g} requests per second"
    if limit["current"] < limit["configured"]:
        rows.append(Fact("Rate", Badge("Reduced", "arriving"), f"{rate} now, {limit['configured']:g} configured"))
    else:
        rows.append(Fact("Rate", None, rate))
    waiting = sum(limit["waiting"].values())
    rows.append(Fact("Requests", None, f"{limit['in_flight']} in progress, {waiting} waiting"))
    if state["proxy"] is not None:
        rows.append(Fact("Proxy", None, state["proxy"]))
    if offset is not None:
        difference = f"{format_duration(abs(offset))} {'ahead' if offset > 0 else 'behind'}"
        rows.append(Fact("Flexport's clock", None, "In sync" if abs(offset) < 1 else difference))
    return tuple(rows)


def _reachability(state: Mapping[str, Any], view: ViewContext) -> Fact:
    breaker = state["breaker"]
    if breaker["state"] == "closed":
        if not any(sums["calls"] for sums in state["calls"].values()):
            return Fact("Flexport", Badge("No requests yet", "plain"), "")
        return Fact("Flexport", Badge("Reachable", "delivered"), "")
    again = view.until(breaker["retry_at"])
    since, why = view.clock_time(breaker["since"]), escape_control(breaker["reason"] or "no reason given", 300)
    words = f"No requests since {since}: {why}" if since else f"No requests: {why}"
    if breaker["state"] == "half_open":
        return Fact("Flexport", Badge("Retrying", "arriving"), sentence(words))
    return Fact("Flexport", Badge("Down", "bad"), sentence(f"{words}; next attempt {again.words if again else 'soon'}"))


def _sign_in(auth: Mapping[str, Any], view: ViewContext) -> Fact:
    kinds = {"api_key": "API key", "oauth": "Client credentials"}
    kind = kinds.get(auth["kind"]) or escape_control(str(auth["kind"]), 40)
    if auth["authorised"] is False:
        return Fact("Sign-in", Badge("Refused", "bad"), sentence(f"{kind}: {auth['reason'] or 'no reason given'}"))
    if auth["reason"]:
        return Fact("Sign-in", Badge("Failing", "arriving"), sentence(f"{kind}: {auth['reason']}"))
    until = view.clock_time(auth["expires_at"])
    words = kind if until is None else f"{kind}, token valid until {until}"
    return Fact("Sign-in", Badge("Accepted", "delivered") if auth["authorised"] else None, words)


def usage_rows(sums: Mapping[str, Mapping[str, Any]]) -> tuple[tuple[SimpleNamespace, ...], SimpleNamespace | None]:
    """The API calls of 24 hours by purpose, and their total; ((), None) without calls."""
    titles = LABELS.call_purposes
    known = [name for name in titles if name in sums] + sorted(name for name in sums if name not in titles)
    if not known:
        return (), None
    names = ("calls", "errors", "retries", "bytes", "seconds")
    total = {name: sum(sums[purpose][name] for purpose in known) for name in names}
    rows = tuple(_usage_row(titles.get(name) or escape_control(name, 40), sums[name]) for name in known)
    return rows, _usage_row("Total", total)


def _usage_row(title: str, sums: Mapping[str, Any]) -> SimpleNamespace:
    return SimpleNamespace(
        title=title,
        calls=f"{sums['calls']:,}",
        errors=f"{sums['errors']:,}",
        has_errors=bool(sums["errors"]),
        retries=f"{sums['retries']:,}",
        data=size(sums["bytes"]),
        average=f"{1000 * sums['seconds'] / sums['calls']:,.0f} ms" if sums["calls"] else "",
    )


def next_sync(
    forecast: Mapping[str, Any] | None, job: Mapping[str, Any] | None, view: ViewContext
) -> SimpleNamespace | None:
    """The client's forecast of the next full sync; None without one."""
    if forecast is None:
        return None
    unread, job = len(forecast["never_synced"]), job or {}
    if forecast["requests"] or not unread:
        words = f"about {count(forecast['requests'], 'request')}, {format_duration(max(1.0, forecast['seconds']))}"
        if unread:
            words += f", plus {count(unread, 'list')} not synced yet"
    else:
        words = "duration not known until the first one has completed"
    if job.get("paused"):
        return SimpleNamespace(at=None, words=f"Paused ({words})")
    return SimpleNamespace(at=view.until(job.get("next_run_at")), words=words)
