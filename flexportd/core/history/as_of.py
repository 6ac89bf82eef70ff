"""What we knew at a time of ours: one object, or a list of them, as it would have been shown then.

Undone is what the history holds, so the times are those at which we stored a state, not those of Flexport. Flexport's
own JSON (`raw`) has no history.
"""

from collections.abc import Collection, Iterable
from typing import Any

from flexportd.core.resources import shipments
from flexportd.core.resources.resource_type import ResourceType
from flexportd.errors import InvalidError, NotFoundError
from flexportd.storage.queries.as_of import AsOfTable, Row
from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.queries.table import Key, Table
from flexportd.storage.transaction import Transaction


def check_includes(includes: Collection[str]) -> None:
    """Raises InvalidError for what cannot be shown of the past."""
    for name in ("raw", "why"):
        if name in includes:
            kept = "Flexport's own JSON is" if name == "raw" else "causes are"
            raise InvalidError(
                f"include={name} cannot be combined with as_of: {kept} available only for the current state", "include"
            )


def check_filters(table: Table, names: Iterable[str]) -> None:
    """Raises InvalidError for filters that look at more than the objects themselves: of the rest, only now is known."""
    allowed = {table.name, *(("shipment_references",) if table.name == shipments.TABLE.name else ())}
    for name in names:
        others = table.listing.filters[name].tables - allowed
        if others:
            told = ", ".join(sorted(one.replace("_", " ") for one in others))
            asked = name.removeprefix("not_")
            raise InvalidError(
                f"{asked} cannot be combined with as_of: it depends on {told}, available only as they are now", asked
            )


def object_as_of(tx: Transaction, domain: ResourceType, key: Key, at: str, now: str) -> Row:
    """An object's row as it was at `at`; both times are stamps of ours.

    `as_of`, `source` and `synced_at` are None where the history that would tell them is no longer kept. Raises
    NotFoundError for what was not known then, InvalidError for a time of which nothing can be told.
    """
    _check(tx, at, now)
    row, first_seen_at = tx.past.object_at(domain.table, key, at, domain.derived)
    if first_seen_at is None:
        raise NotFoundError(f"there is no {domain.label} {_quoted_id(key)}")
    if row is None:
        raise NotFoundError(f"{domain.label} {_quoted_id(key)} was not known before {first_seen_at}")
    return row


class AsOfList:
    """A list as it was at `at`; both times are stamps of ours. It may be read page by page, and must be closed.

    For lists whose filters ask only their own table, or the references of shipments.
    """

    def __init__(self, domain: ResourceType, table: Table, at: str, now: str) -> None:
        self.table = table
        self._at = at
        self._now = now
        references = shipments.references if domain.name == shipments.RESOURCE_TYPE.name else None
        self._as_of_table = AsOfTable(table, at, domain.derived, references)

    def prepare(self, tx: Transaction) -> None:
        """Roll back what was written since, before the first page is read. Raises InvalidError."""
        _check(tx, self._at, self._now)
        tx.past.prepare(self._as_of_table)

    def read(self, tx: Transaction, page: PageRequest) -> list[dict[str, Any]]:
        """One page, as `Listing.read` gives it. Raises InvalidError when it cannot be told or is too much."""
        _check(tx, self._at, self._now)
        return tx.past.page(self._as_of_table, page)

    def as_of(self, tx: Transaction) -> str | None:
        """The newest state that any object of the list had; asked after `read`."""
        return tx.past.newest_as_of(self._as_of_table)

    def close(self) -> None:
        """Forget what was rolled back; waits for a read that is under way."""
        self._as_of_table.close()


def _check(tx: Transaction, at: str, now: str) -> None:
    if at > now:
        raise InvalidError(f"as_of is {at}, which is yet to come; now it is {now}", "as_of")
    since = tx.changes.history_start()
    if since is not None and at < since:
        raise InvalidError(f"as_of is {at}; the history before {since} is no longer stored", "as_of")


def _quoted_id(key: Key) -> str:
    return repr(key[:50]) if isinstance(key, str) else str(key)
