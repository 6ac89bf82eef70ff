"""Whether a list goes on: decided by the rows that came, since pages may be of any size and links may lie.

Flexport may give fewer rows a page than asked for, or say a wrong total
(https://apidocs.flexport.com/v2/tag/Pagination names neither). A sample's `next` leads back to page 1.
"""

from collections.abc import Hashable, Iterable, Sequence

from flexportd.flexport.errors import MalformedResponseError

_MAX_REPEATED_PAGES = 3  # pages in a row without a new row: a list that moves while it is read repeats a page at most
_SLACK = 300  # rows that may be repeated, beside as many as there are
_MAX_ROWS = 2_000_000  # about 200 MB of ids


class Pagination:
    """Takes the pages of one list in order. `seen` are the ids of rows that were read before, `path` is for messages.

    `repeated` counts rows that came again.
    """

    def __init__(self, path: str, seen: Iterable[Hashable] = ()) -> None:
        self._path = path
        self._seen = set(seen)
        self._without_news = 0
        self._is_empty = True  # whether all pages without news were
        self.repeated = 0

    def add(self, ids: Sequence[Hashable]) -> frozenset[Hashable]:
        """Take one page, given by its ids; those of them that earlier pages had."""
        again = self._seen.intersection(ids)
        self.repeated += len(again)
        before = len(self._seen)
        self._seen.update(ids)
        if len(self._seen) > before:
            self._without_news, self._is_empty = 0, True
        else:
            self._without_news += 1
            self._is_empty = self._is_empty and not ids
        return frozenset(again)

    def is_complete(self, total: int | None) -> bool:
        """Whether all rows are there that the list says it holds."""
        return total is not None and total == len(self._seen)

    def has_more(self, total: int | None) -> bool:
        """Whether to ask for the page that the last one says follows. Raises MalformedAnswerError for an endless list.

        `total` is how many rows the list says it holds.
        """
        endless = self._without_news >= _MAX_REPEATED_PAGES
        if endless and (self._is_empty or self.is_complete(total)):
            return False
        if endless or self.repeated > len(self._seen) + _SLACK:
            said = "" if total is None else f" of {total}"
            raise MalformedResponseError(
                f"{self._path} goes on and repeats earlier pages: they held {len(self._seen)} different rows{said}"
            )
        if len(self._seen) > _MAX_ROWS:
            raise MalformedResponseError(f"{self._path} goes on after {len(self._seen)} rows")
        return True
