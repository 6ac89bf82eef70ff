"""What all repositories share, and the table `meta`."""

from typing import Any, ClassVar, TypeVar

from flexportd.storage.queries.list_query import ListQuery, PageRequest
from flexportd.storage.queries.stable_pagination import TableWithoutHistory
from flexportd.storage.statements import Repository, json_text
from flexportd.type_lock import decode_as

T = TypeVar("T")


class ListRepository(Repository):
    """A repository with a list; `movable` is its table if its rows move in the list."""

    listing: ClassVar[ListQuery]
    movable: ClassVar[TableWithoutHistory | None] = None

    def page(self, page: PageRequest) -> list[dict[str, Any]]:
        """One page of the list; in a stable order if the page has `snapshots`."""
        if page.snapshots is None or self.movable is None:
            return self.listing.read(self._raw, page)
        return page.snapshots.read(self._raw, self.movable, page)


class Meta(Repository):
    """Facts about the store itself, such as whether the queue is paused: name and value, both text."""

    family = "meta"

    def get(self, name: str) -> str | None:
        """The value, or None when it was never put."""
        return self._text("get", name)

    def put(self, name: str, value: str) -> None:
        """Set the value."""
        self._run("put", name, value)

    def load(self, name: str, kind: type[T]) -> T | None:
        """A value that is stored as JSON, or None if it was never saved."""
        text = self.get(name)
        return None if text is None else decode_as(text, kind)

    def save(self, name: str, value: Any) -> None:
        """Store a value as JSON."""
        self.put(name, json_text(value))


def plain_names(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of a join, whose columns are renamed to their names without tables."""
    return [{name.rpartition(" AS ")[2].rpartition(".")[2]: value for name, value in row.items()} for row in rows]
