"""What the mirror of each list is worth, in a table and in sentences. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from flexportd.clock import parse
from flexportd.core.resources.resource_type import ResourceType
from flexportd.expose.dashboard.view.alerts import StoredStatus, sentence
from flexportd.expose.dashboard.view.dates import RelativeTime, Tone, ViewContext, count
from flexportd.expose.dashboard.view.labels import Badge, Text, join_words, missing_objects_text, resource_words, text
from flexportd.storage.repositories.sync import ListState, Receipt

_SAME_TIME = timedelta(hours=2)  # lists compared within this were compared at one time, as people see it

_TONES: Mapping[str, Tone] = {
    "arriving": "good", "idle": "good", "broken": "bad", "never_received": "bad",
    "unusually_quiet": "warn", "polling_failed": "warn",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence that comes first; with the page or part of it that tells more."""

    text: str
    tone: Tone
    url: str | None = None
    link: str | None = None


@dataclass(frozen=True, slots=True)
class ListRow:
    """What one list is worth."""

    name: str
    route: str
    state: Badge
    objects: str | None
    complete: RelativeTime | None
    changes: RelativeTime | None
    held: str | None
    unreadable: str | None
    note: Text | None
    is_chosen: bool
    complete_at: str | None
    is_open: bool


@dataclass(frozen=True, slots=True)
class ReviewRow:
    """A list from which so much vanished that a person decides."""

    name: str
    route: str
    objects: str
    since: RelativeTime | None
    command: str


@dataclass(frozen=True, slots=True)
class LastRun:
    """What became of each list lately: its receipt in the last run, whether it is read now, what cannot be read.

    `unread` are the lists that are to be read and never were; None where nothing is read at all.
    """

    receipts: Mapping[str, Receipt]
    syncing: Collection[str]
    unread: Collection[str] | None
    unreadable: Mapping[str, int]


def list_rows(
    domains: Iterable[ResourceType], noted: StoredStatus, last: LastRun, sight: ViewContext
) -> tuple[ListRow, ...]:
    """Every list, in the order of the registry."""
    return tuple(_row(domain, noted, last, sight) for domain in domains)


def _row(domain: ResourceType, noted: StoredStatus, last: LastRun, sight: ViewContext) -> ListRow:
    known = noted.lists.get(domain.name) or ListState(domain.name)
    held, unreadable = noted.pending_removals.get(domain.name, (0, ""))[0], last.unreadable.get(domain.name, 0)
    receipt = last.receipts.get(domain.name)
    state = _state(domain, known, held, last)
    reason = (
        known.unavailable_reason
        if known.unavailable_at
        else receipt.reason
        if receipt and state.tone == "bad"
        else None
    )
    if reason is None and known.filter_refused_at:
        reason = "Flexport ignores the filter on update time; changes are found only by the full sync"
    return ListRow(
        name=resource_words(domain.name),
        route=domain.route,
        state=state,
        objects=None if known.total is None else f"{known.total:,}",
        complete=sight.ago(known.complete_at),
        changes=sight.ago(known.incremental_since),
        held=f"{held:,}" if held else None,
        unreadable=f"{unreadable:,}" if unreadable else None,
        note=text(reason, 200),
        is_chosen=state.text != _NOT_INCLUDED,
        complete_at=known.complete_at,
        is_open=known.unavailable_at is None,
    )


_NOT_INCLUDED = "Not included"


def _state(domain: ResourceType, known: ListState, held: int, last: LastRun) -> Badge:
    """What one word says of a list."""
    receipt = last.receipts.get(domain.name)
    if domain.name in last.syncing:
        return Badge("Syncing", "transit")
    if known.unavailable_at:
        return Badge("Unavailable", "other")
    if held:
        return Badge("Review needed", "arriving")
    if receipt is not None and receipt.state == "failed":
        return Badge("Failed", "bad")
    if known.complete_at:
        return Badge("Complete", "delivered")
    is_due = last.unread is not None and domain.name in last.unread
    return Badge("Not synced yet", "plain") if is_due or last.unread is None else Badge(_NOT_INCLUDED, "plain")


