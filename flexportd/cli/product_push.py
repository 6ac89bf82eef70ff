"""The push of a product file: batches of rows, the operations that they need, and the outcome of each row."""

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flexportd.cli.client import DaemonClient
from flexportd.cli.progress import ProgressLine
from flexportd.cli.write_command import actor_header, is_under_way
from flexportd.core.outbox.product_file import ProductFile, ProductRow
from flexportd.errors import FlexportdError

BATCH_ROWS = 250
BATCH_SIZE = 4 * 2**20  # bytes; the daemon accepts bodies of 8 MiB
MAX_WAITING = 250  # operations that are under way before the next batch is created
MAX_HELD = 5000  # results that wait for an earlier row
IDS_PER_REQUEST = 50
POLL_INTERVAL = 0.5  # seconds
PATIENCE = 900.0  # seconds without any outcome; the look-ups of an unknown one take 12.5 minutes
_BAR = 20  # characters
_PAUSE_CHECK_EVERY = 40  # polls between checks for a paused queue


@dataclass(slots=True)
class RowResult:
    """What a row needs, and what became of it. `outcome` is a state of operations, `skipped`, or None: not sent."""

    row: int
    sku: str | None
    action: str
    operation_id: str | None = None
    outcome: str | None = None
    error: str | None = None
    changes: Sequence[Mapping[str, Any]] = ()

    @property
    def has_failed(self) -> bool:
        """Whether a person must look at it."""
        return self.outcome in ("failed", "unknown", "cancelled")


class ProductPush:
    """Pushes the rows of a file. The results are in the order of the rows, and few of them are held at a time."""

    def __init__(self, daemon: DaemonClient, file: ProductFile) -> None:
        self._daemon = daemon
        self._file = file
        self._waiting: dict[str, RowResult] = {}
        self._polls = itertools.count(1)
        self._read = 0  # rows so far

    def preview(self) -> Iterator[RowResult]:
        """What each row needs; nothing is sent. Raises the errors of the daemon."""
        for batch in _batches(self._file.rows()):
            yield from self._request(batch, is_dry_run=True)

    @property
    def progress(self) -> str:
        """How many rows are done: `[#####...............] 1,250 of 5,000 rows`."""
        done, total = self._read - len(self._waiting), self._file.count
        filled = _BAR * done // total
        under_way = f", {len(self._waiting):,} under way" if self._waiting else ""
        return f"[{'#' * filled}{'.' * (_BAR - filled)}] {done:,} of {total:,} rows{under_way}"

    def push(self, progress: ProgressLine, *, is_waiting: bool) -> Iterator[RowResult]:
        """Create the operations of the valid rows; with `is_waiting`, the results have the outcomes.

        Raises the errors of the daemon. A push that was interrupted is continued by doing it again.
        """
        held: deque[RowResult] = deque()
        self._read = 0
        for batch in _batches(self._file.rows()):
            held.extend(self._request(batch, is_dry_run=False))
            self._read += len(batch)
            if is_waiting:
                self._wait(progress, lambda: len(self._waiting) > MAX_WAITING or len(held) > MAX_HELD + BATCH_ROWS)
            else:
                self._waiting.clear()
            while held and not self._is_waiting(held[0]):
                yield held.popleft()
            progress.show(self.progress)
        self._wait(progress, lambda: bool(self._waiting))
        yield from held

    def _is_waiting(self, result: RowResult) -> bool:
        return result.operation_id in self._waiting

    def _request(self, batch: Sequence[ProductRow], *, is_dry_run: bool) -> list[RowResult]:
        sent = [row.body for row in batch if row.body is not None]
        planned: Iterator[dict[str, Any]] = iter(())
        if sent:
            body = {"rows": sent, "dry_run": is_dry_run}
            planned = iter(self._daemon.write("POST", "/products/push", body, actor_header()).document["rows"])
        return [self._result(row, None if row.body is None else next(planned), is_dry_run) for row in batch]

    def _result(self, row: ProductRow, plan: Mapping[str, Any] | None, is_dry_run: bool) -> RowResult:
        if plan is None:
            return RowResult(row.number, row.sku, "invalid", None, "skipped", "; ".join(row.problems))
        errors = "; ".join(f"{one['pointer'] or 'the row'}: {one['detail']}" for one in plan["errors"])
        outcome = "skipped" if errors else None
        result = RowResult(
            row.number, plan["sku"], plan["action"], plan["operation_id"], outcome, errors or None, plan["changes"]
        )
        if result.operation_id is not None and not is_dry_run:
            result.outcome = "pending"
            self._waiting[result.operation_id] = result
        return result

    def _wait(self, progress: ProgressLine, is_needed: Callable[[], bool]) -> None:
        """Wait for outcomes while that is needed, as long as there are any in time."""
        until = time.monotonic() + PATIENCE
        while is_needed() and self._waiting:
            ended = self._look()
            if ended:
                until = time.monotonic() + PATIENCE
            elif time.monotonic() >= until:
                self._waiting.clear()  # the results keep the last state that was seen
            if next(self._polls) % _PAUSE_CHECK_EVERY == 0 and self._daemon.get("/queue").document["paused"]:
                raise FlexportdError("The queue is paused; run `flexportd queue resume`, then push the file again")
            if is_needed():
                progress.show(self.progress)
                time.sleep(POLL_INTERVAL)

    def _look(self) -> int:
        """Read the states of what is under way; how many have ended."""
        before = len(self._waiting)
        ids = list(self._waiting)
        for start in range(0, len(ids), IDS_PER_REQUEST):
            part = ids[start : start + IDS_PER_REQUEST]
            found = self._daemon.get("/operations", id=",".join(part), limit=len(part)).document["data"]
            for operation in found:
                result = self._waiting[operation["id"]]
                result.outcome, result.error = operation["state"], operation["error"]
                if not is_under_way(operation):
                    del self._waiting[operation["id"]]
            for number in set(part) - {operation["id"] for operation in found}:
                result = self._waiting.pop(number)
                result.outcome, result.error = "unknown", "the operation is no longer stored"
        return before - len(self._waiting)


def _batches(rows: Iterator[ProductRow]) -> Iterator[list[ProductRow]]:
    batch: list[ProductRow] = []
    size = 0
    for row in rows:
        if len(batch) >= BATCH_ROWS or size + row.size > BATCH_SIZE:
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += row.size
    if batch:
        yield batch
