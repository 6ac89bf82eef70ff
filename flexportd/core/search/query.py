"""Search: finds what a text may mean, grouped by kind, best matches first."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypedDict

from flexportd.core.json_types import document_of
from flexportd.core.resources.documents import CUSTOMER_TYPES
from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.search.fields import INTERNAL_KINDS, KIND_NUMBERS, KINDS, SEARCH_FIELDS, SHOWN_AS, Kind
from flexportd.core.search.normalise import locate, normalise
from flexportd.core.search.terms import MAX_TEXT_LENGTH, QueryWord, interpretations, terms_of
from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.queries.table import Key
from flexportd.storage.repositories.audiences import Audience
from flexportd.storage.search_index import KIND_BITS, IndexHit, MatchGroup, SearchTerm, Term, id_range
from flexportd.storage.substring_index import is_short
from flexportd.storage.transaction import Transaction

Match = Literal["exact", "prefix", "partial"]

_BATCH_SIZE = 200  # entries that are read at once
_MIN_SCAN = 32  # entries of one kind that are read at once, if there are very many
_MAX_ENTRIES = 1000  # entries of one kind that are read in total
_CANDIDATE_BATCH = 2000  # entries with the rarest of several words that are read at once
_MAX_CANDIDATES = 20_000  # entries with the rarest word that are read in total
_MAX_OBJECTS = 200  # objects without a shipment that have all of several words
_MATCHES: tuple[Match, ...] = ("exact", "prefix", "partial")


class SearchHit(TypedDict):
    """A matching object. `start` and `length` are the position of the match in `value`, in characters.

    `field` is the field of the object that holds the text; in metadata with its key, such as `metadata.Season`.
    `removed_at` is when the object was found removed at Flexport.
    """

    resource: str
    id: Key
    shipment_id: int | None
    title: str
    field: str
    value: str
    match: Match
    start: int
    length: int
    removed_at: str | None


class SearchGroup(TypedDict):
    """The results of one kind: exact matches first, then prefixes, then other matches.

    Among equals, the last updated is first. `has_more`: there are, or may be, more results.
    """

    kind: Kind
    has_more: bool
    hits: list[SearchHit]


class SearchResults(TypedDict):
    """The result of a search. Kinds with better matches are first.

    `complete` is false while the index is being built and results may be missing. `as_of`: everything
    stored by then is in the index (on the daemon's clock; null before indexing starts). It changes with every
    shipment, and is null for a key limited to some shipments.
    """

    query: str
    data: list[SearchGroup]
    complete: bool
    as_of: str | None


def search(
    tx: Transaction, text: str, *, kinds: Iterable[Kind] | None = None, limit: int = 5, audience: Audience | None = None
) -> SearchResults:
    """Search for a text; at most `limit` objects of each kind.

    Case, blanks, punctuation and accents do not matter. A text of one or two characters matches prefixes; two Chinese
    or Japanese characters are a word like any other. Only the first `normalise.MAX_LENGTH` characters count. A label
    before a number, such as `PO`, selects a kind; of several words all must match, in any order, within one object or a
    shipment and its related objects. An audience finds only objects of its shipments, and no freight invoices.
    """
    state = tx.search.state()
    hidden = INTERNAL_KINDS if audience is not None else frozenset()
    visible = [number for kind, number in KIND_NUMBERS.items() if kind not in hidden]
    shown = set(KINDS if kinds is None else kinds)
    groups: list[SearchGroup] = []
    meanings = interpretations(text)
    if state is not None and meanings and shown:
        groups = _Search(tx, limit, audience, visible, shown).by_meanings(normalise(text[:MAX_TEXT_LENGTH]), meanings)
    return {
        "query": text,
        "data": groups,
        "complete": state is not None and state.is_whole,
        "as_of": state.at if state is not None and audience is None else None,
    }


def _merge_groups(groups: list[SearchGroup], others: list[SearchGroup], limit: int) -> list[SearchGroup]:
    if not groups or not others:
        return groups or others
    by_kind: dict[Kind, list[SearchGroup]] = {}
    for group in (*groups, *others):
        by_kind.setdefault(group["kind"], []).append(group)
    found: list[SearchGroup] = []
    for kind in KINDS:
        hits: dict[tuple[str, Key], SearchHit] = {}
        given = by_kind.get(kind, [])
        for hit in sorted((hit for group in given for hit in group["hits"]), key=_match_rank):
            hits.setdefault((hit["resource"], hit["id"]), hit)
        if hits:
            more = len(hits) > limit or any(group["has_more"] for group in given)
            found.append({"kind": kind, "has_more": more, "hits": list(hits.values())[:limit]})
    return sorted(found, key=lambda group: _match_rank(group["hits"][0]))


def _match_rank(hit: SearchHit) -> int:
    return _MATCHES.index(hit["match"])


def shipment_filters(tx: Transaction, text: str, *, audience: bool = False) -> dict[str, tuple[Any, ...]] | None:
    """The filters of `storage.search_index.FILTERS`, with their values, that limit a list to shipments with this text.

    They match like `search`, except that freight invoices and references of parties do not count, and no documents for
    an `audience`, which may not see some of them. None while the index is incomplete, and for a text without letters
    and digits.
    """
    meanings, state = interpretations(text[:MAX_TEXT_LENGTH]), tx.search.state()
    if state is None or not state.is_whole or not meanings:
        return None
    hidden = INTERNAL_KINDS | {"document"} if audience else INTERNAL_KINDS
    visible = [number for kind, number in KIND_NUMBERS.items() if kind not in hidden]
    filters: dict[str, tuple[Any, ...]] = {}
    for words in meanings:
        filters = tx.search.filters_of(terms_of(words, visible))
        if "found" not in filters or filters["found"] != ("[]",):
            break
    return filters


def use_index(tx: Transaction, page: PageRequest) -> PageRequest:
    """A page of shipments whose filter `q` uses the index if possible; else unchanged, which is slower."""
    if "q" not in page.filters:
        return page
    filters = shipment_filters(tx, page.filters["q"][0], audience="audience" in page.filters)
    if filters is None:
        return page
    others = {name: values for name, values in page.filters.items() if name != "q"}
    return replace(page, filters={**others, **filters})


@dataclass(frozen=True)
class _Search:
    """One search: at most `limit` results of each kind of those `shown`, in entries of the kinds `visible`."""

    tx: Transaction
    limit: int
    audience: Audience | None
    visible: Sequence[int]
    shown: Collection[Kind]

    @property
    def tags(self) -> str:
        """The tags of the caller's shipments; empty if the caller may see all."""
        return "" if self.audience is None else self.audience.code

    def hits(self, ids: Sequence[int], kinds: Sequence[int]) -> list[IndexHit]:
        """The entries of these kinds that the caller may see."""
        return self.tx.search.hits(ids, kinds, self.audience, CUSTOMER_TYPES)

    def by_meanings(self, whole: str, meanings: Sequence[tuple[QueryWord, ...]]) -> list[SearchGroup]:
        """Search for the whole text, and for the first interpretation with results.

        Interpretations that ignore labels count only if nothing else is found.
        """
        groups = self.by_text(whole, self.visible) if whole else []
        for number, words in enumerate(meanings):
            if words != (QueryWord(whole),) and not (number and groups):
                groups = _merge_groups(groups, self.by_words(words), self.limit)
        return groups

    def by_text(self, sought: str, kinds: Iterable[int]) -> list[SearchGroup]:
        """The objects with a text in entries of some kinds."""
        chosen = sorted(kind for kind in kinds if SHOWN_AS[kind] in self.shown)
        return _TextSearch(self, sought).groups(chosen) if chosen else []

    def by_words(self, words: Sequence[QueryWord]) -> list[SearchGroup]:
        """The objects, or shipments with their related objects, that have all these words."""
        if len(words) == 1:
            (term,) = terms_of(words, self.visible)
            return self.by_text(term.folded, term.kinds)
        # Some documents may be hidden from an audience: a shipment must not be found by one of those.
        hidden = None if self.audience is None else KIND_NUMBERS["document"]
        visible = [kind for kind in self.visible if kind != hidden]
        together = _MultiTermSearch(self, terms_of(words, visible))
        return [group for group in together.groups(visible) if group["kind"] in self.shown]


class _MultiTermSearch:
    """One search for several words within a shipment and its related objects, or within one other object."""

    def __init__(self, caller: _Search, terms: Sequence[Term]) -> None:
        self._caller = caller
        self._search = caller.tx.search
        self._terms = terms
        self._limit = caller.limit
        self._more = False

    def groups(self, kinds: Sequence[int]) -> list[SearchGroup]:
        """The results with all words, best first."""
        units = self._units()
        entries = [self._search.entries_in(units, term) for term in self._terms]
        ids = list({entry for some in entries for entry in some})
        held = {hit.entry: hit for hit in self._caller.hits(ids, kinds)}
        by_term = [[held[entry] for entry in some if entry in held] for some in entries]
        found: dict[Kind, dict[tuple[str, Key], SearchHit]] = {}
        for hit in self._shipments([shipment for shipment, _ in units if shipment is not None], by_term):
            found.setdefault("shipment", {})[hit["resource"], hit["id"]] = hit
        for number, hit in self._objects(by_term):
            found.setdefault(SHOWN_AS[number], {}).setdefault((hit["resource"], hit["id"]), hit)
        return [self._group(kind, found[kind].values()) for kind in KINDS if kind in found]

    def _group(self, kind: Kind, found: Iterable[SearchHit]) -> SearchGroup:
        hits = sorted(found, key=_match_rank)
        return {"kind": kind, "has_more": self._more or len(hits) > self._limit, "hits": hits[: self._limit]}

    def _units(self) -> list[MatchGroup]:
        """The newest shipments and objects with all words; at least `limit` + 1 shipments if there are so many."""
        kept: dict[MatchGroup, None] = {}
        for most, batch in ((_BATCH_SIZE, _BATCH_SIZE), (_MAX_CANDIDATES, _CANDIDATE_BATCH)):
            kept.clear()
            if self._collect(kept, most, batch):
                break
        else:
            self._more = True
        return self._limit_units(kept)

    def _collect(self, kept: dict[MatchGroup, None], most: int, batch: int) -> bool:
        """Read entries with the rarest word, and keep those with the others; returns whether that is enough."""
        term, ids = self._rarest(batch)
        others = [one for one in self._terms if one is not term]
        seen: set[MatchGroup] = set()
        while True:
            fresh = [unit for unit in self._search.groups_with(ids, term) if unit not in seen]
            seen.update(fresh)
            for start in range(0, len(fresh), _BATCH_SIZE):
                visible = self._visible(fresh[start : start + _BATCH_SIZE])
                kept.update(dict.fromkeys(self._search.groups_with_all(visible, others)))
                if sum(shipment is not None for shipment, _ in kept) > self._limit:
                    self._more = True
                    return True
            most -= len(ids)
            if len(ids) < batch or most <= 0:
                return len(ids) < batch
            ids = self._newest(term, batch, ids[-1] - 1)

    def _limit_units(self, units: Iterable[MatchGroup]) -> list[MatchGroup]:
        found = list(units)
        shipments, objects = ([unit for unit in found if (unit[0] is None) is other] for other in (False, True))
        return shipments[: self._limit + 1] + objects[:_MAX_OBJECTS]

    def _rarest(self, most: int) -> tuple[Term, list[int]]:
        long = [term for term in self._terms if not is_short(term.folded)]
        found = [(self._newest(term, most), term) for term in long]
        ids, term = min(found, key=lambda one: len(one[0]))
        return term, ids

    def _newest(self, term: Term, most: int, upto: int | None = None) -> list[int]:
        return self._search.entries_with(term, most, self._caller.tags, upto)

    def _visible(self, units: Sequence[MatchGroup]) -> Sequence[MatchGroup]:
        if self._caller.audience is None:
            return units
        ids = [shipment for shipment, _ in units if shipment is not None]
        visible = self._caller.tx.audiences.visible(self._caller.audience, ids)
        return [unit for unit in units if unit[0] in visible]

    def _shipments(self, ids: Sequence[int], by_term: Sequence[Sequence[IndexHit]]) -> Iterator[SearchHit]:
        """The shipments; each shows the match of the word that matches worst.

        A shipment is left out if single objects have all words: these are results themselves.
        """
        whole = _objects_with_all_terms(by_term)
        spread = {
            hit.shipment_id
            for hits in by_term
            for hit in hits
            if hit.resource == "shipments" or hit.object not in whole
        }
        titles = self._search.titles(ids)
        of_each: dict[int, list[tuple[int, IndexHit, Term]]] = {}
        for term, hits in zip(self._terms, by_term, strict=True):
            best: dict[int, tuple[int, IndexHit, Term]] = {}
            for hit in hits:
                rank = _rank(hit.folded, term.folded)
                if hit.shipment_id is not None and (hit.shipment_id not in best or rank < best[hit.shipment_id][0]):
                    best[hit.shipment_id] = rank, hit, term
            for shipment, one in best.items():
                of_each.setdefault(shipment, []).append(one)
        for shipment in ids:
            if shipment in titles and shipment in spread:
                _, hit, term = max(of_each[shipment], key=lambda one: one[0])
                number, title, removed_at = titles[shipment]
                if hit.resource != "shipments":
                    hit = hit._replace(resource="shipments", key=shipment, field=f"{hit.resource}.{hit.field}")
                yield _to_hit(hit._replace(object=number, title=title, removed_at=removed_at), term.folded)

    def _objects(self, by_term: Sequence[Sequence[IndexHit]]) -> Iterator[tuple[int, SearchHit]]:
        """The objects with all words, or with the number after a label, and the kind of the entry."""
        whole = _objects_with_all_terms(by_term)
        for term, hits in zip(self._terms, by_term, strict=True):
            for hit in sorted(hits, key=lambda hit: (_rank(hit.folded, term.folded), -hit.entry)):
                if (hit.object in whole and hit.resource != "shipments") or (
                    not term.is_plain and hit.kind in term.kinds and SHOWN_AS[hit.kind] != "shipment"
                ):
                    yield hit.kind, _to_hit(hit, term.folded)


def _objects_with_all_terms(by_term: Sequence[Sequence[IndexHit]]) -> set[int]:
    return set.intersection(*({hit.object for hit in hits} for hits in by_term))


def _rank(folded: str, sought: str) -> int:
    return 0 if folded == sought else 1 if folded.startswith(sought) else 2


def _to_hit(hit: IndexHit, sought: str) -> SearchHit:
    start, length = locate(hit.value, sought)
    match = _MATCHES[_rank(hit.folded, sought)]
    return document_of(SearchHit, hit._asdict(), id=hit.key, match=match, start=start, length=length)


class _TextSearch:
    def __init__(self, caller: _Search, sought: str) -> None:
        self._caller = caller
        self._sought = sought
        self._limit = caller.limit
        self._hits: dict[int, dict[int, IndexHit]] = {}  # by kind of entry, by entry
        self._seen: Counter[int] = Counter()  # by kind of entry, how many entries were looked at

    def groups(self, kinds: Sequence[int]) -> list[SearchGroup]:
        """A rare text is found at once; for a common one the best matches are read first."""
        ids = self._newest(self._anywhere, id_range(kinds), _BATCH_SIZE)
        if len(ids) < _BATCH_SIZE:
            self._add_hits(ids, kinds)
        else:
            self._scan(SearchTerm(self._sought, begins=True, ends=True), kinds)
            self._scan(SearchTerm(self._sought, begins=True), kinds)
            if not is_short(self._sought):
                self._scan(self._anywhere, kinds)
        shown: dict[Kind, list[int]] = {}
        for kind in kinds:
            if kind in self._hits:
                shown.setdefault(SHOWN_AS[kind], []).append(kind)
        found = [self._group(kind, of_it) for kind, of_it in shown.items()]
        return sorted(found, key=lambda group: _match_rank(group["hits"][0]))

    def _scan(self, sought: SearchTerm, kinds: Sequence[int]) -> None:
        """Read the newest entries of each kind that needs more, from the highest kind down."""
        most = max(_MIN_SCAN, 4 * (self._limit + 1))  # an object may have several entries
        left, upto = [kind for kind in kinds if self._needs_more(kind)], id_range(kinds)[1]
        while left:
            first, last = id_range(left)
            ids = self._newest(sought, (first, min(last, upto)), most)
            self._add_hits(ids, left)
            if len(ids) < most:
                break
            upto = ids[-1] - 1
            left = [kind for kind in left if kind <= ids[-1] >> KIND_BITS and self._needs_more(kind)]

    def _needs_more(self, kind: int) -> bool:
        return self._objects(kind) <= self._limit and self._seen[kind] < _MAX_ENTRIES

    def _newest(self, sought: SearchTerm, ids: tuple[int, int], limit: int) -> list[int]:
        return self._caller.tx.search.newest_matches(sought, ids, limit, self._caller.tags)

    @property
    def _anywhere(self) -> SearchTerm:
        return SearchTerm(self._sought, begins=is_short(self._sought))

    def _add_hits(self, ids: Sequence[int], kinds: Sequence[int]) -> None:
        for hit in self._caller.hits(ids, kinds):
            self._seen[hit.kind] += 1  # hidden entries do not count, so that an audience learns nothing about them
            if self._sought in hit.folded:  # for long texts the index only gives candidates
                self._hits.setdefault(hit.kind, {})[hit.entry] = hit

    def _objects(self, kind: int) -> int:
        return len({hit.object for hit in self._hits.get(kind, {}).values()})

    def _group(self, kind: Kind, entry_kinds: Sequence[int]) -> SearchGroup:
        """Each object once, by its best entry; its own entries before those of its legs."""
        best: dict[int, IndexHit] = {}
        hits = [hit for one in entry_kinds for hit in self._hits[one].values()]
        for hit in sorted(hits, key=lambda hit: (_rank(hit.folded, self._sought), hit.kind > len(KINDS), -hit.entry)):
            best.setdefault(hit.object, hit)
        shown = [_to_hit(hit, self._sought) for hit in list(best.values())[: self._limit]]
        more = len(best) > self._limit or any(self._seen[one] >= _MAX_ENTRIES for one in entry_kinds)
        return {"kind": kind, "has_more": more, "hits": shown}


MAX_ENTRIES = 100  # entries that are read
MAX_LENGTH = 300  # characters of a reference

IDENTIFYING: Mapping[str, Sequence[str]] = {
    "shipments": ("id", "name", "house_bills", "master_bill", "carrier_booking_number"),
    "legs": ("tracking_number",),
    "containers": ("container_number",),
    "products": ("sku", "name"),
    "invoices": ("name",),
    "commercial_invoices": ("invoice_number",),
    "customs_entries": ("entry_number",),
    "bookings": ("name", "flex_id"),
    "purchase_orders": ("name",),
    "purchase_order_line_items": ("item_key",),
    "documents": ("file_name",),
    "companies": ("name", "ref"),
    "company_entities": ("name", "ref"),
    "contacts": ("name", "email"),
    "locations": ("name", "ref"),
    "ports": ("unlocode", "iata", "icao", "name"),
}
"""By resource: the indexed fields that identify an object, the most specific first."""


def lookup(tx: Transaction, domain: ResourceType, text: str, audience: Audience | None = None) -> list[IndexHit]:
    """The objects that a reference identifies, one entry each: one, several if it is ambiguous, or none.

    Case, blanks and punctuation do not matter, but an exact match comes first, then an earlier field of IDENTIFYING,
    then an object that is not removed. Uses the search index, which is slightly behind the store.
    """
    fields, indexed = IDENTIFYING.get(domain.name, ()), SEARCH_FIELDS.get(domain.name)
    given = text.strip()[:MAX_LENGTH]
    folded, state = normalise(given), tx.search.state()
    hidden = INTERNAL_KINDS if audience is not None else frozenset()
    known_kinds = indexed.fields.items() if indexed else ()
    kinds = sorted({KIND_NUMBERS[kind] for name, kind in known_kinds if name in fields and kind not in hidden})
    if state is None or not folded or not kinds:
        return []
    sought = SearchTerm(folded, begins=True, ends=True)
    marks = "" if audience is None else audience.code
    ids = [entry for kind in kinds for entry in tx.search.newest_matches(sought, id_range((kind,)), MAX_ENTRIES, marks)]
    best: dict[str, tuple[tuple[bool, bool, int], IndexHit]] = {}
    for hit in tx.search.hits(ids, kinds, audience, CUSTOMER_TYPES):
        if hit.resource == domain.name and hit.field in fields and hit.folded == folded:
            rank = (hit.value.casefold() != given.casefold(), hit.removed_at is not None, fields.index(hit.field))
            known = best.get(str(hit.key))
            if known is None or rank < known[0]:
                best[str(hit.key)] = rank, hit
    if not best:
        return []
    first = min(rank for rank, _ in best.values())
    return sorted((hit for rank, hit in best.values() if rank == first), key=lambda hit: str(hit.key))