def review_rows(
    held: Mapping[str, tuple[int, str]], domains: Mapping[str, ResourceType], sight: ViewContext
) -> tuple[ReviewRow, ...]:
    """What waits for a person, list by list."""
    return tuple(
        ReviewRow(resource_words(name), domains[name].route, count(number, "object"), sight.ago(since),
             f"flexportd sync accept {domains[name].route}")
        for name, (number, since) in sorted(held.items()) if name in domains
    )  # fmt: skip


# --- sentences ---


def sentences(
    noted: StoredStatus, lists: Sequence[ListRow], held: Sequence[ReviewRow], sight: ViewContext, *, is_running: bool
) -> tuple[Sentence, ...]:
    """How events arrive, how complete the mirror is, what waits for a person."""
    found = [delivery_sentence(noted), completeness(lists, sight, is_running=is_running)]
    closed = [row.name for row in lists if not row.is_open]
    if closed:
        found.append(Sentence(f"This Flexport account has no access to {join_words(closed)}.", "plain"))
    if held:
        words = missing_objects_text({name: number for name, (number, _) in noted.pending_removals.items()})
        found.append(Sentence(words, "warn", "#held", "Review"))
    else:
        found.append(Sentence("Nothing to review.", "good"))
    return tuple(found)


def delivery_sentence(noted: StoredStatus) -> Sentence:
    """Whether webhooks bring what happens."""
    tone = _TONES.get(noted.health.verdict, "plain")
    if noted.health.needs_attention and tone != "bad":
        tone = "warn"
    return Sentence(sentence(noted.health.sentence), tone, "/gaps", "Gaps")


def completeness(lists: Sequence[ListRow], sight: ViewContext, *, is_running: bool = False) -> Sentence:
    """Whether everything was compared, and when."""
    wanted = [row for row in lists if row.is_open and row.is_chosen]
    read = [row for row in wanted if row.complete_at]
    unread = [row.name for row in wanted if not row.complete_at]
    if not read:
        return Sentence(
            "The first full sync is in progress." if is_running else "No full sync has completed yet.",
            "warn",
        )
    if unread:
        begin = f"{len(read)} of {count(len(wanted), 'list')} synced, the latest {_newest(read, sight)}"
        return Sentence(f"{begin}. Not synced yet: {join_words(unread)}.", "warn")
    failed = [row for row in read if row.state.tone == "bad"]
    if failed:
        names, rest = join_words([row.name for row in failed]), [row for row in read if row.state.tone != "bad"]
        words = f"The last sync failed for {names} (last synced {_oldest(failed, sight)})"
        return Sentence(f"{words}. All other lists synced {_oldest(rest, sight)}." if rest else f"{words}.", "warn")
    newest = max(parse(row.complete_at or "") for row in read)
    lately = [row for row in read if newest - parse(row.complete_at or "") <= _SAME_TIME]
    if len(lately) == len(read):
        return Sentence(f"All lists synced {_oldest(read, sight)}.", "good")
    others = len(read) - len(lately)
    remainder = "the other" if others == 1 else f"the other {others:,} at most"
    words = f"{count(len(lately), 'list')} {_oldest(lately, sight)}, {remainder} {_oldest(read, sight)}"
    return Sentence(f"All lists synced: {words}.", "good")


def _oldest(rows: Sequence[ListRow], sight: ViewContext) -> str:
    found = sight.ago(min((row.complete_at for row in rows if row.complete_at), default=None))
    return found.words if found else "never"


def _newest(rows: Sequence[ListRow], sight: ViewContext) -> str:
    found = sight.ago(max((row.complete_at for row in rows if row.complete_at), default=None))
    return found.words if found else "never"
