"""How complete and current each list is, in a table and in sentences. Pure."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace

from flexportd.clock import parse
from flexportd.core.resources.resource_type import ResourceType
from flexportd.expose.dashboard.view.alerts import StoredStatus
from flexportd.expose.dashboard.view.dates import Tone, ViewContext, count
from flexportd.expose.dashboard.view.labels import (
    Badge,
    join_words,
    missing_objects_text,
    resource_words,
    sentence,
    text,
)
from flexportd.storage.repositories.sync import ListState, Receipt

_SAME_TIME = timedelta(hours=2)  # lists synced within this time count as synced together

_TONES: Mapping[str, Tone] = {
    "arriving": "good", "idle": "good", "broken": "bad", "never_received": "bad",
    "unusually_quiet": "warn", "polling_failed": "warn",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence about the state, with a link to the details."""

    text: str
    tone: Tone
    url: str | None = None
    link: str | None = None


@dataclass(frozen=True, slots=True)
class LastRun:
    """The last run: receipts by resource, lists that are being read now, unreadable objects.

    `unread` are the lists that are still to be read for the first time; None where nothing is read at all.
    """

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


# --- sentences ---


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
        words = missing_objects_text({name: number for name, (number, _) in stored.pending_removals.items()})
        result.append(Sentence(words, "warn", "#held", "Review"))
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
    """The age of the newest (max) or oldest (min) complete sync of these lists."""
    age = view.ago(choose(row.complete_at for row in rows if row.complete_at))
    return age.words if age else "never"
