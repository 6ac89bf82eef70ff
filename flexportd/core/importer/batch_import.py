"""Writing what a comparison found: each changed object becomes the newest state, unless the stored one is newer."""

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from flexportd.core.events.applier import add_derived_fields
from flexportd.core.importer.compare import ChangedObject, Comparison, content_hash
from flexportd.core.importer.list_entries import DetailTracker, DetailVersion, combine
from flexportd.core.merge import TieBreaker, age_of, is_at_least_as_new, requested_at, tie_breaker
from flexportd.core.resources import shipments
from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.unit_of_work import ChangeCause, UnitOfWork
from flexportd.flexport.models import fast_models
from flexportd.flexport.models.events import Fields
from flexportd.storage.queries.table import Key
from flexportd.storage.repositories.resources import Record
from flexportd.storage.transaction import Transaction

OLDER = "older than a received event"
OLDER_RESPONSE = "older than the stored response"
EARLIER = "requested before the stored response"
BEFORE_REMOVAL = "requested before the object was found deleted"

_fields = msgspec.json.Decoder(Fields)


class ImportResult(msgspec.Struct):
    """What importing a response did so far: `applied` of the candidates of its comparison are written."""

    comparison: Comparison
    applied: int = 0
    changed: int = 0
    new: int = 0
    unchanged: int = 0
    skips: Counter[str] = msgspec.field(default_factory=Counter)
    went_back: list[str] = msgspec.field(default_factory=list)
    anomalies: list[tuple[str, str, str]] = msgspec.field(default_factory=list)
    written: dict[str, set[Key]] = msgspec.field(default_factory=dict)

    @classmethod
    def start(cls, comparison: Comparison) -> "ImportResult":
        """Before anything is written."""
        return cls(comparison, unchanged=len(comparison.unchanged), skips=Counter(comparison.skips))

    @property
    def is_complete(self) -> bool:
        """Whether all candidates are written."""
        return self.applied == len(self.comparison.candidates)

    @property
    def failed(self) -> int:
        """How many objects could not be parsed or written."""
        return len(self.comparison.failures)

    def __add__(self, other: "ImportResult") -> "ImportResult":
        sums = {name: getattr(self, name) + getattr(other, name) for name in _SUMMED}
        return ImportResult(self.comparison, written=merge_keys(self.written, other.written), **sums)


_SUMMED = ("applied", "changed", "new", "unchanged", "skips", "went_back", "anomalies")


def merge_keys(one: dict[str, set[Key]], other: dict[str, set[Key]]) -> dict[str, set[Key]]:
    """The keys of both by resource."""
    return {name: one.get(name, set()) | other.get(name, set()) for name in one | other}


def apply(
    tx: Transaction, comparison: Comparison, candidates: Sequence[ChangedObject], cause: ChangeCause
) -> ImportResult:
    """Write some candidates of a comparison within a transaction. Where the store has newer data, it stays."""
    if not candidates:
        return ImportResult(comparison)
    return _BatchImport(tx, comparison, cause).run(candidates)


