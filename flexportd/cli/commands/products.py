"""`flexportd products push`: a file of products to Flexport, by SKU."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flexportd.cli.client import DaemonClient
from flexportd.cli.command import daemon_command
from flexportd.cli.exit_codes import Exit
from flexportd.cli.format import count_of, tally
from flexportd.cli.output import Output
from flexportd.cli.progress import ProgressLine, show_progress
from flexportd.cli.render import text
from flexportd.errors import InvalidError
from flexportd.escape import csv_cell

if TYPE_CHECKING:
    from flexportd.cli.product_push import ProductPush, RowResult

_REPORT_COLUMNS = ("row", "sku", "action", "operation_id", "outcome", "error")
_INTERRUPTED = (
    "The operations that were created continue. Push the file again to do the rest and to see their outcomes."
)


def add_to(group: click.Group) -> None:
    """Add the command to the group `products`."""
    group.add_command(push)


@click.command()
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--yes", is_flag=True, help="Send it to Flexport; without it, only show what would change.")
@click.option("--dry-run", is_flag=True, help="Only show what would change: the default on a terminal.")
@click.option("--skip-bad", is_flag=True, help="Skip invalid rows; without it, one invalid row keeps back all.")
@click.option("--wait/--no-wait", default=True, help="Wait for the outcomes (default), or only create the operations.")
@click.option(
    "--report", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Write a CSV file (mode 0600): row, sku, action, operation, outcome, error.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Replace an existing report.")
@daemon_command
def push(
    daemon: DaemonClient,
    out: Output,
    path: Path,
    *,
    yes: bool,
    dry_run: bool,
    skip_bad: bool,
    wait: bool,
    report: Path | None,
    force: bool,
) -> int | None:
    """Create or change products by SKU, from a .csv, .json or .ndjson file.

    Rows that Flexport has already are unchanged, so an interrupted push is continued by doing it again. Exit 1 if a
    row failed or its outcome is unknown, 2 if rows are invalid. --json prints one line per row.

    \b
    Columns of a CSV file, separated by comma, semicolon or tab:
      sku                required
      name, description, product_category, country_of_origin
      client_verified    true or false
      hs_code:REGION     hs_code:US, hs_code:EU; several codes: 9405.42|9405.11
      property:TYPE      property:material
      suppliers          REF:COUNTRY, several: acme:CN|zoomit:VN

    An empty cell leaves the field as it is. HS codes, properties and suppliers replace those of the product, so give
    all of them. JSON has the bodies of Flexport's POST /products: an array, or one object per line.
    """  # noqa: D301 (\b is click's)
    from flexportd.cli.product_push import ProductPush
    from flexportd.core.outbox.product_file import FORMATS, ProductFile

    context = click.get_current_context()
    if yes and dry_run:
        raise click.UsageError("Specify one of --yes and --dry-run.", context)
    if not (yes or dry_run or out.terminal):
        raise click.UsageError("Specify --yes to send it, or --dry-run: standard output is no terminal.", context)
    file_format = FORMATS.get(path.suffix.lower())
    if file_format is None:
        raise InvalidError(f"{path} has no known format; its name must end in {', '.join(FORMATS)}")
    if report is not None and report.exists() and report.samefile(path):
        raise InvalidError(f"--report is {report}, the file with the products")
    with path.open("rb") as stream:
        pushed = _Push(ProductPush(daemon, ProductFile(stream, file_format)), out, report, replace=force)
        if not yes:
            return pushed.preview(is_refusing=not skip_bad)
        if not skip_bad:
            pushed.check()
        return pushed.send(is_waiting=wait, is_refusing=not skip_bad)


class _Push:
    """One run of the command: prints the rows, counts them, and writes the report."""

    def __init__(self, push: "ProductPush", out: Output, report: Path | None, *, replace: bool) -> None:
        self._push = push
        self._out = out
        self._report = report
        self._replace = replace
        self._counts: Counter[str] = Counter()
        self._failed = 0

    def preview(self, *, is_refusing: bool) -> int | None:
        """Print what would change."""
        self._consume(self._printed(self._push.preview(), _preview_line))
        self._summarise("Nothing was sent; use --yes to send it.")
        return Exit.USAGE if self._is_refused(is_refusing=is_refusing) else None

    def _is_refused(self, *, is_refusing: bool) -> bool:
        """Whether invalid rows keep the file from being pushed; also if there are no others."""
        invalid = self._counts["invalid"]
        return invalid > 0 and (is_refusing or invalid == self._counts.total())

    def check(self) -> None:
        """Raise InvalidError if a row is invalid, after printing those that are."""
        with show_progress("Nothing was sent.") as progress:
            invalid = (result for result in self._checked(progress) if result.action == "invalid")
            first = next(invalid, None)
        if first is None:
            return
        self._consume(self._printed(self._push.preview(), _invalid_line))
        self._summarise("")
        error = InvalidError(f"{count_of(self._counts['invalid'], 'row')} invalid; nothing was sent")
        error.add_note("--skip-bad to send the others")
        raise error

    def _checked(self, progress: ProgressLine) -> "Iterator[RowResult]":
        for count, result in enumerate(self._push.preview(), 1):
            progress.show(f"{count_of(count, 'row')} checked")
            yield result

    def send(self, *, is_waiting: bool, is_refusing: bool) -> int | None:
        """Send the rows and print those that failed."""
        with show_progress(_INTERRUPTED) as progress:
            results = self._push.push(progress, is_waiting=is_waiting)
            self._consume(self._printed(results, _outcome_line, progress))
        self._summarise("")
        return Exit.FAILED if self._failed or self._is_refused(is_refusing=is_refusing) else None

    def _printed(
        self, results: "Iterable[RowResult]", line_of: Any, progress: ProgressLine | None = None
    ) -> "Iterator[RowResult]":
        for result in results:
            self._counts[result.outcome if result.outcome not in (None, "skipped") else result.action] += 1
            self._failed += result.has_failed
            line = line_of(result)
            if progress is not None and (line is not None or self._out.as_json):
                progress.clear()
            if self._out.as_json:
                self._out.json_line(json.dumps(asdict(result), ensure_ascii=False).encode("utf-8", "surrogatepass"))
            elif line is not None:
                self._out.line(line)
            yield result

    def _consume(self, results: "Iterator[RowResult]") -> None:
        from flexportd.cli.files import write_private

        if self._report is None:
            for _ in results:
                pass
        else:
            write_private(self._report, _report_lines(results), replace=self._replace)

    def _summarise(self, note: str) -> None:
        total = count_of(self._counts.total(), "row")
        sentence = f"{total}: {tally(self._counts)}."
        if self._out.as_json:
            self._out.note(sentence)
        else:
            self._out.line(sentence)
        if note:
            self._out.note(note)


def _preview_line(result: "RowResult") -> str | None:
    if result.action == "invalid":
        return _invalid_line(result)
    if result.action == "pending":
        return f"row {result.row}: {result.sku}: operation {result.operation_id} does it already"
    if result.action == "unchanged":
        return None
    changes = "; ".join(
        f"{one['field']}: {_value(one['old']) + ' → ' if result.action == 'update' else ''}{_value(one['new'])}"
        for one in result.changes
        if one["field"] != "sku"
    )
    return f"row {result.row}: {result.sku}: {result.action}: {changes}"


def _value(value: Any) -> str:
    """A value of a product in a few words."""
    if isinstance(value, list):
        return ", ".join(_value(one) for one in value) or "none"
    if isinstance(value, dict):
        return " ".join(_value(one) for name, one in value.items() if name != "_object") or "none"
    return text(value) or "none"


def _invalid_line(result: "RowResult") -> str | None:
    return f"row {result.row}: {result.error}" if result.action == "invalid" else None


def _outcome_line(result: "RowResult") -> str | None:
    if not result.has_failed:
        return _invalid_line(result)
    return f"row {result.row}: {result.sku}: operation {result.operation_id} {result.outcome}: {result.error or ''}"


def _report_lines(results: "Iterable[RowResult]") -> Iterator[bytes]:
    line = io.StringIO(newline="")
    writer = csv.writer(line)
    writer.writerow(_REPORT_COLUMNS)
    for result in results:
        writer.writerow(
            [csv_cell(str(value)) if (value := getattr(result, name)) is not None else "" for name in _REPORT_COLUMNS]
        )
        yield line.getvalue().encode("utf-8", "backslashreplace")
        line.seek(0)
        line.truncate()
