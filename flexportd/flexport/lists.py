"""The lists of version 2 of Flexport's API: paths, filters, pages, and how often to read each in full.

Sources: https://apidocs.flexport.com/v2 (one tag per resource, and the tags Versioning and Pagination) and responses
for a real account. No list has a cursor or a snapshot: an object that moves while the list is read can be repeated or
skipped, so an object that one pass lacks is not necessarily deleted.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from importlib import resources
from urllib.parse import parse_qs, urlsplit

import msgspec

from flexportd.flexport.errors import MalformedResponseError

PER_PAGE = 100  # the maximum; the real default is 10, not the documented 20


@dataclass(frozen=True, slots=True)
class ChangeFilter:
    """A filter for changed objects: the query parameter `since`, and the path of the field that it compares."""

    since: str
    member: tuple[str, ...]
    query: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ListSpec:
    """One list. `path/<id>` is one of its objects if `has_detail`; `of_shipment` is the filter by shipment."""

    path: str
    changes: tuple[ChangeFilter, ...] = ()
    of_shipment: str | None = None
    interval: timedelta = timedelta(0)  # each full sync
    has_detail: bool = True


LISTS = msgspec.json.decode(
    resources.files("flexportd.flexport").joinpath("lists.json").read_bytes(), type=dict[str, ListSpec]
)
"""Each list by the `_object` of its rows.

`last_updated_at` of an invoice is null until it is first adjusted: only both filters together find everything.
"""
EVENTS = "/events"
# All lists, and the other paths that take a write.
_PATHS = (
    *(spec.path for spec in LISTS.values()),
    EVENTS,
    "/booking_amendments",
    "/carbon_calculation",
    "/network/me/companies",
)


def path_template(path: str) -> str:
    """The list that a path belongs to, one of a bounded set of names; `other` for a path that is not documented."""
    return next((known for known in _PATHS if path == known or path.startswith(known + "/")), "other")


def page_query(query: Mapping[str, str], number: int) -> dict[str, str]:
    """The query of a page (from 1): always with `page` and `per`, even if a list is not documented to take them."""
    return {**query, "page": str(number), "per": str(PER_PAGE)}


def page_number(link: str) -> int | None:
    """The page that a `next` link leads to; None if it names none."""
    try:
        number = parse_qs(urlsplit(link).query).get("page", [""])[0]
    except ValueError:
        return None
    return int(number) if number.isascii() and number.isdigit() and len(number) < 10 else None


_MAX_REPEATED_PAGES = 3  # in a row without a new row: a list that moves while it is read repeats one page at most
_SLACK = 300  # rows that may be repeated, in addition to as many as there are
_MAX_ROWS = 2_000_000  # about 200 MB of ids


class Pagination:
    """Decides from the rows of each page, in order, whether a list goes on: pages may have any size, links may lie.

    Flexport may send fewer rows per page than requested, or a wrong total; the `next` of a documented sample leads back
    to page 1. `seen` are the ids of rows that were read before, `path` is for messages. `repeated` counts rows.
    """

    def __init__(self, path: str, seen: Iterable[Hashable] = ()) -> None:
        self._path = path
        self._seen = set(seen)
        self._repeated_pages = 0
        self._is_empty = True  # whether all pages without new rows were empty
        self.repeated = 0

    def add(self, ids: Sequence[Hashable]) -> frozenset[Hashable]:
        """Add the ids of one page; returns those that earlier pages had."""
        again = self._seen.intersection(ids)
        self.repeated += len(again)
        before = len(self._seen)
        self._seen.update(ids)
        if len(self._seen) > before:
            self._repeated_pages, self._is_empty = 0, True
        else:
            self._repeated_pages += 1
            self._is_empty = self._is_empty and not ids
        return frozenset(again)

    def is_complete(self, total: int | None) -> bool:
        """Whether all rows have been read, according to the list's own total."""
        return total is not None and total == len(self._seen)

    def has_more(self, total: int | None) -> bool:
        """Whether to request the page that the last one announces; `total` is the list's own total of its rows.

        Raises MalformedResponseError for an endless list.
        """
        endless = self._repeated_pages >= _MAX_REPEATED_PAGES
        if endless and (self._is_empty or self.is_complete(total)):
            return False
        if endless or self.repeated > len(self._seen) + _SLACK:
            of_total = "" if total is None else f" of {total}"
            raise MalformedResponseError(
                f"{self._path} goes on and repeats earlier pages: they held {len(self._seen)} different rows{of_total}"
            )
        if len(self._seen) > _MAX_ROWS:
            raise MalformedResponseError(f"{self._path} goes on after {len(self._seen)} rows")
        return True
