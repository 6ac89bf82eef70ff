"""Sync runs: the receipt of each list with its balance, and the progress of a run. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

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
_COUNTS = ("unchanged", "changed", "new", "skipped", "failed")


@dataclass(frozen=True, slots=True)
class ReceiptCount:
    """One number of a receipt."""

    title: str
    count: str
    is_zero: bool


@dataclass(frozen=True, slots=True)
class Balance:
    """Whether the numbers of a receipt add up to Flexport's total."""

    words: str
    tone: str


@dataclass(frozen=True, slots=True)
class ReceiptRow:
    """The receipt of one list in one run; `state` is None once it is complete.

    `total` is the number of objects that Flexport reports, if any.
    """

    name: str
    state: Badge | None
    total: str | None
    counts: tuple[ReceiptCount, ...]
    balance: Balance | None
    removed: str | None
    notes: tuple[Text, ...]


@dataclass(frozen=True, slots=True)
class RunReceipts:
    """One run with its receipts and their totals."""

    run: "RunRow"
    rows: tuple[ReceiptRow, ...]
    totals: ReceiptRow | None


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run."""

    id: int
    kind: str
    state: Badge
    started: RelativeTime | None
    duration: str | None
    cause: str
    reason: Text | None


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a run in pages; `expected` is at least `done`."""

    words: str
    done: int
    expected: int
    since: RelativeTime | None


def run_receipts(
    run: Run, receipts: Iterable[Receipt], resources: Mapping[str, ResourceType], view: ViewContext
) -> RunReceipts:
    """A run with its receipts, in the order of the registry; the reason only of a run that needs attention."""
    order = {name: place for place, name in enumerate(resources)}
    ordered = sorted(receipts, key=lambda receipt: order.get(receipt.resource, len(order)))
    rows = tuple(_row(receipt, resources.get(receipt.resource)) for receipt in ordered)
    reason = text(run.reason, 300) if run.state in ("failed", "held") else None
    totals = _total_row(ordered, rows) if len(ordered) > 1 else None
    return RunReceipts(replace(_run(run, view), reason=reason), rows, totals)


def run_rows(runs: Iterable[Mapping[str, object]], view: ViewContext) -> tuple[RunRow, ...]:
    """The last runs, newest first."""
    return tuple(_run(Run(**row), view) for row in runs)  # type: ignore[arg-type]  # a row has the columns of a run


def progress(receipts: Sequence[Receipt], lists: Mapping[str, ListState], started: RelativeTime | None) -> Progress:
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
    return Progress(words, done, max(expected, done, 1), started)


def _pages(receipt: Receipt, state: ListState | None) -> int | None:
    if receipt.state not in ("waiting", "running"):
        return receipt.next_page - 1
    if receipt.state == "running" and receipt.total is not None:
        return max(1, -(-receipt.total // PAGE_SIZE))
    return state.requests if state else None


def _run(run: Run, view: ViewContext) -> RunRow:
    return RunRow(
        id=run.id,
        kind=_KINDS.get(run.kind, run.kind),
        state=STATES[run.state],
        started=view.ago(run.started_at),
        duration=_duration(run.started_at, run.ended_at, view),
        cause=_CAUSES.get(run.cause, run.cause),
        reason=text(run.reason, 160),
    )


def _duration(start: str, end: str | None, view: ViewContext) -> str | None:
    seconds = view.between(start, end)
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
        counts=_counts([receipt]),
        balance=_balance(receipt, is_balanced=document["balanced"]),
        removed=f"{receipt.removed:,} removed" if receipt.removed else None,
        notes=tuple(shown for note in notes if (shown := text(note, 200))),
    )


def _counts(receipts: Sequence[Receipt]) -> tuple[ReceiptCount, ...]:
    numbers = [(name, sum(getattr(receipt, name) for receipt in receipts)) for name in _COUNTS]
    return tuple(ReceiptCount(name.capitalize(), f"{number:,}", not number) for name, number in numbers)


def _balance(receipt: Receipt, *, is_balanced: bool | None) -> Balance | None:
    if receipt.state in ("waiting", "running", "unavailable") or (receipt.total is None and not receipt.objects):
        return None
    if is_balanced is None or receipt.total is None:
        return Balance("No total given", "plain")
    if not is_balanced:
        return Balance(f"Off by {abs(receipt.total - receipt.objects):,}", "bad")
    twice = receipt.objects - receipt.total
    return Balance("OK" if not twice else f"OK, {twice:,} listed twice", "good")


def _total_row(receipts: Sequence[Receipt], rows: Sequence[ReceiptRow]) -> ReceiptRow:
    totals = [receipt.total for receipt in receipts if receipt.total is not None]
    removed = sum(receipt.removed for receipt in receipts)
    tones = [row.balance.tone for row in rows if row.balance is not None]
    wrong = tones.count("bad")
    balance = Balance(f"{wrong} not balanced", "bad") if wrong else Balance("OK", "good") if "good" in tones else None
    return ReceiptRow(
        name="All lists",
        state=None,
        total=f"{sum(totals):,}" if totals else None,
        counts=_counts(receipts),
        balance=balance,
        removed=f"{removed:,} removed" if removed else None,
        notes=(),
    )