class _BatchImport:
    def __init__(self, tx: Transaction, comparison: Comparison, cause: ChangeCause) -> None:
        self._tx = tx
        self._comparison = comparison
        self._domain = comparison.domain
        self._cause = cause
        self._work = UnitOfWork(tx)
        self._details: DetailTracker | None = None
        self._result = ImportResult(comparison)

    def run(self, candidates: Sequence[ChangedObject]) -> ImportResult:
        work, domain, ids = self._work, self._domain, [one.id for one in candidates]
        work.prefetch(domain, ids)
        work.prefetch_owners(domain, [one.values for one in candidates])
        if domain is shipments.RESOURCE_TYPE:
            new = [one for one in candidates if not work.get(domain, one.id)]
            work.prefetch_shipment_records(int(one.id) for one in new)
            work.prefetch_bookings((int(one.id), one.values["booking_id"]) for one in new)
        if domain.has_details:
            self._details = DetailTracker(self._tx, ids, self._cause.at)
        routes = {shipment for one in candidates if (shipment := self._apply_one(one)) is not None}
        work.prefetch(shipments.RESOURCE_TYPE, routes)
        work.prefetch_shipment_records(routes)
        _refresh_routes(work, routes, self._cause)
        work.flush(self._cause.at)
        if self._details is not None:
            self._details.save()
        self._tx.sync.clear_missing(domain.name, ids)
        result = self._result
        result.applied, result.written, result.anomalies = len(candidates), work.written(), work.anomalies
        return result

    def _apply_one(self, one: ChangedObject) -> int | None:
        """Returns the shipment whose route may have changed."""
        domain, result, given, as_of = self._domain, self._result, one, one.as_of
        current = self._work.get(domain, one.id)
        if current is not None:
            if current.digest == one.digest and current.removed_at is None:
                result.unchanged += 1  # another response brought it in the meantime
                self._track_details(given, current)
                return None
            accepted = self._accepted_as_of(current, one)
            if accepted is None:
                return None
            as_of = accepted
            if self._comparison.has_partial_entries:
                one = _complete_entry(domain, current, one)
        self._track_details(given, current, one)
        if current is not None and _is_unchanged(current, one):
            result.unchanged += 1  # a list entry that adds nothing to what is stored
            return None
        fields = dict(one.values)
        if one.faults and current is not None:
            fields.update(domain.retained_fields(current.fields, one.faults))
        add_derived_fields(self._work, (domain, one.id), fields, current, None)
        cause = self._cause
        record = Record(
            one.id, fields, one.raw, as_of, self._comparison.seq, cause.source, cause.at,
            current.first_seen_at if current else cause.at, digest=one.digest,
            tie_breaker=_tie_breaker(self._comparison, current, one, as_of),
        )  # fmt: skip
        moved = self._work.put(domain, record, cause)
        if current is None:
            result.new += 1
        elif moved or _differ(current, one):
            result.changed += 1
        else:
            result.unchanged += 1
        return fields.get("shipment_id") if moved else None

    def _accepted_as_of(self, current: Record, one: ChangedObject) -> str | None:
        """The `as_of` of a response that replaces the stored state; None when it does not."""
        comparison = self._comparison
        reason = _stale_reason(comparison, current, one)
        if reason is None:
            # It is also valid at the time of what it replaces, which may lie in the future.
            return max(one.as_of, min(current.as_of, comparison.date)) if one.as_of < current.as_of else one.as_of
        if _server_went_back(comparison, current, one):
            self._result.went_back.append(str(one.id))
            return comparison.as_of
        self._result.skips[reason] += 1
        return None

    def _track_details(self, given: ChangedObject, current: Record | None, after: ChangedObject | None = None) -> None:
        """Note whether an object's own response must be fetched; `after` is a list entry completed from the store."""
        if self._details is None:
            return
        seen = DetailVersion(given.as_of, given.digest, given.raw)
        if not self._comparison.is_list:
            self._details.record_response(given.id, seen, current)
            return
        is_news = current is None or (after is not None and after.raw != current.raw)
        left_out = after is not None and after.raw != given.raw
        self._details.record_entry(given.id, seen, current, left_out=left_out, is_news=is_news)


def _refresh_routes(work: UnitOfWork, routes: Iterable[int], cause: ChangeCause) -> None:
    for shipment in sorted(routes):
        work.refresh_route(shipment, cause)


def _is_unchanged(current: Record, one: ChangedObject) -> bool:
    return current.digest is not None and current.removed_at is None and one.raw == current.raw


def _complete_entry(domain: ResourceType, current: Record, one: ChangedObject) -> ChangedObject:
    try:
        raw = combine(current.raw, one.raw, is_newer=one.as_of != current.as_of)
    except ValueError:  # it begins with a byte order mark, for example: it is taken as it is
        return one
    if raw == one.raw:
        return one
    model, faults = fast_models.load_fast(domain.wire, raw.encode())
    values, digest = domain.normalise(model), content_hash(raw.encode())
    return msgspec.structs.replace(one, raw=raw, values=values, digest=digest, faults=faults)


def record_unchanged(tx: Transaction, comparison: Comparison, at: str) -> None:
    """Count own responses that equal what is stored as fetched; within a transaction."""
    domain, keys = comparison.domain, comparison.unchanged
    if comparison.is_list or not domain.has_details or not keys:
        return
    details = DetailTracker(tx, keys, at)
    for key, current in tx.resources.load(domain.table, keys).items():
        digest = current.digest or content_hash(current.raw.encode())
        details.record_response(key, DetailVersion(current.as_of, digest, current.raw), current)
    details.save()


