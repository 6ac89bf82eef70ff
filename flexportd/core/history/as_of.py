"""Time travel: one object, or a list, as it was stored at an earlier time.

The changes in the history are reverted, so times are those at which we stored a state, not Flexport's. Flexport's own
JSON (`raw`) has no history.
"""

from collections.abc import Collection, Iterable
from typing import Any

from flexportd.core.resources import shipments
from flexportd.core.resources.resource_type import ResourceType
from flexportd.errors import InvalidError, NotFoundError, not_found
from flexportd.storage.queries.as_of import AsOfTable, Row
from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.queries.table import Key, Table
from flexportd.storage.transaction import Transaction


def check_includes(includes: Collection[str]) -> None:
    """Raises InvalidError for what is not available for the past."""
    for name in ("raw", "why"):
        if name in includes:
            kept = "Flexport's own JSON is" if name == "raw" else "causes are"
            why = f"include={name} cannot be combined with as_of: {kept} available only for the current state"
            raise InvalidError(why, "include")


def check_filters(table: Table, names: Iterable[str]) -> None:
    """Raises InvalidError for filters that depend on other tables, since these are known only as they are now."""
    allowed = {table.name, *(("shipment_references",) if table.name == shipments.TABLE.name else ())}
    for name in names:
        others = table.listing.filters[name].tables - allowed
        if others:
            tables = ", ".join(sorted(table.replace("_", " ") for table in others))
            parameter = name.removeprefix("not_")
            raise InvalidError(
                f"{parameter} cannot be combined with as_of: it depends on {tables}, available only as they are now",
                parameter,
            )


def object_as_of(tx: Transaction, domain: ResourceType, key: Key, at: str, now: str) -> Row:
    """An object's row as it was at `at`; both times are our stamps.

    `as_of`, `source` and `synced_at` are None where their history is no longer stored. Raises NotFoundError if the
    object was not known then, InvalidError if that time is not available.
    """
    _check(tx, at, now)
    row, first_seen_at = tx.past.object_at(domain.table, key, at, domain.derived)
    if first_seen_at is None:
        raise not_found(domain.label, key)
    if row is None:
        name = repr(key[:50]) if isinstance(key, str) else key
        raise NotFoundError(f"{domain.label} {name} was not known before {first_seen_at}")
    return row


class AsOfList:
    """A list as it was at `at`; both times are our stamps. It can be read page by page, and must be closed.

    Its filters must depend only on its own table, or the references of shipments.
    """

    def __init__(self, domain: ResourceType, table: Table, at: str, now: str) -> None:
        self.table = table
        self._at = at
        self._now = now
        references = shipments.references if domain.name == shipments.RESOURCE_TYPE.name else None
        self._as_of_table = AsOfTable(table, at, domain.derived, references)

    def prepare(self, tx: Transaction) -> None:
        """Revert later changes, before the first page is read. Raises InvalidError."""
        _check(tx, self._at, self._now)
        tx.past.prepare(self._as_of_table)

    def read(self, tx: Transaction, page: PageRequest) -> list[dict[str, Any]]:
        """One page, like `ListQuery.read`. Raises InvalidError for an unavailable time, or too many changes since."""
        _check(tx, self._at, self._now)
        return tx.past.page(self._as_of_table, page)

    def as_of(self, tx: Transaction) -> str | None:
        """The newest state of any object of the list; after `read`."""
        return tx.past.newest_as_of(self._as_of_table)

    def close(self) -> None:
        """Drop the reverted data; waits for a current read."""
        self._as_of_table.close()


def _check(tx: Transaction, at: str, now: str) -> None:
    if at > now:
        raise InvalidError(f"as_of is {at}, which is in the future; now it is {now}", "as_of")
    since = tx.changes.history_start()
    if since is not None and at < since:
        raise InvalidError(f"as_of is {at}; the history before {since} is no longer stored", "as_of")
