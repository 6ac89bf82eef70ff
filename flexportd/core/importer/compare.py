"""Applying what was fetched: each object of an answer becomes the newest state, unchanged ones at one comparison.

answer ─ read (no transaction) ─▶ known or not ─ apply (one transaction) ─ workspace ─ flush ─▶ tables
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import structlog

from flexportd.core.events.applier import add_derived_fields
from flexportd.core.importer.list_entries import combine
from flexportd.core.importer.shipment_details import DetailTracker, DetailVersion
from flexportd.core.merge import TieBreaker, age_of, is_at_least_as_new, requested_at, tie_breaker
from flexportd.core.resources import shipments
from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.resources.values import instant, submillisecond_digits
from flexportd.core.schema_drift import FUTURE_TIMESTAMP
from flexportd.core.unit_of_work import ChangeCause, UnitOfWork
from flexportd.errors import MalformedError
from flexportd.escape import escape_control
from flexportd.flexport import json_text
from flexportd.flexport.models import fast_models
from flexportd.flexport.models.events import Fields
from flexportd.flexport.models.wire import FieldFault
from flexportd.json_depth import MAX_DEPTH, nests_too_deep
from flexportd.storage.queries.table import Key
from flexportd.storage.repositories.resources import ContentHash, Record
from flexportd.storage.transaction import Transaction

log = structlog.get_logger(__name__)

REPEATED = "repeated"
OLDER = "older than a received event"
OLDER_RESPONSE = "older than the stored response"
EARLIER = "requested before the stored response"
BEFORE_REMOVAL = "requested before the object was found deleted"

_fields = msgspec.json.Decoder(Fields)


class FetchedBatch(msgspec.Struct, frozen=True):
    """Objects as Flexport answered them, each as its exact bytes.

    `as_of` is when the request started and `date` the latest that it can have been answered, both on Flexport's clock;
    `seq` is the newest event that had been kept when it started. `patience`: our time before which a state that claims
    to be newer must have been stored for its claim to be disbelieved. `sent_at` is when the request started on our
    clock, empty where that is not known. `is_list`: these are entries of a list.
    """

    domain: ResourceType
    rows: Sequence[bytes]
    as_of: str
    date: str
    seq: int
    trust_until: str
    sent_at: str = ""
    is_list: bool = False

    @property
    def has_details(self) -> bool:
        """Whether these are entries that may tell less than the objects' own responses."""
        return self.is_list and self.domain.has_details


Inspector = Callable[[str, bytes], bool]
"""Looks through an object, given by its `_object` and its JSON; whether it is as published (`Drift.look`)."""


class ChangedObject(msgspec.Struct, frozen=True):
    """An object that is new, or not as we have it; `as_of` is on Flexport's clock.

    `is_stamped`: the object itself says `as_of`.
    """

    id: Key
    raw: str
    as_of: str
    values: Mapping[str, Any]
    digest: int
    notes: list[str]
    faults: list[FieldFault]
    fraction: str = ""  # the digits of as_of behind its milliseconds
    is_stamped: bool = False


class ParseFailure(msgspec.Struct, frozen=True):
    """An object that cannot be read: its id or a name made of its bytes, why, and the bytes."""

    name: str
    error: str
    raw: bytes
    key: Key | None = None

    @property
    def identity(self) -> Key:
        """What tells it from others."""
        return self.name if self.key is None else self.key


class Comparison(msgspec.Struct):
    """An answer, read and compared with what was stored."""

    keys: list[Key]
    unchanged: list[Key]
    candidates: list[ChangedObject]
    failures: list[ParseFailure]
    skips: Counter[str]

    @property
    def identities(self) -> list[Key]:
        """What tells each object of the answer from others, also one that cannot be read; each once."""
        return [*self.keys, *dict.fromkeys(one.name for one in self.failures if one.key is None)]

    @classmethod
    def empty(cls) -> "Comparison":
        """Of an answer that holds nothing."""
        return cls([], [], [], [], Counter())

    def reject(self, at: int, error: Exception) -> None:
        """Count the candidate at this place among the failures: it could not be written."""
        one = self.candidates.pop(at)
        self.failures.append(_failure(one.raw.encode(), one.id, describe_error(error)))

    def add(self, other: "Comparison") -> None:
        """Take in what was read of the same answer; what this has already counts as repeated."""
        again = set(self.keys).intersection(other.keys)
        self.skips += other.skips
        self.skips[REPEATED] += len(again)
        self.keys += [key for key in other.keys if key not in again]
        self.unchanged += [key for key in other.unchanged if key not in again]
        self.candidates += [one for one in other.candidates if one.id not in again]
        self.failures += [one for one in other.failures if one.key not in again]
        self.skips += Counter()  # without zeros


