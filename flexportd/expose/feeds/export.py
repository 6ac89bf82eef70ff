"""Whole lists as CSV or NDJSON: streamed page by page, in constant memory."""

import csv
import io
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import hdrs, web

from flexportd.core.labels import is_day_only
from flexportd.escape import csv_cell
from flexportd.expose.context import TIMEOUT
from flexportd.expose.streamed_response import StreamedResponse, send_chunks
from flexportd.http.responses import add_security_headers
from flexportd.storage.queries.table import DATES, MOMENTS, Field, Table, is_plausible

ROWS_AT_ONCE = 500

_CSV = "text/csv; charset=utf-8"
_TYPES = {"csv": _CSV, "csv-raw": _CSV, "ndjson": "application/x-ndjson; charset=utf-8"}
_BOM = b"\xef\xbb\xbf"
_WHOLE_ROW = "*"  # the key of the row itself, for cells that depend on several of its columns

Documents = Sequence[Mapping[str, Any]]
Row = Mapping[str, Any]
CellWriter = Callable[[Any], str]

_encode_json = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Export:
    """Encodes documents as `csv` (for spreadsheets), `csv-raw` (for programs) or `ndjson`; `bom`: byte order mark."""

    output_format: str
    columns: Sequence[str]
    bom: bool = False

    def header(self) -> bytes:
        """The bytes before the first document."""
        if self.output_format == "ndjson":
            return b""
        return (_BOM if self.bom else b"") + ",".join(self.columns).encode() + b"\r\n"

    def encode(self, documents: Documents) -> bytes:
        """Encode documents. In a CSV for spreadsheets numbers are bare; texts and ids are in quotation marks."""
        if self.output_format == "ndjson":
            return b"".join(
                _encode_json({name: document[name] for name in self.columns if name in document}) + b"\n"
                for document in documents
            )
        if self.output_format == "csv-raw":
            return self._encode_raw_csv(documents)
        writers = [_id_cell if name == "id" or name.endswith("_id") else _cell for name in self.columns]
        return _lines(
            [write(document.get(name)) for write, name in zip(writers, self.columns, strict=True)]
            for document in documents
        )

    def _encode_raw_csv(self, documents: Documents) -> bytes:
        """RFC 4180 with no value changed: quotation marks only where they are needed, no protection from formulas."""
        lines = io.StringIO(newline="")
        writer = csv.writer(lines, lineterminator="\r\n")
        for document in documents:
            writer.writerow([_raw_cell(document.get(name)) for name in self.columns])
        return lines.getvalue().encode("utf-8", "backslashreplace")


class CsvRowWriter:
    """Encodes rows as `Export("csv")` would their documents, which took most of the time of an export."""

    def __init__(self, table: Table, columns: Sequence[str]) -> None:
        known: dict[str, tuple[str, CellWriter]] = {
            "id": ("id", _id_cell),
            "flex_id": ("id", lambda value: f'"FLEX-{value}"'),
            "raw": ("raw", quote),
            "day_only": (
                _WHOLE_ROW,
                _field_names_writer(
                    table, MOMENTS, lambda field, value: field.kind == "deadline" or is_day_only(value)
                ),
            ),
            "implausible": (_WHOLE_ROW, _field_names_writer(table, DATES, lambda _, value: not is_plausible(value))),
        }
        for field in table.public:
            known |= _field_writers(field)
        for mark in ("as_of", "source", "synced_at", "first_seen_at", "removed_at"):
            known[mark] = (mark, _time_cell)
        self._columns = [known[name] for name in columns]
        self._needs_whole = bool({"day_only", "implausible"}.intersection(columns))

    def encode(self, rows: Iterable[Row]) -> bytes:
        """Encode rows as lines of CSV."""
        given: Iterable[Row] = ({**row, _WHOLE_ROW: row} for row in rows) if self._needs_whole else rows
        return _lines([write(row[name]) for name, write in self._columns] for row in given)


async def send_export(request: web.Request, export: Export, pieces: AsyncGenerator[bytes, None]) -> web.StreamResponse:
    """Send an export. An error before the first piece is an ordinary error; a later one cuts the connection."""
    response = StreamedResponse()
    response.headers[hdrs.CONTENT_TYPE] = _TYPES[export.output_format]
    add_security_headers(response)
    file = request.path.rstrip("/").rpartition("/")[2]
    extension = export.output_format.partition("-")[0]
    response.headers[hdrs.CONTENT_DISPOSITION] = f'attachment; filename="{file}.{extension}"'
    async with aclosing(pieces):
        first = await anext(pieces, b"")
        if TIMEOUT in request:
            request[TIMEOUT].reschedule(None)  # from here on the reader's pace is the limit
        return await send_chunks(request, response, _prepend(export.header() + first, pieces))


async def _prepend(first: bytes, pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    yield first
    async for piece in pieces:
        yield piece


def _lines(rows: Iterable[Iterable[str]]) -> bytes:
    return "".join([f"{','.join(cells)}\r\n" for cells in rows]).encode("utf-8", "backslashreplace")


def text_cell(value: str | None) -> str:
    """A text in quotation marks that no spreadsheet takes for a formula; empty for None."""
    return "" if value is None else quote(csv_cell(value))


def quote(text: str) -> str:
    """A text in quotation marks."""
    return f'"{text}"' if '"' not in text else '"' + text.replace('"', '""') + '"'


def _boolean_cell(value: Any) -> str:
    return "" if value is None else "true" if value else "false"


_CELLS: Mapping[type, CellWriter] = {
    type(None): lambda _: "",
    bool: _boolean_cell,
    int: str,
    float: str,
    str: text_cell,
}


def _cell(value: Any) -> str:
    write = _CELLS.get(type(value))
    return quote(_encode_json(value).decode()) if write is None else write(value)


def _id_cell(value: Any) -> str:
    if type(value) is int:
        return f'"{value}"'
    cell = _cell(value)
    return cell if not cell or cell[0] == '"' else f'"{cell}"'


def _time_cell(value: str | None) -> str:
    return f'"{value}"' if value is not None else ""


def _raw_cell(value: Any) -> Any:
    """A value for `csv.writer`: nothing for None, JSON for truth values, lists and objects."""
    return value if value is None or type(value) in (str, int, float) else _encode_json(value).decode()


def _field_writers(field: Field) -> dict[str, tuple[str, CellWriter]]:
    name, kind = field.name, field.kind
    if kind in MOMENTS:
        return {
            f"{name}_at": (f"{name}_at", _time_cell),
            f"{name}_date": (name, lambda value: f'"{value[:10]}"' if value else ""),
        }
    if kind == "list":
        return {name: (name, lambda value: quote(value) if value else '"[]"')}
    if kind == "json":
        return {name: (name, lambda value: quote(value) if value else "")}
    if kind == "boolean":
        return {name: (name, _boolean_cell)}
    if kind == "integer":
        return {name: (name, _id_cell if name.endswith("_id") else _cell)}
    return {name: (name, text_cell)}


def _field_names_writer(table: Table, kinds: Collection[str], holds: Callable[[Field, str], bool]) -> CellWriter:
    """Lists the names of those fields of these kinds whose value satisfies `holds`."""
    fields = [field for field in table.public if field.kind in kinds]

    def write(row: Row) -> str:
        names = [field.name for field in fields if (value := row[field.name]) and holds(field, value)]
        return '"[' + ",".join(f'""{name}""' for name in names) + ']"'

    return write
