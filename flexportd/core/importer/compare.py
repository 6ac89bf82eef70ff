"""Comparing a response with the store: an unchanged object costs one hash comparison, any other is parsed."""

import hashlib
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sized
from typing import Any

import msgspec
import structlog

from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.resources.values import instant, submillisecond_digits
from flexportd.core.schema_drift import FUTURE_TIMESTAMP
from flexportd.errors import MalformedError
from flexportd.escape import escape_control
from flexportd.flexport import json_text
from flexportd.flexport.models import fast_models
from flexportd.flexport.models.wire import FieldFault
from flexportd.json_depth import MAX_DEPTH, nests_too_deep
from flexportd.storage.queries.table import Key
from flexportd.storage.repositories.resources import ContentHash
from flexportd.storage.transaction import Transaction

log = structlog.get_logger(__name__)

REPEATED = "repeated"

Inspector = Callable[[str, bytes], bool]
"""Inspects an object, given by its `_object` and its JSON; returns whether it is as published."""


class ChangedObject(msgspec.Struct, frozen=True):
    """An object that is new or differs from the stored one; `as_of` is on Flexport's clock.

    `is_stamped`: `as_of` is the object's own timestamp.
    """

    id: Key
    raw: str
    as_of: str
    values: Mapping[str, Any]
    digest: int
    notes: list[str]
    faults: list[FieldFault]
    fraction: str = ""  # the digits of as_of after its milliseconds
    is_stamped: bool = False


class ParseFailure(msgspec.Struct, frozen=True):
    """An object that cannot be parsed: its id (or a name derived from its bytes), the reason, and the bytes."""

    name: str
    error: str
    raw: bytes
    key: Key | None = None

    @property
    def identity(self) -> Key:
        """Distinguishes it from other objects."""
        return self.name if self.key is None else self.key


