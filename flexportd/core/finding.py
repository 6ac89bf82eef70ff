"""Search: what a person types becomes what it may mean, the best first, by kind."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal, TypedDict

from flexportd.core.documents import FOR_CUSTOMERS
from flexportd.core.folding import fold, found_at
from flexportd.core.references import KINDS, NUMBERS, OURS_ALONE, Kind
from flexportd.storage.audiences import Audience
from flexportd.storage.listing import Page
from flexportd.storage.resources import Key
from flexportd.storage.search import KIND_BITS, Held, IndexState, Search, Sought, ids_of
from flexportd.storage.session import Session
from flexportd.storage.trigrams import is_short

Match = Literal["exact", "prefix", "part"]

LONGEST_TEXT = 1000  # characters that are read of what was typed
_AT_ONCE = 200  # entries of what was found that are looked at in one go
_A_FEW = 32  # the same of one kind, where there are very many
_MOST = 1000  # entries of one kind that are looked at in all
_MATCHES: tuple[Match, ...] = ("exact", "prefix", "part")


class Hit(TypedDict):
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


class Group(TypedDict):
    """The results of one kind: exact matches first, then prefixes, then other matches.

    Among equals, the last updated is first. `more`: there are, or may be, more results.
    """

    kind: Kind
    more: bool
    hits: list[Hit]


class Found(TypedDict):
    """The result of a search. Kinds with better matches are first.

    `complete` is false while the index is being built and results may be missing. `as_of`: everything
    stored by then is in the index (on the daemon's clock; null before indexing starts). It changes with every
    shipment, and is null for a key limited to some shipments.
    """

    query: str
    data: list[Group]
    complete: bool
    as_of: str | None


def find(
    tx: Session, text: str, *, kinds: Iterable[Kind] | None = None, limit: int = 5, audience: Audience | None = None
) -> Found:
    """What this text may mean; at most `limit` objects of each kind.

    Case, blanks, punctuation and accents do not matter. A text of one or two characters finds what begins with it.
    Of a longer one than `folding.LONGEST` only so much counts. An audience finds what belongs to its shipments, and
    no freight invoices.
    """
    sought, state = fold(text[:LONGEST_TEXT]), tx.search.state()
    hidden = OURS_ALONE if audience is not None else frozenset()
    chosen = [NUMBERS[kind] for kind in KINDS if kind not in hidden and (kinds is None or kind in set(kinds))]
    groups: list[Group] = []
    if state is not None and sought and chosen:
        groups = _Finding(tx.search, state, sought, limit, audience).groups(chosen)
    return {
        "query": text,
        "data": groups,
        "complete": state is not None and state.is_whole,
        "as_of": state.at if state is not None and audience is None else None,
    }


def shipments_filter(tx: Session, text: str, *, audience: bool = False) -> tuple[str, tuple[Any, ...]] | None:
    """Which of `storage.search.FILTERS` gives a list the shipments with this text, and the values that it takes.

    It finds what `find` finds of a shipment, for everybody: freight invoices do not count, and for an `audience` no
    documents either, some of which it may not see. None while the index is not whole, and for a text of nothing but
    blanks and punctuation.
    """
    folded, state = fold(text[:LONGEST_TEXT]), tx.search.state()
    if state is None or not state.is_whole or not folded:
        return None
    hidden = OURS_ALONE | {"document"} if audience else OURS_ALONE
    kinds = [NUMBERS[kind] for kind in KINDS if kind not in hidden]
    return tx.search.filter_of(state.parts, Sought(folded, begins=is_short(folded)), kinds)


def by_index(tx: Session, page: Page) -> Page:
    """A page of shipments whose filter `q` asks the index where it can be asked; else as it was, which is slower."""
    asked = page.filters.get("q")
    found = None if asked is None else shipments_filter(tx, _text(asked[0]), audience="audience" in page.filters)
    if found is None:
        return page
    others = {name: values for name, values in page.filters.items() if name != "q"}
    return replace(page, filters={**others, found[0]: found[1]})


def _text(pattern: str) -> str:
    """What somebody typed, of the pattern for LIKE that was made of it."""
    return re.sub(r"\\(.)", r"\1", pattern.removeprefix("%").removesuffix("%"))


class _Finding:
    """One search."""

    def __init__(self, search: Search, state: IndexState, sought: str, limit: int, audience: Audience | None) -> None:
        self._search = search
        self._parts = state.parts
        self._sought = sought
        self._limit = limit
        self._audience = audience
        self._marks = "" if audience is None else audience.code
        self._hits: dict[int, dict[int, Held]] = {}  # by kind, by entry
        self._seen: Counter[int] = Counter()  # by kind, how many entries were looked at

    def groups(self, kinds: Sequence[int]) -> list[Group]:
        """What is rare is there at once; of what is common the best are asked for first."""
        ids = self._newest(self._anything, ids_of(kinds), _AT_ONCE)
        if len(ids) < _AT_ONCE:
            self._take(ids, kinds)
        else:
            self._walk(Sought(self._sought, begins=True, ends=True), kinds)
            self._walk(Sought(self._sought, begins=True), kinds)
            if not is_short(self._sought):
                self._walk(self._anything, kinds)
        found = [self._group(kind, self._hits[kind].values()) for kind in kinds if kind in self._hits]
        return sorted(found, key=lambda group: _MATCHES.index(group["hits"][0]["match"]))

    def _walk(self, sought: Sought, kinds: Sequence[int]) -> None:
        """Take the newest of each kind that has not enough, from the highest kind down."""
        most = max(_A_FEW, 4 * (self._limit + 1))  # an object may have several entries
        left, upto = [kind for kind in kinds if self._lacks(kind)], ids_of(kinds)[1]
        while left:
            first, last = ids_of(left)
            ids = self._newest(sought, (first, min(last, upto)), most)
            self._take(ids, left)
            if len(ids) < most:
                break
            upto = ids[-1] - 1
            left = [kind for kind in left if kind <= ids[-1] >> KIND_BITS and self._lacks(kind)]

    def _lacks(self, kind: int) -> bool:
        """Whether more of a kind is looked for: it has not too many yet, and not too much was in vain."""
        return self._objects(kind) <= self._limit and self._seen[kind] < _MOST

    def _newest(self, sought: Sought, ids: tuple[int, int], limit: int) -> list[int]:
        return self._search.newest(self._parts, sought, ids, limit, self._marks)

    @property
    def _anything(self) -> Sought:
        return Sought(self._sought, begins=is_short(self._sought))

    def _take(self, ids: Sequence[int], kinds: Sequence[int]) -> None:
        for hit in self._search.hits(ids, kinds, self._audience, FOR_CUSTOMERS):
            self._seen[hit.kind] += 1  # what an audience may not see does not count: so it learns nothing of that
            if self._sought in hit.folded:  # of long texts the index tells what may hold them
                self._hits.setdefault(hit.kind, {})[hit.entry] = hit

    def _objects(self, kind: int) -> int:
        return len({hit.object for hit in self._hits.get(kind, {}).values()})

    def _group(self, kind: int, hits: Iterable[Held]) -> Group:
        """Each object once, by its best entry."""
        best: dict[int, Held] = {}
        for hit in sorted(hits, key=lambda hit: (_MATCHES.index(self._match(hit)), -hit.entry)):
            best.setdefault(hit.object, hit)
        shown = [self._shown(hit) for hit in list(best.values())[: self._limit]]
        return {"kind": KINDS[kind - 1], "more": len(best) > self._limit or self._seen[kind] >= _MOST, "hits": shown}

    def _match(self, hit: Held) -> Match:
        if hit.folded == self._sought:
            return "exact"
        return "prefix" if hit.folded.startswith(self._sought) else "part"

    def _shown(self, hit: Held) -> Hit:
        start, length = found_at(hit.value, self._sought)
        return {
            "resource": hit.resource,
            "id": hit.key,
            "shipment_id": hit.shipment_id,
            "title": hit.title,
            "field": hit.field,
            "value": hit.value,
            "match": self._match(hit),
            "start": start,
            "length": length,
            "removed_at": hit.removed_at,
        }