class ImportResult(msgspec.Struct):
    """What an answer did."""

    changed: int = 0
    new: int = 0
    unchanged: int = 0
    skips: Counter[str] = msgspec.field(default_factory=Counter)
    went_back: list[str] = msgspec.field(default_factory=list)
    anomalies: list[tuple[str, str, str]] = msgspec.field(default_factory=list)
    written: dict[str, set[Key]] = msgspec.field(default_factory=dict)


def content_hash(text: bytes) -> int:
    """By which an answer is known again: 64 bits of its bytes."""
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big", signed=True)


def compare(tx: Transaction, answered: FetchedBatch, look: Inspector = lambda _n, _t: False) -> Comparison:
    """Read an answer. Whatever equals what is stored costs one comparison; `look` is shown everything else."""
    reading = Comparison.empty()
    domain, heads = answered.domain, _IdReader(answered.domain)
    named: dict[Key, list[bytes]] = {}
    broken: dict[Key, ParseFailure] = {}
    for text in answered.rows:
        try:
            key = heads.key(text)
        except Exception as error:
            if not isinstance(error, MalformedError):
                log.exception("object_parse_failed", resource=domain.name)
            key = heads.recover_key(text)
            if key is None:
                reading.failures.append(_failure(text, None, describe_error(error)))
            elif key in broken:
                reading.skips[REPEATED] += 1
            else:
                broken[key] = _failure(text, key, describe_error(error))
            continue
        if key is None:
            reading.failures.append(_failure(text, None, "it has no id"))
            continue
        named.setdefault(key, []).append(text)
    # One that cannot be read is in the list all the same: it is not missing.
    reading.keys += [*named, *(key for key in broken if key not in named)]
    reading.failures += broken.values()
    marks = tx.resources.content_hashes(domain.table, list(named))
    details = tx.shipment_details.by_ids(list(named)) if answered.has_details else {}
    for key, texts in named.items():
        reading.skips[REPEATED] += len(texts) - 1
        # Of one that came twice in one answer, the later counts.
        entry = details[key].entry_digest if key in details else None
        _compare_object(reading, answered, (key, texts[-1], entry), marks.get(key), look)
    reading.skips += Counter()  # without zeros
    return reading


def _compare_object(
    reading: Comparison,
    answered: FetchedBatch,
    found: tuple[Key, bytes, int | None],
    mark: ContentHash | None,
    look: Inspector,
) -> None:
    key, text, entry = found
    digest = content_hash(text)
    if mark is not None and not mark.removed:
        # A list entry that was read before is known again, too, where the stored state is the object's own response.
        same = (
            digest in (mark.digest, entry)
            if mark.digest is not None
            else mark.raw is not None and text == mark.raw.encode()
        )
        if same:
            reading.unchanged.append(key)
            return
    is_published = look(answered.domain.object_name, text)
    try:
        reading.candidates.append(_changed_object(answered, text, digest, is_decoded=is_published))
    except MalformedError as error:
        reading.failures.append(_failure(text, key, error))
    except Exception as error:
        log.exception("object_parse_failed", resource=answered.domain.name, resource_id=key)
        reading.failures.append(_failure(text, key, describe_error(error)))


def _changed_object(answered: FetchedBatch, text: bytes, digest: int, *, is_decoded: bool) -> ChangedObject:
    """`is_decoded`: every part of the text was decoded, so that every reader can read it. Raises MalformedError."""
    domain = answered.domain
    if nests_too_deep(text):
        raise MalformedError(f"it is nested more than {MAX_DEPTH} levels deep")
    model, faults = fast_models.load_fast(domain.wire, text)
    wrong = None if is_decoded else json_text.problem(text)
    if wrong is not None:
        raise MalformedError(f"not JSON for every reader: {wrong}")
    raw = text.decode()
    told = domain.timestamp(model)
    stamp = instant(told)
    # A time in the future would keep out whatever is true later.
    as_of = min(stamp, answered.date) if stamp else answered.as_of
    notes = [FUTURE_TIMESTAMP] if stamp and stamp > answered.date else []
    fraction = submillisecond_digits(told) if as_of == stamp else ""
    values = domain.normalise(model)
    return ChangedObject(model.key, raw, as_of, values, digest, notes, faults, fraction, is_stamped=as_of == stamp)


