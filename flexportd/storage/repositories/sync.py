"""The books of the sync: runs with their receipts, what is known of each list, and what went missing from it."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from flexportd.storage.named_sql import queries
from flexportd.storage.queries.filters import word
from flexportd.storage.queries.list_query import ListQuery, PageRequest
from flexportd.storage.queries.table import Key, Table

RUN_COLUMNS = ("id", "kind", "cause", "state", "started_at", "ended_at", "reason")
RUNS = ListQuery(
    table="sync_runs",
    columns=RUN_COLUMNS,
    key="id",
    sorts={"id": "id"},
    filters={
        "state": word("state", "running", "complete", "held", "failed"),
        "kind": word("kind", "full", "incremental"),
    },
)


class Run(msgspec.Struct, frozen=True):
    """One run of a sync."""

    id: int
    kind: str
    cause: str
    state: str
    started_at: str
    ended_at: str | None
    reason: str | None


class Receipt(msgspec.Struct, frozen=True):
    """The books of one resource in one run. `skips` is JSON: why -> how many."""

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
    """What one page adds to its receipt; `total` is what Flexport says the whole list holds."""

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
        """How many objects were left out, for whatever reason."""
        return sum(self.skips.values())

    @property
    def objects(self) -> int:
        """How many rows the page held."""
        return self.unchanged + self.changed + self.new + self.skipped + self.failed


class ListState(msgspec.Struct, frozen=True):
    """What is known of one resource's list."""

    resource: str
    floor: str | None = None
    complete_at: str | None = None
    total: int | None = None
    requests: int | None = None
    incremental_since: str | None = None
    filter_refused_at: str | None = None
    unavailable_at: str | None = None
    unavailable_reason: str | None = None


