"""Whole lists as CSV or NDJSON: streamed page by page, in constant memory."""

import csv
import io
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import hdrs, web

from flexportd.escape import csv_cell
from flexportd.expose.request_keys import TIMEOUT
from flexportd.expose.streamed_response import StreamedResponse, send_chunks
from flexportd.http.responses import add_security_headers

ROWS_AT_ONCE = 500

_CSV = "text/csv; charset=utf-8"
_TYPES = {"csv": _CSV, "csv-raw": _CSV, "ndjson": "application/x-ndjson; charset=utf-8"}
_BOM = b"\xef\xbb\xbf"

Documents = Sequence[Mapping[str, Any]]

_encode_json = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Export:
    """How documents are written: `form` is `csv` (for spreadsheets), `csv-raw` (for programs) or `ndjson`.

    `bom` begins a CSV with the byte order mark by which spreadsheets know UTF-8.
    """

    output_format: str
    columns: Sequence[str]
    bom: bool = False

    def header(self) -> bytes:
        """What comes before the first document."""
        if self.output_format == "ndjson":
            return b""
        return (_BOM if self.bom else b"") + ",".join(self.columns).encode() + b"\r\n"

    def encode(self, documents: Documents) -> bytes:
        """Documents as they are sent. Numbers stand bare in a CSV; texts are in quotation marks, and so are ids."""
        if self.output_format == "ndjson":
            return b"".join(_encode_json(self._select(document)) + b"\n" for document in documents)
        if self.output_format == "csv-raw":
            return self._encode_raw_csv(documents)
        ids = [place for place, name in enumerate(self.columns) if name == "id" or name.endswith("_id")]
        lines = []
        for document in documents:
            cells = [_CELLS[type(value)](value) for value in map(document.get, self.columns)]
            for place in ids:
                if cells[place] and not cells[place].startswith('"'):
                    cells[place] = f'"{cells[place]}"'
            lines.append(",".join(cells))
        return "".join(f"{line}\r\n" for line in lines).encode("utf-8", "backslashreplace")

    def _encode_raw_csv(self, documents: Documents) -> bytes:
        """RFC 4180 with no value changed: quotation marks only where they are needed, no protection from formulas."""
        lines = io.StringIO(newline="")
        writer = csv.writer(lines, lineterminator="\r\n")
        for document in documents:
            writer.writerow([_raw_cell(document.get(name)) for name in self.columns])
        return lines.getvalue().encode("utf-8", "backslashreplace")

    def _select(self, document: Mapping[str, Any]) -> Mapping[str, Any]:
        return {name: document[name] for name in self.columns if name in document}


async def send_export(request: web.Request, export: Export, pieces: AsyncGenerator[bytes, None]) -> web.StreamResponse:
    """Send an export. What is wrong with the list is an ordinary error; a later failure cuts the connection."""
    response = StreamedResponse()
    response.headers[hdrs.CONTENT_TYPE] = _TYPES[export.output_format]
    add_security_headers(response)
    file = request.path.rstrip("/").rpartition("/")[2]
    response.headers[hdrs.CONTENT_DISPOSITION] = (
        f'attachment; filename="{file}.{export.output_format.partition("-")[0]}"'
    )
    async with aclosing(pieces):
        first = await anext(pieces, b"")
        if TIMEOUT in request:
            request[TIMEOUT].reschedule(None)  # from here on the reader's pace is the limit
        return await send_chunks(request, response, _prepend(export.header() + first, pieces))


async def _prepend(first: bytes, pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    yield first
    async for piece in pieces:
        yield piece


def text_cell(value: str | None) -> str:
    """A text in quotation marks, that no spreadsheet takes for a formula; nothing for None."""
    return "" if value is None else quote(csv_cell(value))


def quote(text: str) -> str:
    """A text in quotation marks."""
    return f'"{text}"' if '"' not in text else '"' + text.replace('"', '""') + '"'


def _json_cell(value: Any) -> str:
    return quote(_encode_json(value).decode())


def _raw_cell(value: Any) -> Any:
    """A value for `csv.writer`: nothing for None, JSON for truth values, lists and objects."""
    return value if value is None or type(value) in (str, int, float) else _encode_json(value).decode()


class _Cells(dict[type, Callable[[Any], str]]):
    """How a value of each type is written; whatever is not known is JSON."""

    def __missing__(self, kind: type) -> Callable[[Any], str]:
        return _json_cell


_CELLS = _Cells(
    {
        type(None): lambda _: "",
        bool: lambda value: "true" if value else "false",
        int: str,
        float: str,
        str: text_cell,
    }
)
