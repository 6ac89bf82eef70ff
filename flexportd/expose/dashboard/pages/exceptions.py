"""The page of the exceptions: what stands, the worst and the longest first; and how it is told on other pages."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

import msgspec

from flexportd.core.exceptions.model import SEVERITIES
from flexportd.core.exceptions.sentences import TITLES, sentence, title
from flexportd.core.resources.resource_type import MAX_ID_LENGTH
from flexportd.core.resources.shipments import TABLE
from flexportd.escape import escape_control
from flexportd.expose.api.list_endpoint import Filters
from flexportd.expose.dashboard.view.dates import DateText, RelativeTime, ViewContext, count
from flexportd.expose.dashboard.view.labels import Text, text
from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.repositories.exceptions import ExceptionRow
from flexportd.storage.transaction import Transaction

MOST = 200  # of one severity on the page
_LONGEST = 240  # characters of a sentence

_TONES: Mapping[str, Literal["bad", "warn", "plain"]] = {"critical": "bad", "warning": "warn", "notice": "plain"}
_HEADINGS = {"critical": "Critical", "warning": "Warnings", "notice": "Notices"}
_ABOUT = {
    "critical": "Costing money or blocked now",
    "warning": "Off plan",
    "notice": "Worth a look",
}

Counts = Sequence[tuple[str, str, int]]


@dataclass(frozen=True, slots=True)
class ExceptionListRow:
    """One open exception; `url` leads to what it concerns."""

    title: str
    tone: Literal["bad", "warn", "plain"]
    told: Text
    opened: RelativeTime | None
    name: Text
    label: Text | None
    url: str
    page_url: str


@dataclass(frozen=True, slots=True)
class SeverityGroup:
    """Those of one severity, cut, with how many there are."""

    word: str
    title: str
    about: str
    total: str
    rows: tuple[ExceptionListRow, ...]
    all_url: str | None


@dataclass(frozen=True, slots=True)
class ExceptionsPage:
    """Everything the page shows; `watched` are the kinds that are looked for."""

    total: str
    groups: tuple[SeverityGroup, ...]
    watched: tuple[str, ...]
    is_complete: bool
    as_of: DateText | None


@dataclass(frozen=True, slots=True)
class ExceptionsData:
    """The open exceptions of each severity, one more than are shown if others follow; their shipments' names."""

    rows: Mapping[str, Sequence[ExceptionRow]]
    counts: Counts
    names: Mapping[int, str | None]
    as_of: str | None = None
    """When the newest of all shipments was updated at Flexport."""


@dataclass(frozen=True, slots=True)
class OpenCounts:
    """How many are open, in words for the overview."""

    total: int
    is_bad: bool
    detail: str


def read(tx: Transaction) -> ExceptionsData:
    """What stands, in one snapshot."""
    rows: dict[str, Sequence[ExceptionRow]] = {
        severity: tx.exceptions.open_of_severity(severity, MOST + 1) for severity in SEVERITIES
    }
    return ExceptionsData(rows, tx.exceptions.counts(), _names(tx, rows), tx.resources.newest_as_of(TABLE))


def read_visible(tx: Transaction, filters: Filters, shown: Callable[[int], int]) -> ExceptionsData:
    """What stands among those that these filters of the list let through, with the numbers that `shown` gives them."""
    rows, counts = dict[str, Sequence[ExceptionRow]](), list[tuple[str, str, int]]()
    for severity in SEVERITIES:
        asked = {"severity": (msgspec.json.encode([severity]).decode(),), "open": (), **filters}
        page = tx.exceptions.rows(PageRequest(MOST + 1, "since", descending=False, filters=asked))
        rows[severity] = [msgspec.structs.replace(row, id=shown(row.id)) for row in page]
        counts.append(("", severity, tx.exceptions.count(asked)))
    return ExceptionsData(rows, counts, _names(tx, rows))


def _names(tx: Transaction, rows: Mapping[str, Sequence[ExceptionRow]]) -> dict[int, str | None]:
    return names_of(
        tx, {row.shipment_id for several in rows.values() for row in several if row.shipment_id is not None}
    )


def names_of(tx: Transaction, shipments: set[int]) -> dict[int, str | None]:
    """The names of these shipments, those that are known."""
    return {int(key): one.fields["name"] for key, one in tx.resources.load(TABLE, sorted(shipments)).items()}


def exceptions_page(found: ExceptionsData, sight: ViewContext, *, is_complete: bool) -> ExceptionsPage:
    """What stands in words."""
    totals: dict[str, int] = {
        severity: sum(number for _, one, number in found.counts if one == severity) for severity in SEVERITIES
    }
    return ExceptionsPage(
        total=count(sum(totals.values()), "open exception"),
        groups=tuple(
            SeverityGroup(
                severity,
                _HEADINGS[severity],
                _ABOUT[severity],
                f"{totals[severity]:,}",
                tuple(exception_list_row(row, found.names, sight) for row in rows[:MOST]),
                f"/api/v1/exceptions?severity={severity}" if len(rows) > MOST else None,
            )
            for severity, rows in found.rows.items()
            if rows
        ),
        watched=tuple(TITLES.values()),
        is_complete=is_complete,
        as_of=sight.instant(found.as_of),
    )


def exception_list_row(row: ExceptionRow, names: Mapping[int, str | None], sight: ViewContext) -> ExceptionListRow:
    """One exception in words."""
    number = row.shipment_id
    is_here = number is not None and number in names
    path = quote(row.resource.replace("_", "-"), safe="")
    evidence = f"/exceptions/{row.id}"
    about = f"/{path}/{quote(row.resource_id, safe='')}" if len(row.resource_id) <= MAX_ID_LENGTH else evidence
    name = f"FLEX-{number}" if number is not None else str(row.evidence.get("name") or row.resource_id)
    told = text(f"{sentence(row.kind, row.evidence, lambda stored: _day(stored, sight))}.", _LONGEST)
    return ExceptionListRow(
        title=escape_control(title(row.kind), 60),
        tone=_TONES.get(row.severity, "plain"),
        told=told or Text(""),
        opened=sight.ago(row.since),
        name=text(name, 60) or Text(row.resource),
        label=text(names.get(number), 80) if number is not None else None,
        url=f"/shipments/{number}" if is_here else about,
        page_url=evidence,
    )


def _day(stored: str | None, sight: ViewContext) -> str:
    found = sight.calendar_day(stored)
    return "an unknown date" if found is None else found.text


def shipment_exceptions(rows: Sequence[ExceptionRow], sight: ViewContext) -> tuple[ExceptionListRow, ...]:
    """Those of one shipment, the worst first."""
    order: dict[str, int] = {severity: place for place, severity in enumerate(SEVERITIES)}
    ranked = sorted(rows, key=lambda row: (order.get(row.severity, 9), row.since, row.id))
    return tuple(exception_list_row(row, {}, sight) for row in ranked)


def count_open(counts: Counts) -> OpenCounts:
    """How many are open, by severity."""
    found = {severity: sum(number for _, one, number in counts if one == severity) for severity in SEVERITIES}
    words = [
        f"{number:,} critical" if severity == "critical" else count(number, severity)
        for severity, number in found.items()
        if number
    ]
    return OpenCounts(sum(found.values()), bool(found["critical"]), ", ".join(words) or "No open exceptions")
