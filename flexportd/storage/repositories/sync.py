"""The sync: runs with their receipts, the state of each list, and objects that are missing from it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from flexportd.storage.queries.filters import word
from flexportd.storage.queries.list_query import ListQuery, PageRequest
from flexportd.storage.queries.table import Key, Table
from flexportd.storage.statements import Repository, json_text


class Run(msgspec.Struct, frozen=True):
    """One run of a sync."""

    id: int
    kind: str
    cause: str
    state: str
    started_at: str
    ended_at: str | None
    reason: str | None


RUNS = ListQuery(
    table="sync_runs",
    columns=Run.__struct_fields__,
    key="id",
    sorts={"id": "id"},
    filters={
        "state": word("state", "running", "complete", "held", "failed"),
        "kind": word("kind", "full", "incremental"),
    },
)


class Receipt(msgspec.Struct, frozen=True):
    """The counts of one resource in one run. `skips` is JSON: reason -> how many."""

    run_id: int
    resource: str
    state: str
    as_of: str | None
    started_at: str | None
    ended_at: str | None
    next_page: int
    first_total: int | None
    total: int | None
    objects: int
    unchanged: int
    changed: int
    new: int
    skipped: int
    failed: int
    skips: str
    missing: int
    removed: int
    requests: int
    bytes: int
    reason: str | None


class PageCounts(msgspec.Struct, frozen=True):
    """What one page adds to its receipt; `total` is the length of the whole list according to Flexport."""

    page: int
    as_of: str
    total: int | None
    keys: Sequence[Key]
    unchanged: int
    changed: int
    new: int
    skips: Mapping[str, int]
    failed: int
    bytes: int

    @property
    def skipped(self) -> int:
        """How many objects were skipped, for any reason."""
        return sum(self.skips.values())

    @property
    def objects(self) -> int:
        """How many objects the page had."""
        return self.unchanged + self.changed + self.new + self.skipped + self.failed


class ListState(msgspec.Struct, frozen=True):
    """The state of one resource's list."""

    resource: str
    floor: str | None = None
    complete_at: str | None = None
    total: int | None = None
    requests: int | None = None
    incremental_since: str | None = None
    filter_refused_at: str | None = None
    unavailable_at: str | None = None
    unavailable_reason: str | None = None