def _stale_reason(comparison: Comparison, current: Record, one: ChangedObject) -> str | None:
    """Why the stored state is newer than a response; None where the response is at least as new.

    The object's own timestamps are compared where both have one. Otherwise the response counts whose request started
    last: an object's timestamp and the time of a request come from different clocks and cannot be compared.
    """
    if current.removed_at is not None:
        if _requested_later(comparison, current, current.as_of):
            return None  # it is there again
        return None if one.is_stamped and one.as_of > current.as_of else BEFORE_REMOVAL
    stale = _stale_against_event if current.digest is None else _stale_against_response
    return stale(comparison, current, one)


def _stale_against_event(comparison: Comparison, current: Record, one: ChangedObject) -> str | None:
    """For a state from an event: the response may be known to have been requested after that event was received."""
    is_unreliable = _is_dated_by_event(comparison.domain, current) or current.as_of > comparison.date
    if is_unreliable and comparison.seq >= current.seq:
        return None
    age = (one.as_of, tie_breaker(one.fraction, ""), comparison.seq)
    return None if is_at_least_as_new(age, age_of(current)) else OLDER


def _stale_against_response(comparison: Comparison, current: Record, one: ChangedObject) -> str | None:
    before = TieBreaker.parse(current.tie_breaker)
    if one.is_stamped and before.is_stamped:
        mine, theirs = (one.as_of, one.fraction), (current.as_of, before.fraction)
        if mine != theirs:
            return None if mine > theirs else OLDER_RESPONSE
    return None if _requested_later(comparison, current, requested_at(current)) else EARLIER


def _requested_later(comparison: Comparison, current: Record, since: str) -> bool:
    """Whether a response was requested no sooner than `since`, on Flexport's clock, or after the state was stored.

    Either clock may be set back in between.
    """
    return comparison.as_of >= since or comparison.sent_at > current.synced_at


def _is_dated_by_event(domain: ResourceType, current: Record) -> bool:
    """Whether the stored state is from an event and has the event's time: the object has no timestamp of its own."""
    return current.digest is None and not (domain.has_timestamp and TieBreaker.parse(current.tie_breaker).is_stamped)


def _tie_breaker(comparison: Comparison, current: Record | None, one: ChangedObject, as_of: str) -> str:
    """A response that replaces an event's state of the same time also ranks above the events before that one."""
    fraction, event_id = one.fraction if as_of == one.as_of else "", ""
    if current is not None and current.as_of == as_of:
        before = TieBreaker.parse(current.tie_breaker)
        if fraction > before.fraction or not before.event_id:
            fraction = max(fraction, before.fraction)
        else:
            fraction, event_id = before.fraction, before.event_id.removesuffix("+") + "+"
    is_stamped = not comparison.domain.has_timestamp or (one.is_stamped and as_of == one.as_of)
    requested = comparison.as_of if comparison.as_of != as_of else ""
    return tie_breaker(fraction, event_id, is_stamped=is_stamped, requested_at=requested)


def _server_went_back(comparison: Comparison, current: Record, one: ChangedObject) -> bool:
    """Whether the stored state claims to be newer than the response, and had time to become visible there.

    A response may be slightly older than an event that came before it, but not for long.
    """
    is_old = current.seq <= comparison.seq and current.synced_at < comparison.trust_until
    return is_old and _differ(current, one)


def _differ(current: Record, one: ChangedObject) -> bool:
    return _fields.decode(current.raw) != _fields.decode(one.raw)


def remove(
    tx: Transaction, domain: ResourceType, keys: Sequence[Key], as_of: str, cause: ChangeCause
) -> dict[str, set[Key]]:
    """Mark objects as removed that Flexport no longer has, within a transaction; returns the written keys."""
    work, routes = UnitOfWork(tx), set[int]()
    work.prefetch(domain, keys)
    for key in keys:
        current = work.get(domain, key)
        if current is None or current.removed_at is not None:
            continue
        gone = msgspec.structs.replace(
            current, removed_at=cause.at, as_of=max(as_of, current.as_of), source=cause.source, synced_at=cause.at,
            tie_breaker=current.tie_breaker if current.as_of >= as_of else "",
        )  # fmt: skip
        work.put(domain, gone, cause)
        shipment = current.fields.get("shipment_id")
        if shipment is not None:
            routes.add(shipment)
    _refresh_routes(work, routes, cause)
    work.flush(cause.at)
    if domain.has_details:
        tx.shipment_details.delete(keys)
    tx.sync.clear_missing(domain.name, keys)
    return work.written()
