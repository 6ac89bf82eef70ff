"""Runs of the sync in words: the books of each list, whose sums close in sight, and how far a run is. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from flexportd.core.labels import format_duration
from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.sync_forecast import PAGE_SIZE
from flexportd.expose.api.sync import receipt_document
from flexportd.expose.dashboard.view.dates import RelativeTime, ViewContext, count
from flexportd.expose.dashboard.view.labels import Badge, Text, resource_words, text
from flexportd.storage.repositories.sync import ListState, Receipt, Run

STATES = {
    "complete": Badge("Complete", "delivered"),
    "running": Badge("In progress", "transit"),
    "waiting": Badge("Waiting", "plain"),
    "held": Badge("Review needed", "arriving"),
    "unavailable": Badge("Unavailable", "other"),
    "failed": Badge("Failed", "bad"),
}

_KINDS = {"full": "Full sync", "incremental": "Incremental sync"}
_CAUSES = {"schedule": "scheduled", "manual": "started manually"}
_PARTS = ("unchanged", "changed", "new", "skipped", "failed")


@dataclass(frozen=True, slots=True)
class ReceiptCount:
    """One summand of the books."""

    title: str
    count: str
    is_zero: bool


@dataclass(frozen=True, slots=True)
class Balance:
    """Whether a sum closes, in words."""

    words: str
    tone: str


@dataclass(frozen=True, slots=True)
class ReceiptRow:
    """The books of one list in one run; `state` is None once it is complete.

    `total` is what Flexport says there is, None where it does not say.
    """

    name: str
    state: Badge | None
    total: str | None
    parts: tuple[ReceiptCount, ...]
    books: Balance | None
    removed: str | None
    notes: tuple[Text, ...]


@dataclass(frozen=True, slots=True)
class RunReceipts:
    """One run with its receipts; `sums` are those of the whole run."""

    id: int
    began: RelativeTime | None
    lasted: str | None
    cause: str
    state: Badge
    reason: Text | None
    rows: tuple[ReceiptRow, ...]
    sums: ReceiptRow | None


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run in the list of runs."""

    id: int
    kind: str
    state: Badge
    began: RelativeTime | None
    lasted: str | None
    cause: str
    reason: Text | None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is, in pages; `expected` is at least `done`."""

    words: str
    done: int
    expected: int
    since: RelativeTime | None


def run_receipts(
    run: Run, receipts: Iterable[Receipt], domains: Mapping[str, ResourceType], sight: ViewContext
) -> RunReceipts:
    """A run with its books, in the order of the registry."""
    order = {name: place for place, name in enumerate(domains)}
    found = sorted(receipts, key=lambda one: order.get(one.resource, len(order)))
    rows = tuple(_row(one, domains.get(one.resource)) for one in found)
    return RunReceipts(
        id=run.id,
        began=sight.ago(run.started_at),
        lasted=_duration(run.started_at, run.ended_at, sight),
        cause=_CAUSES.get(run.cause, run.cause),
        state=STATES[run.state],
        reason=text(run.reason, 300) if run.state in ("failed", "held") else None,
        rows=rows,
        sums=_total_row(found, rows) if len(found) > 1 else None,
    )


def run_rows(runs: Iterable[Mapping[str, object]], sight: ViewContext) -> tuple[RunRow, ...]:
    """The last runs, newest first."""
    return tuple(_run(Run(**row), sight) for row in runs)  # type: ignore[arg-type]  # a row has the columns of a run


def progress(receipts: Sequence[Receipt], lists: Mapping[str, ListState], began: RelativeTime | None) -> Progress:
    """How many pages are behind us, of how many; lists that were never read make the number a lower bound."""
    done, expected, unknown = 0, 0, 0
    for one in receipts:
        behind = one.next_page - 1
        pages = _pages(one, lists.get(one.resource))
        done, expected = done + behind, expected + max(behind, pages or 0)
        unknown += pages is None
    most = f"at least {expected:,}" if unknown else f"{expected:,}"
    ended = sum(one.state not in ("waiting", "running") for one in receipts)
    words = f"{done:,} of {most} pages, {ended} of {count(len(receipts), 'list')} done"
    return Progress(words, done, max(expected, done, 1), began)


def _pages(receipt: Receipt, known: ListState | None) -> int | None:
    if receipt.state not in ("waiting", "running"):
        return receipt.next_page - 1
    if receipt.state == "running" and receipt.total is not None:
        return max(1, -(-receipt.total // PAGE_SIZE))
    return known.requests if known else None


def _run(run: Run, sight: ViewContext) -> RunRow:
    return RunRow(
        id=run.id,
        kind=_KINDS.get(run.kind, run.kind),
        state=STATES[run.state],
        began=sight.ago(run.started_at),
        lasted=_duration(run.started_at, run.ended_at, sight),
        cause=_CAUSES.get(run.cause, run.cause),
        reason=text(run.reason, 160),
    )


def _duration(start: str, end: str | None, sight: ViewContext) -> str | None:
    seconds = sight.between(start, end)
    return None if seconds is None else format_duration(seconds) if seconds >= 1 else "less than a second"


def _row(receipt: Receipt, domain: ResourceType | None) -> ReceiptRow:
    document = receipt_document(receipt, domain)
    notes = [f"Skipped: {number:,} {why}" for why, number in list(document["skipped_by_reason"].items())[:6]]
    if receipt.reason and receipt.state != "complete":
        notes.append(receipt.reason)
    return ReceiptRow(
        name=resource_words(receipt.resource),
        state=STATES[receipt.state] if receipt.state != "complete" else None,
        total=None if receipt.total is None else f"{receipt.total:,}",
        parts=_parts(receipt),
        books=_balance(receipt, closes=document["balanced"]),
        removed=f"{receipt.removed:,} removed" if receipt.removed else None,
        notes=tuple(shown for note in notes if (shown := text(note, 200))),
    )


def _parts(receipt: Receipt) -> tuple[ReceiptCount, ...]:
    numbers = ((name, getattr(receipt, name)) for name in _PARTS)
    return tuple(ReceiptCount(name.capitalize(), f"{number:,}", not number) for name, number in numbers)


def _balance(receipt: Receipt, *, closes: bool | None) -> Balance | None:
    if receipt.state in ("waiting", "running", "unavailable") or (receipt.total is None and not receipt.objects):
        return None
    if closes is None or receipt.total is None:
        return Balance("No total given", "plain")
    if not closes:
        return Balance(f"Off by {abs(receipt.total - receipt.objects):,}", "bad")
    twice = receipt.objects - receipt.total
    return Balance("OK" if not twice else f"OK, {twice:,} listed twice", "good")


def _total_row(receipts: Sequence[Receipt], rows: Sequence[ReceiptRow]) -> ReceiptRow:
    numbers = {name: sum(getattr(one, name) for one in receipts) for name in _PARTS}
    totals = [one.total for one in receipts if one.total is not None]
    removed, wrong = (
        sum(one.removed for one in receipts),
        sum(row.books is not None and row.books.tone == "bad" for row in rows),
    )
    closed = sum(row.books is not None and row.books.tone == "good" for row in rows)
    books = Balance(f"{wrong} not balanced", "bad") if wrong else Balance("OK", "good") if closed else None
    return ReceiptRow(
        name="All lists",
        state=None,
        total=f"{sum(totals):,}" if totals else None,
        parts=tuple(ReceiptCount(name.capitalize(), f"{number:,}", not number) for name, number in numbers.items()),
        books=books,
        removed=f"{removed:,} removed" if removed else None,
        notes=(),
    )