class Sync(Repository):
    """Reads and writes the `sync_…` tables."""

    family = "sync"

    def begin(self, kind: str, cause: str, at: str, resources: Iterable[str]) -> int:
        """Begin a run that will read these resources; its id."""
        run_id = self._run("begin", kind, cause, at).lastrowid or 0
        self._raw.executemany(self._sql["add_receipt"], [(run_id, resource) for resource in resources])
        return run_id

    def running(self, kind: str) -> Run | None:
        """The run of a kind that has not ended."""
        return self._one(Run, "running", kind)

    def last(self, kind: str) -> Run | None:
        """The last run of a kind that has ended."""
        return self._one(Run, "last", kind)

    def first_complete(self, kind: str, since: str) -> Run | None:
        """The first complete run of a kind that began at a time or later."""
        return self._one(Run, "first_complete", kind, since)

    def run(self, run_id: int) -> Run | None:
        """One run."""
        return self._one(Run, "run", run_id)

    def runs(self, page: PageRequest) -> list[dict[str, Any]]:
        """One page of runs."""
        return RUNS.read(self._raw, page)

    def receipts(self, run_id: int) -> list[Receipt]:
        """The receipts of one run, by name."""
        return self._all(Receipt, "receipts", run_id)

    def receipt(self, run_id: int, resource: str) -> Receipt:
        """One receipt, which must exist."""
        return Receipt(*self._run("receipt", run_id, resource).fetchone())

    def start(self, run_id: int, resource: str, at: str) -> None:
        """Begin to read a resource from its first page."""
        self._run("start_receipt", run_id, resource, at)
        self._run("delete_pages", run_id, resource)

    def finish_page(self, run_id: int, resource: str, counts: PageCounts) -> None:
        """Add the counts of a page, in the transaction of its effects."""
        skips = self.receipt(run_id, resource).skips
        if counts.skips:
            sums: dict[str, int] = msgspec.json.decode(skips)
            for why, count in counts.skips.items():
                sums[why] = sums.get(why, 0) + count
            skips = json_text(sums)
        self._run(
            "add_page", run_id, resource, counts.page + 1, counts.as_of, counts.total, counts.objects, counts.unchanged,
            counts.changed, counts.new, counts.skipped, counts.failed, skips, counts.bytes,
        )  # fmt: skip
        self._run("add_page_ids", run_id, resource, counts.page, json_text(counts.keys))

    def end_receipt(self, run_id: int, resource: str, at: str, end: "ReceiptEnd") -> None:
        """End the receipt of a resource; the keys of its pages are deleted."""
        self._run("end_receipt", run_id, resource, end.state, at, end.reason, end.missing, end.removed)
        self._run("delete_pages", run_id, resource)

    def end_run(self, run_id: int, state: str, at: str, reason: str | None) -> None:
        """End a run."""
        self._run("end_run", run_id, state, at, reason)

    def delete_old_runs(self, kind: str, keep: int, most: int) -> int:
        """Delete the oldest ended runs beyond `keep`, at most so many; how many."""
        deleted = self._run("old_runs", kind, keep, most).rowcount
        if deleted:
            self._run("old_receipts")
        return deleted

    def confirmed_at(self) -> dict[str, str]:
        """Resource -> Flexport's time at which all its objects were last found to be as stored."""
        return dict(self._run("confirmed_at").fetchall())

    def list_states(self) -> dict[str, ListState]:
        """The state of every list that was ever read, by resource."""
        return {state.resource: state for state in self._all(ListState, "resources")}

    def mark_complete(self, receipt: Receipt, at: str) -> None:
        """Note that a list was read completely."""
        self._run("add_resource", receipt.resource)
        self._run("record_complete", receipt.resource, receipt.as_of, at, receipt.total, receipt.next_page - 1)

    def set_incremental_since(self, resource: str, since: str) -> None:
        """Note that changes were read up to this time of Flexport's."""
        self._run("add_resource", resource)
        self._run("record_incremental", resource, since)

    def set_filter_refused(self, resource: str, at: str | None) -> None:
        """Note when Flexport was seen to ignore the filter on update time; None: it honours it."""
        self._run("add_resource", resource)
        self._run("record_filter_refused", resource, at)

    def mark_unavailable(self, resource: str, at: str, reason: str) -> None:
        """Note that the account may not read this list."""
        self._run("add_resource", resource)
        self._run("record_unavailable", resource, at, reason)

    def missing(self, table: Table, run_id: int, floor: str, known_before: str) -> list[Key]:
        """The live objects known before this run that none of its pages had."""
        sql = (
            f"SELECT id FROM {table.name} WHERE removed_at IS NULL AND as_of < ? AND first_seen_at < ? "  # noqa: S608
            "AND id NOT IN (SELECT j.value FROM sync_pages p, json_each(p.keys) j "
            "WHERE p.run_id = ? AND p.resource = ?)"
        )
        return [row[0] for row in self._raw.execute(sql, (floor, known_before, run_id, table.name))]

    def count_live(self, table: Table) -> int:
        """How many objects of a resource exist."""
        return int(self._raw.execute(f"SELECT count(*) FROM {table.name} WHERE removed_at IS NULL").fetchone()[0])  # noqa: S608

    def seen_keys(self, run_id: int, resource: str) -> set[Key]:
        """Every id that the pages of a run had so far."""
        return set(self._first_column("seen", run_id, resource))

    def has_missing(self, resource: str) -> bool:
        """Whether anything of this resource is missing."""
        return self._run("any_missing", resource).fetchone() is not None

    def clear_seen(self, run_id: int, resource: str) -> None:
        """Objects that this run has seen are not missing."""
        self._run("clear_missing", run_id, resource)

    def add_missing(self, resource: str, keys: Sequence[Key], as_of: str) -> None:
        """Note that a complete run did not have these."""
        self._raw.executemany(self._sql["add_missing"], [(resource, key, as_of) for key in keys])

    def hold(self, resource: str, keys: Sequence[Key], as_of: str) -> None:
        """Keep these until a person decides whether they are removed."""
        self._raw.executemany(self._sql["hold"], [(resource, key, as_of) for key in keys])

    def release(self, resource: str) -> None:
        """Nothing of this resource waits for a person."""
        self._run("release", resource)

    def missing_for(self, resource: str, passes: int) -> list[Key]:
        """The objects that so many complete runs did not have."""
        return self._first_column("missing_objects", resource, passes)

    def held_keys(self, resource: str, limit: int) -> list[Key]:
        """The objects that wait for a person."""
        return self._first_column("held", resource, limit)

    def held_counts(self) -> dict[str, tuple[int, str]]:
        """Resource -> how many of its objects wait for a person, and since which time of Flexport's."""
        return {resource: (count, since) for resource, count, since in self._run("held_counts")}

    def clear_missing(self, resource: str, keys: Sequence[Key]) -> None:
        """These exist, or are known to be removed: nothing waits."""
        self._run("delete_missing", resource, json_text(keys))


class ReceiptEnd(msgspec.Struct, frozen=True):
    """How a resource ended in a run."""

    state: str
    reason: str | None = None
    missing: int = 0
    removed: int = 0