class Comparison(msgspec.Struct):
    """A response, and how its objects compare with the store.

    `as_of` is when the request started and `date` the latest time at which Flexport answered, both on Flexport's clock.
    `seq` is the newest event that was stored when the request started, `sent_at` our time of that (empty: unknown). A
    stored state that claims to be newer than the response is overruled if it was stored before `trust_until` (our
    time). `is_list`: the objects are list entries. `repeated` are those that earlier pages of the list had.
    """

    domain: ResourceType
    as_of: str
    date: str
    seq: int
    trust_until: str
    sent_at: str = ""
    is_list: bool = False
    keys: list[Key] = msgspec.field(default_factory=list)
    unchanged: list[Key] = msgspec.field(default_factory=list)
    candidates: list[ChangedObject] = msgspec.field(default_factory=list)
    failures: list[ParseFailure] = msgspec.field(default_factory=list)
    skips: Counter[str] = msgspec.field(default_factory=Counter)
    repeated: frozenset[Hashable] = frozenset()

    @property
    def has_partial_entries(self) -> bool:
        """Whether these are list entries that may hold less than the objects' own responses."""
        return self.is_list and self.domain.has_details

    @property
    def identities(self) -> list[Key]:
        """The identity of each object of the response, once, including those that cannot be parsed."""
        return [*self.keys, *dict.fromkeys(one.name for one in self.failures if one.key is None)]

    def reject(self, index: int, error: Exception) -> None:
        """Move a candidate to the failures: it could not be written."""
        candidate = self.candidates.pop(index)
        self._fail(candidate.raw.encode(), candidate.id, describe_error(error))

    def compare(self, tx: Transaction, rows: Iterable[bytes], inspect: Inspector = lambda _n, _t: False) -> None:
        """Add objects of the response. `inspect` gets everything that does not equal what is stored.

        Of an object that comes twice, the last of these rows counts; what was added before counts before them.
        """
        named, broken = self._parse_ids(rows)
        known = set(self.keys)
        groups: tuple[Mapping[Key, Sized], ...] = (named, broken)
        for key, found in (item for group in groups for item in group.items()):
            self.skips[REPEATED] += len(found) - (key not in known)
        fresh = {key: texts[-1] for key, texts in named.items() if key not in known}
        failed = {key: failures[0] for key, failures in broken.items() if key not in known}
        # An object that cannot be parsed is in the list all the same: it is not missing.
        self.keys += [*fresh, *(key for key in failed if key not in fresh)]
        self.failures += failed.values()
        hashes = tx.resources.content_hashes(self.domain.table, list(fresh))
        details = tx.shipment_details.by_ids(list(fresh)) if self.has_partial_entries else {}
        for key, text in fresh.items():
            entry = details[key].entry_digest if key in details else None
            self._compare_object(key, text, entry, hashes.get(key), inspect)
        self.skips += Counter()  # drops zeros

    def _parse_ids(self, rows: Iterable[bytes]) -> tuple[dict[Key, list[bytes]], dict[Key, list[ParseFailure]]]:
        ids = _IdReader(self.domain)
        named: dict[Key, list[bytes]] = {}
        broken: dict[Key, list[ParseFailure]] = {}
        for text in rows:
            try:
                key = ids.key(text)
            except Exception as error:
                if not isinstance(error, MalformedError):
                    log.exception("object_parse_failed", resource=self.domain.name)
                key = ids.recover_key(text)
                if key is None:
                    self._fail(text, None, describe_error(error))
                else:
                    broken.setdefault(key, []).append(_failure(text, key, describe_error(error)))
                continue
            if key is None:
                self._fail(text, None, "it has no id")
            else:
                named.setdefault(key, []).append(text)
        return named, broken

    def _compare_object(
        self, key: Key, text: bytes, entry: int | None, stored: ContentHash | None, inspect: Inspector
    ) -> None:
        """`entry` is the hash of the list entry that was imported last."""
        digest = content_hash(text)
        if stored is not None and not stored.removed:
            # A list entry that was imported before is recognised, too, where the object's own response is stored.
            same = (
                digest in (stored.digest, entry)
                if stored.digest is not None
                else stored.raw is not None and text == stored.raw.encode()
            )
            if same:
                self.unchanged.append(key)
                return
        is_published = inspect(self.domain.object_name, text)
        try:
            self.candidates.append(self._parse(text, digest, is_decoded=is_published))
        except MalformedError as error:
            self._fail(text, key, error)
        except Exception as error:
            log.exception("object_parse_failed", resource=self.domain.name, resource_id=key)
            self._fail(text, key, describe_error(error))

    def _parse(self, text: bytes, digest: int, *, is_decoded: bool) -> ChangedObject:
        """`is_decoded`: every part of the text was decoded, so any JSON reader accepts it. Raises MalformedError."""
        domain = self.domain
        if nests_too_deep(text):
            raise MalformedError(f"it is nested more than {MAX_DEPTH} levels deep")
        model, faults = fast_models.load_fast(domain.wire, text)
        problem = None if is_decoded else json_text.problem(text)
        if problem is not None:
            raise MalformedError(f"not JSON for every reader: {problem}")
        raw = text.decode()
        updated_at = domain.timestamp(model)
        stamp = instant(updated_at)
        # A time in the future would keep out whatever is true later.
        as_of = min(stamp, self.date) if stamp else self.as_of
        notes = [FUTURE_TIMESTAMP] if stamp and stamp > self.date else []
        fraction = submillisecond_digits(updated_at) if as_of == stamp else ""
        values = domain.normalise(model)
        return ChangedObject(model.key, raw, as_of, values, digest, notes, faults, fraction, is_stamped=as_of == stamp)

    def _fail(self, text: bytes, key: Key | None, error: object) -> None:
        self.failures.append(_failure(text, key, error))


def content_hash(text: bytes) -> int:
    """A 64-bit hash of an object's bytes."""
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big", signed=True)


def describe_error(error: Exception) -> str:
    """What is wrong with an object; an unexpected error is prefixed with its type."""
    return str(error) if isinstance(error, MalformedError) else escape_control(f"{type(error).__name__}: {error}", 500)


def _failure(text: bytes, key: Key | None, error: object) -> ParseFailure:
    name = str(key) if key is not None else "body-" + hashlib.sha256(text).hexdigest()[:24]
    return ParseFailure(name, str(error)[:1000], text, key)


class _IdOnly(msgspec.Struct):
    id: Any = None


class _IdReader:
    _decoder = msgspec.json.Decoder(_IdOnly)

    def __init__(self, domain: ResourceType) -> None:
        self._domain = domain
        self._derived = "id" not in domain.wire.model_fields

    def recover_key(self, text: bytes) -> Key | None:
        """The id in a text that is not valid JSON; None if it cannot be read."""
        try:
            found = json_text.value(json_text.members(json_text.strip_bom(text)).get("id"))
        except json_text.BrokenJsonError:
            return None
        return None if self._derived or type(found) not in (int, str) else self._domain.parse_id(str(found))

    def key(self, text: bytes) -> Key | None:
        """The id; None if there is none. Raises MalformedError for what is not an object."""
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