def describe_error(error: Exception) -> str:
    """What is wrong with an object; an error that nobody foresaw is named by its type, too."""
    return str(error) if isinstance(error, MalformedError) else escape_control(f"{type(error).__name__}: {error}", 500)


def _failure(text: bytes, key: Key | None, error: object) -> ParseFailure:
    name = str(key) if key is not None else "body-" + hashlib.sha256(text).hexdigest()[:24]
    return ParseFailure(name, str(error)[:1000], text, key)


class _IdOnly(msgspec.Struct):
    id: Any = None


class _IdReader:
    """Reads the id of an object without the rest of it."""

    _decoder = msgspec.json.Decoder(_IdOnly)

    def __init__(self, domain: ResourceType) -> None:
        self._domain = domain
        self._derived = "id" not in domain.wire.model_fields

    def recover_key(self, text: bytes) -> Key | None:
        """The id in a text that is no JSON; None where it cannot be seen."""
        try:
            found = json_text.value(json_text.members(json_text.strip_bom(text)).get("id"))
        except json_text.BrokenJsonError:
            return None
        return None if self._derived or type(found) not in (int, str) else self._domain.parse_id(str(found))

    def key(self, text: bytes) -> Key | None:
        """The id; None where there is none. Raises MalformedError for what is no object."""
        try:
            found = self._decoder.decode(text).id
        except (ValueError, RecursionError) as error:
            raise MalformedError(f"not an object: {error}") from error
        if self._derived:
            made: Key = fast_models.load_fast(self._domain.wire, text)[0].key
            if self._domain.parse_id(str(made)) is None:
                raise MalformedError(f"its key is {str(made)[:50]!r}")
            return made
        if isinstance(found, bool) or not isinstance(found, int | str) or found == "":
            return None
        key = self._domain.parse_id(str(found))
        if key is None:
            raise MalformedError(f"id is {str(found)[:50]!r}, which no {self._domain.label} has")
        return key


def apply(
    tx: Transaction, answered: FetchedBatch, candidates: Iterable[ChangedObject], cause: ChangeCause
) -> ImportResult:
    """Bring the store up to an answer; within a transaction. What the store knows better stays."""
    some, done = list(candidates), ImportResult()
    if not some:
        return done
    workspace, domain = UnitOfWork(tx), answered.domain
    workspace.prefetch(domain, [one.id for one in some])
    workspace.prefetch_owners(domain, [one.values for one in some])
    if domain is shipments.RESOURCE_TYPE:
        new = [one for one in some if not workspace.get(domain, one.id)]
        workspace.prefetch_shipment_records(int(one.id) for one in new)
        workspace.prefetch_bookings((int(one.id), one.values["booking_id"]) for one in new)
    routes: set[int] = set()
    details = DetailTracker(tx, [one.id for one in some], cause.at) if domain.has_details else None
    work = _ImportContext(workspace, answered, cause, done, details)
    for one in some:
        shipment = _apply_one(work, one)
        if shipment is not None:
            routes.add(shipment)
    workspace.prefetch(shipments.RESOURCE_TYPE, routes)
    workspace.prefetch_shipment_records(routes)
    for shipment in sorted(routes):
        workspace.refresh_route(shipment, cause)
    workspace.flush(cause.at)
    if details is not None:
        details.save()
    tx.sync.clear_missing(domain.name, [one.id for one in some])
    done.written, done.anomalies = workspace.written(), workspace.anomalies
    return done


class _ImportContext(NamedTuple):
    """What applying one answer works on."""

    workspace: UnitOfWork
    batch: FetchedBatch
    cause: ChangeCause
    result: ImportResult
    details: DetailTracker | None


