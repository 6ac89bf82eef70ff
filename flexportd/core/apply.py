"""Applying events: what each carries becomes the newest state, with its history, in one transaction a batch.

bytes ─ flexport.events.content ─▶ parts ─ wire model ─▶ snapshot ─ snapshots.merge ─▶ workspace ─ flush ─▶ tables
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from flexportd.clock import Clock
from flexportd.core.domain import Domain
from flexportd.core.registry import Registry
from flexportd.core.snapshots import Snapshot, merge
from flexportd.core.values import instant
from flexportd.core.workspace import Cause, Workspace
from flexportd.errors import MalformedError
from flexportd.flexport.events import Part, content, heads
from flexportd.flexport.milestones import milestone, title
from flexportd.flexport.wire import Reference, WireModel
from flexportd.outcome import Applied, Coalesced, Dead, Ignored, Outcome, Retry
from flexportd.storage.events import Kept, Verdict
from flexportd.storage.items import Item
from flexportd.storage.resources import Record
from flexportd.storage.session import Session

log = structlog.get_logger(__name__)

# The stamp of a state that came without any time of Flexport's: it never replaces another.
_NO_TIME = "0001-01-01T00:00:00.000Z"


class _PoisonedError(Exception):
    """An event failed in a way that nobody foresaw."""

    def __init__(self, seq: int, retry: Retry) -> None:
        self.seq = seq
        self.retry = retry
        super().__init__(retry.error)


@dataclass(frozen=True, slots=True)
class _Read:
    """One object of an event, read and ready to be merged."""

    domain: Domain
    model: WireModel
    part: Part
    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class _Event:
    """An event that was read; `notes` are sentences on what in it was not understood."""

    kept: Kept
    created_at: str | None
    occurred_at: str | None
    resource: str | None
    reads: list[_Read]
    notes: list[str]


class EventApplier:
    """The queue's handler of the kind `event`."""

    def __init__(self, registry: Registry, clock: Clock, pressed: Callable[[], bool]) -> None:
        self._registry = registry
        self._clock = clock
        self._pressed = pressed
        self.touched: dict[str, set[int]] = {}  # what the last batch wrote: domain name -> ids
        self.shipments: set[int] = set()  # the shipments whose events it ended

    def __call__(self, tx: Session, items: Sequence[Item]) -> list[tuple[Item, Outcome]]:
        """Apply these events in order; stops early, with what is done, while acknowledgements wait.

        The effects are written to the transaction; nothing of an event that fails stays.
        """
        kept = tx.events.to_apply([item.ref for item in items if item.ref is not None])
        failed: dict[int, Retry] = {}
        while True:
            try:
                return self._batch(tx, items, kept, failed)
            except _PoisonedError as poison:
                # What it did so far is in the workspace only: begin again without it.
                failed[poison.seq] = poison.retry

    def _batch(
        self, tx: Session, items: Sequence[Item], kept: dict[int, Kept], failed: dict[int, Retry]
    ) -> list[tuple[Item, Outcome]]:
        workspace, at = Workspace(tx), self._clock.stamp()
        understood = self._understand(items, kept, failed)
        self._prefetch(workspace, understood)
        done: list[tuple[Item, Outcome]] = []
        verdicts: list[tuple[int, Verdict]] = []
        for item, found in understood:
            if done and self._pressed():
                break
            if isinstance(found, _Event):
                outcome, verdict = self._try(workspace, found, at)
                verdicts.append((found.kept.seq, verdict))
                done.append((item, outcome))
            else:
                done.append((item, found))
        workspace.flush()
        tx.events.settle(at, verdicts)
        _count(tx, kept, done)
        self.touched = workspace.touched()
        self.shipments = {verdict.shipment_id for _, verdict in verdicts if verdict.shipment_id is not None}
        return done

    def _understand(
        self, items: Sequence[Item], kept: dict[int, Kept], failed: dict[int, Retry]
    ) -> list[tuple[Item, "_Event | Outcome"]]:
        """Read the bytes of each event; what cannot be read has its outcome already."""
        found: list[tuple[Item, _Event | Outcome]] = []
        for item in items:
            if found and self._pressed():
                break
            event = kept.get(item.ref or 0)
            if event is None:
                found.append((item, Ignored("the event is no longer kept")))
            elif event.seq in failed:
                found.append((item, failed[event.seq]))
            else:
                found.append((item, self._read_or_die(event)))
        return found

    def _read_or_die(self, event: Kept) -> "_Event | Outcome":
        try:
            if event.type is None:
                heads(event.body)  # dead on arrival, and tried again: for the same reason, unless we know better now
            return self._read(event)
        except MalformedError as error:
            return Dead(str(error))

    def _prefetch(self, workspace: Workspace, understood: list[tuple[Item, "_Event | Outcome"]]) -> None:
        wanted: dict[str, list[int]] = {}
        for _, found in understood:
            if isinstance(found, _Event):
                for read in found.reads:
                    wanted.setdefault(read.domain.name, []).append(read.snapshot.id)
        for name, ids in wanted.items():
            workspace.prefetch(self._registry[name], ids)

    def _try(self, workspace: Workspace, event: "_Event", at: str) -> tuple[Outcome, Verdict]:
        try:
            return self._apply(workspace, event, at)
        except Exception as error:
            log.exception("event_failed", event_id=event.kept.id, event_type=event.kept.type)
            raise _PoisonedError(event.kept.seq, Retry(f"{type(error).__name__}: {error}")) from error

    def buried(self, tx: Session, item: Item, error: str, at: str) -> None:
        """The event of this item is a dead letter now."""
        if item.ref is not None:
            tx.events.end(at, item.ref, "dead", error)
            tx.events.count({(tx.events.type_of(item.ref) or "", "dead"): 1})

    def _apply(self, workspace: Workspace, event: "_Event", at: str) -> tuple[Outcome, Verdict]:
        reads, notes, kept = event.reads, event.notes, event.kept
        shipment_id = _shipment_of(reads)
        news = self._merge(workspace, reads, shipment_id, Cause(at, kept.source, kept.id))
        outcome = _outcome(reads, notes, news=news)
        verdict = Verdict(
            state=_STATES[type(outcome)],
            reason=getattr(outcome, "reason", None) or "; ".join(notes) or None,
            created_at=event.created_at,
            occurred_at=event.occurred_at,
            resource=event.resource,
            resource_id=next((str(read.snapshot.id) for read in reads if read.part.is_resource), None),
            shipment_id=shipment_id,
        )
        return outcome, verdict

    def _read(self, kept: Kept) -> "_Event":
        """What an event tells: the objects that are understood, and a sentence for each thing that is not."""
        whole = content(kept.body)
        created_at, occurred_at = instant(whole.created_at), instant(whole.occurred_at)
        as_of = created_at or occurred_at or _NO_TIME
        reads: dict[tuple[str, int], _Read] = {}
        notes: list[str] = []
        for part in whole.parts:
            domain = self._registry.of_object(part.object_name)
            if domain is None:
                if part.is_resource:
                    notes.append(f"nothing here keeps {part.object_name or 'an object without a name'}")
                continue
            try:
                model, problems = domain.wire.load(part.text)
            except MalformedError as error:
                if part.is_resource:
                    raise MalformedError(f"data.resource ({part.object_name}): {error}") from error
                notes.append(f"an embedded {part.object_name} was left out: {error}")
                continue
            notes += problems
            number: int = model.id  # type: ignore[attr-defined]  # every registered wire model has one
            snapshot = Snapshot(number, part.text, domain.stamp(model) or as_of, kept.seq)
            # An event may carry the shipment twice; what it is about comes first and counts.
            reads.setdefault((domain.name, number), _Read(domain, model, part, snapshot))
        # The shipment first: what belongs to it is then known to belong.
        ordered = sorted(reads.values(), key=lambda read: read.domain.object_name != "/shipment")
        resource = next((part.object_name for part in whole.parts if part.is_resource), None)
        return _Event(kept, created_at, occurred_at, resource, ordered, notes)

    def _merge(self, workspace: Workspace, reads: list[_Read], shipment_id: int | None, cause: Cause) -> bool:
        news = False
        routes: set[int] = set()
        for read in reads:
            current = workspace.get(read.domain, read.snapshot.id)
            merged = merge(current, read.snapshot)
            if merged is None:
                continue
            news = True
            model = read.model if merged.whole else read.domain.wire.load(merged.raw.encode())[0]
            fields = dict(read.domain.normalise(model))
            self._complete(workspace, read, fields, current, shipment_id)
            first_seen = current.first_seen_at if current else cause.at
            record = Record(
                read.snapshot.id, fields, merged.raw, merged.as_of, merged.seq, cause.source, cause.at, first_seen,
                older=merged.older,
            )  # fmt: skip
            if workspace.put(read.domain, record, cause) and fields.get("shipment_id") is not None:
                routes.add(fields["shipment_id"])
        for shipment in routes:
            workspace.refresh_route(shipment, cause)
        return news

    def _complete(
        self, workspace: Workspace, read: _Read, fields: dict[str, object], current: Record | None, owner: int | None
    ) -> None:
        """Add the fields that come from elsewhere: a shipment's route; the shipment of what does not name its own."""
        if read.domain.derived:
            route = current.fields if current else workspace.route(read.snapshot.id)
            fields.update({name: route[name] for name in read.domain.derived})
        elif fields.get("shipment_id") is None:
            fields["shipment_id"] = owner or (current.fields["shipment_id"] if current else None)