class Sync:
    """Reads and writes the `sync_…` tables."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw
        self._sql = queries("sync")

    # --- runs and receipts ---

    def begin(self, kind: str, cause: str, at: str, resources: Iterable[str]) -> int:
        """A new run that will read these resources; its number."""
        run_id = self._raw.execute(self._sql["begin"], (kind, cause, at)).lastrowid or 0
        self._raw.executemany(self._sql["expect"], [(run_id, resource) for resource in resources])
        return run_id

    def running(self, kind: str) -> Run | None:
        """The run of a kind that has not ended."""
        return self._run("running", kind)

    def last(self, kind: str) -> Run | None:
        """The last run of a kind that has ended."""
        return self._run("last", kind)

    def run(self, run_id: int) -> Run | None:
        """One run."""
        return self._run("run", run_id)

    def _run(self, name: str, value: Any) -> Run | None:
        row = self._raw.execute(self._sql[name], (value,)).fetchone()
        return None if row is None else Run(*row)

    def runs(self, page: PageRequest) -> list[dict[str, Any]]:
        """One page of runs."""
        return RUNS.read(self._raw, page)

    def receipts(self, run_id: int) -> list[Receipt]:
        """The receipts of one run, by name."""
        return [Receipt(*row) for row in self._raw.execute(self._sql["receipts"], (run_id,))]

    def receipt(self, run_id: int, resource: str) -> Receipt:
        """One receipt, which must exist."""
        return Receipt(*self._raw.execute(self._sql["receipt"], (run_id, resource)).fetchone())

    def start(self, run_id: int, resource: str, at: str) -> None:
        """A resource is read from its first page."""
        self._raw.execute(self._sql["start"], (run_id, resource, at))
        self._raw.execute(self._sql["drop_pages"], (run_id, resource))

    def finish_page(self, run_id: int, resource: str, counts: PageCounts) -> None:
        """One page is behind us, in the transaction of its effects."""
        skips = self.receipt(run_id, resource).skips
        if counts.skips:
            sums: dict[str, int] = msgspec.json.decode(skips)
            for why, count in counts.skips.items():
                sums[why] = sums.get(why, 0) + count
            skips = msgspec.json.encode(sums).decode()
        values = (
            run_id, resource, counts.page + 1, counts.as_of, counts.total, counts.objects, counts.unchanged,
            counts.changed, counts.new, counts.skipped, counts.failed, skips, counts.bytes,
        )  # fmt: skip
        self._raw.execute(self._sql["page"], values)
        keys = msgspec.json.encode(counts.keys).decode()
        self._raw.execute(self._sql["keys"], (run_id, resource, counts.page, keys))

    def end_receipt(self, run_id: int, resource: str, at: str, end: "ReceiptEnd") -> None:
        """How a resource ended; its pages are forgotten."""
        values = (run_id, resource, end.state, at, end.reason, end.missing, end.removed)
        self._raw.execute(self._sql["end_receipt"], values)
        self._raw.execute(self._sql["drop_pages"], (run_id, resource))

    def end_run(self, run_id: int, state: str, at: str, reason: str | None) -> None:
        """How a run ended."""
        self._raw.execute(self._sql["end_run"], (run_id, state, at, reason))

    def delete_old_runs(self, kind: str, keep: int, most: int) -> int:
        """Delete the oldest ended runs beyond `keep`, at most so many; how many."""
        gone = self._raw.execute(self._sql["old_runs"], (kind, keep, most)).rowcount
        if gone:
            self._raw.execute(self._sql["old_receipts"])
        return gone

    # --- lists ---

    def confirmed_at(self) -> dict[str, str]:
        """Resource -> Flexport's time at which all its objects were last found as we have them."""
        return dict(self._raw.execute(self._sql["floors"]).fetchall())

    def list_state(self, resource: str) -> ListState:
        """What is known of a list."""
        row = self._raw.execute(self._sql["resource"], (resource,)).fetchone()
        return ListState(resource) if row is None else ListState(*row)

    def list_states(self) -> dict[str, ListState]:
        """What is known of every list that was ever read."""
        return {row[0]: ListState(*row) for row in self._raw.execute(self._sql["resources"])}

    def mark_complete(self, receipt: Receipt, at: str) -> None:
        """The list was read whole, and the books close."""
        self._ensure_row(receipt.resource)
        pages = receipt.next_page - 1
        self._raw.execute(self._sql["completed"], (receipt.resource, receipt.as_of, at, receipt.total, pages))

    def set_incremental_since(self, resource: str, since: str) -> None:
        """Changes were read up to this time of Flexport's."""
        self._ensure_row(resource)
        self._raw.execute(self._sql["caught_up"], (resource, since))

    def set_filter_refused(self, resource: str, at: str | None) -> None:
        """Flexport was seen to ignore the filter on update time; None: it honours it."""
        self._ensure_row(resource)
        self._raw.execute(self._sql["refused"], (resource, at))

    def mark_unavailable(self, resource: str, at: str, reason: str) -> None:
        """The account may not read this list."""
        self._ensure_row(resource)
        self._raw.execute(self._sql["unavailable"], (resource, at, reason))

    def _ensure_row(self, resource: str) -> None:
        self._raw.execute(self._sql["know"], (resource,))

    # --- what went missing ---

    def missing(self, table: Table, run_id: int, floor: str, known_before: str) -> list[Key]:
        """The live objects known before this pass that none of its pages held."""
        sql = (
            f"SELECT id FROM {table.name} WHERE removed_at IS NULL AND as_of < ? AND first_seen_at < ? "  # noqa: S608
            "AND id NOT IN (SELECT j.value FROM sync_pages p, json_each(p.keys) j "
            "WHERE p.run_id = ? AND p.resource = ?)"
        )
        values = (floor, known_before, run_id, table.name)
        return [row[0] for row in self._raw.execute(sql, values)]

    def count_live(self, table: Table) -> int:
        """How many objects of a resource are there."""
        return int(self._raw.execute(f"SELECT count(*) FROM {table.name} WHERE removed_at IS NULL").fetchone()[0])  # noqa: S608

    def seen_keys(self, run_id: int, resource: str) -> set[Key]:
        """Every id that the pages of a pass held so far."""
        return {row[0] for row in self._raw.execute(self._sql["seen"], (run_id, resource))}

    def has_missing(self, resource: str) -> bool:
        """Whether anything of this resource is missing."""
        return self._raw.execute(self._sql["any_missing"], (resource,)).fetchone() is not None

    def clear_seen(self, run_id: int, resource: str) -> None:
        """What this pass has seen is not missing."""
        self._raw.execute(self._sql["seen_again"], (run_id, resource))

    def add_missing(self, resource: str, keys: Sequence[Key], as_of: str) -> None:
        """A complete pass did not have these."""
        self._raw.executemany(self._sql["missed"], [(resource, key, as_of) for key in keys])

    def hold(self, resource: str, keys: Sequence[Key], as_of: str) -> None:
        """These would vanish, and a person decides."""
        self._raw.executemany(self._sql["hold"], [(resource, key, as_of) for key in keys])

    def release(self, resource: str) -> None:
        """Nothing of this resource waits for a person any more."""
        self._raw.execute(self._sql["release"], (resource,))

    def missing_for(self, resource: str, passes: int) -> list[Key]:
        """What so many complete passes did not have."""
        return [row[0] for row in self._raw.execute(self._sql["gone"], (resource, passes))]

    def held_keys(self, resource: str, limit: int) -> list[Key]:
        """What waits for a person."""
        return [row[0] for row in self._raw.execute(self._sql["held"], (resource, limit))]

    def held_counts(self) -> dict[str, tuple[int, str]]:
        """Resource -> how many of its objects wait for a person, and since which time of Flexport's."""
        return {row[0]: (row[1], row[2]) for row in self._raw.execute(self._sql["held_counts"])}

    def clear_missing(self, resource: str, keys: Sequence[Key]) -> None:
        """These are there, or are known to be gone: nothing waits."""
        self._raw.execute(self._sql["found"], (resource, msgspec.json.encode(keys).decode()))


class ReceiptEnd(msgspec.Struct, frozen=True):
    """How a resource ended in a run."""

    state: str
    reason: str | None = None
    missing: int = 0
    removed: int = 0