def _apply_one(work: _ImportContext, one: ChangedObject) -> int | None:
    """Returns the shipment whose route may have moved."""
    workspace, answered, cause, done, _ = work
    domain, as_of, seen = answered.domain, one.as_of, DetailVersion(one.as_of, one.digest, one.raw)
    current = workspace.get(domain, one.id)
    if current is not None:
        if current.digest == one.digest and current.removed_at is None:
            done.unchanged += 1  # another answer brought it in the meantime
            _track_details(work, one.id, seen, current)
            return None
        placed = _accepted_as_of(work, current, one)
        if placed is None:
            return None
        as_of = placed
        if answered.has_details:
            one = _complete_entry(domain, current, one)
    _track_details(work, one.id, seen, current, one)
    if current is not None and _is_unchanged(current, one):
        done.unchanged += 1  # a list entry that tells nothing beyond what is stored
        return None
    fields = dict(one.values)
    if one.faults and current is not None:
        fields.update(domain.retained_fields(current.fields, one.faults))
    add_derived_fields(workspace, (domain, one.id), fields, current, None)
    record = Record(
        one.id, fields, one.raw, as_of, answered.seq, cause.source, cause.at,
        current.first_seen_at if current else cause.at, digest=one.digest,
        tie_breaker=_tie_breaker(answered, current, one, as_of),
    )  # fmt: skip
    moved = workspace.put(domain, record, cause)
    if current is None:
        done.new += 1
    elif moved or _differ(current, one):
        done.changed += 1
    else:
        done.unchanged += 1
    return fields.get("shipment_id") if moved else None


def _accepted_as_of(work: _ImportContext, current: Record, one: ChangedObject) -> str | None:
    """The `as_of` of an answer that replaces what we have; None when it does not."""
    answered, done = work.batch, work.result
    order = _stale_reason(answered.domain, current, one, answered)
    if order is None:
        # It holds at the time of what it replaces, too; which may be one to come.
        return max(one.as_of, min(current.as_of, answered.date)) if one.as_of < current.as_of else one.as_of
    if _server_went_back(current, one, answered):
        done.went_back.append(str(one.id))
        return answered.as_of
    done.skips[order] += 1
    return None


def _is_unchanged(current: Record, one: ChangedObject) -> bool:
    return current.digest is not None and current.removed_at is None and one.raw == current.raw


def _complete_entry(domain: ResourceType, current: Record, one: ChangedObject) -> ChangedObject:
    """A list entry with what is stored beyond it."""
    try:
        raw = combine(current.raw, one.raw, is_newer=one.as_of != current.as_of)
    except ValueError:  # it begins with a byte order mark, for one: it is taken as it is
        return one
    if raw == one.raw:
        return one
    model, faults = fast_models.load_fast(domain.wire, raw.encode())
    values, digest = domain.normalise(model), content_hash(raw.encode())
    return msgspec.structs.replace(one, raw=raw, values=values, digest=digest, faults=faults)


def _track_details(
    work: _ImportContext, key: Key, seen: DetailVersion, current: Record | None, after: ChangedObject | None = None
) -> None:
    """Note whether an object's own response is to be fetched; `after` is a list entry with what is stored beyond it."""
    if work.details is None:
        return
    if not work.batch.is_list:
        work.details.record_response(key, seen, current)
        return
    is_news = current is None or (after is not None and after.raw != current.raw)
    work.details.record_entry(key, seen, current, left_out=after is not None and after.raw != seen.raw, is_news=is_news)


def record_unchanged(tx: Transaction, answered: FetchedBatch, keys: Sequence[Key], at: str) -> None:
    """Own responses that are as stored count as fetched, too; within a transaction."""
    if answered.is_list or not answered.domain.has_details or not keys:
        return
    details = DetailTracker(tx, keys, at)
    for key, current in tx.resources.load(answered.domain.table, keys).items():
        details.record_response(
            key,
            DetailVersion(current.as_of, current.digest or content_hash(current.raw.encode()), current.raw),
            current,
        )
    details.save()


def _stale_reason(domain: ResourceType, current: Record, one: ChangedObject, answered: FetchedBatch) -> str | None:
    """Why what we have is newer than an answer; None where the answer is at least as new.

    The object's own times are compared where both have one. Else the answer counts whose request started last: a time
    of the object's and one of a request come from different clocks, and say nothing about each other.
    """
    if current.removed_at is not None:
        if _requested_later(answered, current, current.as_of):
            return None  # it is there again
        return None if one.is_stamped and one.as_of > current.as_of else BEFORE_REMOVAL
    by_event = current.digest is None
    return (
        _stale_against_event(domain, current, one, answered)
        if by_event
        else _stale_against_response(domain, current, one, answered)
    )