def event_title(event_type: str | None) -> str:
    """What to call an event of this type, for people."""
    return title(event_type) if event_type else "Not an event"


def is_known_type(event_type: str | None) -> bool:
    """Whether the catalogue of milestones has this type."""
    return milestone(event_type) is not None


_STATES = {Applied: "applied", Coalesced: "coalesced", Ignored: "ignored"}


def _outcome(reads: list[_Read], notes: list[str], *, news: bool) -> Outcome:
    if not reads:
        return Ignored("; ".join(notes) or "it carries nothing")
    return Applied() if news else Coalesced("a newer state was there before it")


def _shipment_of(reads: list[_Read]) -> int | None:
    for read in reads:
        if read.domain.object_name == "/shipment":
            return read.snapshot.id
    for read in reads:
        link = getattr(read.model, "shipment", None)
        if isinstance(link, Reference) and isinstance(link.id, int):
            return link.id
    return None


def _count(tx: Session, kept: dict[int, Kept], done: list[tuple[Item, Outcome]]) -> None:
    """Tally what ended; what died is tallied where it is buried."""
    ended = Counter(
        (kept[item.ref].type or "", _STATES[type(outcome)])
        for item, outcome in done
        if item.ref in kept and type(outcome) in _STATES
    )
    tx.events.count(dict(ended))
