"""Exceptions as rows of lists, and their counts by severity."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Literal
from urllib.parse import quote

from flexportd.core.exceptions.model import SEVERITIES
from flexportd.core.exceptions.sentences import sentence, title
from flexportd.core.resources.resource_type import MAX_ID_LENGTH
from flexportd.core.resources.shipments import TABLE
from flexportd.escape import escape_control
from flexportd.expose.dashboard.view.dates import ViewContext, count
from flexportd.expose.dashboard.view.labels import Text, text
from flexportd.storage.repositories.exceptions import ExceptionRow
from flexportd.storage.transaction import Transaction

_LONGEST = 240  # characters of a sentence

_TONES: Mapping[str, Literal["bad", "warn", "plain"]] = {"critical": "bad", "warning": "warn", "notice": "plain"}

Counts = Sequence[tuple[str, str, int]]
"""(kind, severity, number of open ones)."""


def by_severity(counts: Counts) -> dict[str, int]:
    """The number of open exceptions of each severity."""
    return {severity: sum(number for _, each, number in counts if each == severity) for severity in SEVERITIES}


def count_open(counts: Counts) -> tuple[int, bool, str]:
    """The number of open exceptions, whether any is critical, and a summary: `2 critical, 1 warning`."""
    numbers = by_severity(counts)
    words = [
        f"{number:,} critical" if severity == "critical" else count(number, severity)
        for severity, number in numbers.items()
        if number
    ]
    return sum(numbers.values()), bool(numbers["critical"]), ", ".join(words) or "No open exceptions"


def shipment_names(tx: Transaction, shipments: set[int]) -> dict[int, str | None]:
    """The names of these shipments, as far as they are stored here."""
    return {int(key): record.fields["name"] for key, record in tx.resources.load(TABLE, sorted(shipments)).items()}


def exception_list_row(row: ExceptionRow, names: Mapping[int, str | None], view: ViewContext) -> SimpleNamespace:
    """One exception; `names` are those of the shipments that have a page."""
    number = row.shipment_id
    path, page_url = quote(row.resource.replace("_", "-"), safe=""), f"/exceptions/{row.id}"
    url = f"/{path}/{quote(row.resource_id, safe='')}" if len(row.resource_id) <= MAX_ID_LENGTH else page_url
    name = f"FLEX-{number}" if number is not None else str(row.evidence.get("name") or row.resource_id)
    words = text(f"{sentence(row.kind, row.evidence, lambda stored: _day(stored, view))}.", _LONGEST)
    return SimpleNamespace(
        title=escape_control(title(row.kind), 60),
        tone=_TONES.get(row.severity, "plain"),
        sentence=words or Text(""),
        opened=view.ago(row.since),
        name=text(name, 60) or Text(row.resource),
        label=text(names.get(number), 80) if number is not None else None,
        url=f"/shipments/{number}" if number is not None and number in names else url,
        page_url=page_url,
    )


def _day(stored: str | None, view: ViewContext) -> str:
    day = view.calendar_day(stored)
    return "an unknown date" if day is None else day.text


def object_exceptions(rows: Sequence[ExceptionRow], view: ViewContext) -> tuple[SimpleNamespace, ...]:
    """The exceptions of one object, the most severe first."""
    order: dict[str, int] = {severity: place for place, severity in enumerate(SEVERITIES)}
    ranked = sorted(rows, key=lambda row: (order.get(row.severity, 9), row.since, row.id))
    return tuple(exception_list_row(row, {}, view) for row in ranked)