def _stale_against_event(
    domain: ResourceType, current: Record, one: ChangedObject, answered: FetchedBatch
) -> str | None:
    """The same for what an event brought: it is known whether the answer was requested after that event had come."""
    is_unreliable = _is_dated_by_event(domain, current) or current.as_of > answered.date
    if is_unreliable and answered.seq >= current.seq:
        return None
    age = (one.as_of, tie_breaker(one.fraction, ""), answered.seq)
    return None if is_at_least_as_new(age, age_of(current)) else OLDER


def _stale_against_response(
    domain: ResourceType, current: Record, one: ChangedObject, answered: FetchedBatch
) -> str | None:
    """The same for what another answer brought."""
    before = TieBreaker.parse(current.tie_breaker)
    if one.is_stamped and before.is_stamped:
        mine, theirs = (one.as_of, one.fraction), (current.as_of, before.fraction)
        if mine > theirs:
            return None
        if mine < theirs and _has_own_timestamp(domain, current):
            return OLDER_RESPONSE
    return None if _requested_later(answered, current, requested_at(current)) else EARLIER


def _requested_later(answered: FetchedBatch, current: Record, since: str) -> bool:
    """Whether an answer was requested no sooner than `since`, on Flexport's clock, or after the state was stored.

    Either clock may be set back in between.
    """
    return answered.as_of >= since or answered.sent_at > current.synced_at


def _is_dated_by_event(domain: ResourceType, current: Record) -> bool:
    """Whether an event brought what we have, and dates it: the object itself did not say when it changed."""
    return current.digest is None and not (domain.has_timestamp and TieBreaker.parse(current.tie_breaker).is_stamped)


def _has_own_timestamp(domain: ResourceType, current: Record) -> bool:
    """Whether the object itself says the time of what we have: earlier versions did not mark what does not."""
    return instant(domain.timestamp(fast_models.load_fast(domain.wire, current.raw.encode())[0])) == current.as_of


def _tie_breaker(answered: FetchedBatch, current: Record | None, one: ChangedObject, as_of: str) -> str:
    """An answer that replaces a state of an event of the same time stands above the events below that one, too."""
    fraction, event_id = one.fraction if as_of == one.as_of else "", ""
    if current is not None and current.as_of == as_of:
        before = TieBreaker.parse(current.tie_breaker)
        if fraction > before.fraction or not before.event_id:
            fraction = max(fraction, before.fraction)
        else:
            fraction, event_id = before.fraction, before.event_id.removesuffix("+") + "+"
    is_stamped = not answered.domain.has_timestamp or (one.is_stamped and as_of == one.as_of)
    requested = answered.as_of if answered.as_of != as_of else ""
    return tie_breaker(fraction, event_id, is_stamped=is_stamped, requested_at=requested)


def _server_went_back(current: Record, one: ChangedObject, answered: FetchedBatch) -> bool:
    """Whether what we have, which claims to be newer than what Flexport answers now, has had the time to show there.

    An answer may be a little older than an event that came before it; but not for long.
    """
    return current.seq <= answered.seq and current.synced_at < answered.trust_until and _differ(current, one)


def _differ(current: Record, one: ChangedObject) -> bool:
    return _fields.decode(current.raw) != _fields.decode(one.raw)


def remove(
    tx: Transaction, domain: ResourceType, keys: Sequence[Key], as_of: str, cause: ChangeCause
) -> dict[str, set[Key]]:
    """Mark what Flexport no longer has, within a transaction; what was written, by domain."""
    workspace = UnitOfWork(tx)
    workspace.prefetch(domain, keys)
    routes: set[int] = set()
    for key in keys:
        current = workspace.get(domain, key)
        if current is None or current.removed_at is not None:
            continue
        gone = msgspec.structs.replace(
            current, removed_at=cause.at, as_of=max(as_of, current.as_of), source=cause.source, synced_at=cause.at,
            tie_breaker=current.tie_breaker if current.as_of >= as_of else "",
        )  # fmt: skip
        workspace.put(domain, gone, cause)
        shipment = current.fields.get("shipment_id")
        if shipment is not None:
            routes.add(shipment)
    for shipment in sorted(routes):
        workspace.refresh_route(shipment, cause)
    workspace.flush(cause.at)
    if domain.has_details:
        tx.shipment_details.delete(keys)
    tx.sync.clear_missing(domain.name, keys)
    return workspace.written()
