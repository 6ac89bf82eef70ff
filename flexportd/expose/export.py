"""Whole lists as CSV or NDJSON: streamed page by page, in constant memory."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import msgspec
import structlog
from aiohttp import hdrs, web

from flexportd.answers import SECURITY

log = structlog.get_logger(__name__)

ROWS_AT_ONCE = 500

_TYPES = {"csv": "text/csv; charset=utf-8", "ndjson": "application/x-ndjson; charset=utf-8"}

# A spreadsheet takes text that begins so for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

Documents = Sequence[Mapping[str, Any]]


async def stream(
    request: web.Request, form: str, columns: Sequence[str], pages: AsyncIterator[Documents]
) -> web.StreamResponse:
    """Send every document of `pages` in the form asked for. A failure on the way cuts the connection."""
    response = web.StreamResponse()
    response.headers[hdrs.CONTENT_TYPE] = _TYPES[form]
    response.headers[hdrs.CACHE_CONTROL] = "no-store"
    for line in SECURITY.strip().split("\r\n"):
        name, _, value = line.partition(": ")
        response.headers[name] = value
    if form == "csv":
        file = request.path.rstrip("/").rpartition("/")[2]
        response.headers[hdrs.CONTENT_DISPOSITION] = f'attachment; filename="{file}.csv"'
    await response.prepare(request)
    if request.method == hdrs.METH_HEAD:
        return response
    try:
        if form == "csv":
            await response.write(_csv([columns]))
        async for documents in pages:
            await response.write(await asyncio.to_thread(_encoded, form, columns, documents))
        await response.write_eof()
    except ConnectionError:
        pass  # the reader has gone
    except Exception:
        log.exception("export_failed", path=request.path[:200])
        if request.transport is not None:
            request.transport.abort()
    return response


def _encoded(form: str, columns: Sequence[str], documents: Documents) -> bytes:
    if form == "ndjson":
        return b"".join(msgspec.json.encode(document) + b"\n" for document in documents)
    return _csv([[_cell(document.get(name)) for name in columns] for document in documents])


def _csv(rows: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode("utf-8", "backslashreplace")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # One line a row, and no NUL, which many readers take for the end.
        shown = value.replace("\x00", "\\u0000")
        return f"'{shown}" if shown.startswith(_FORMULA) else shown
    if isinstance(value, int | float):
        return str(value)
    return msgspec.json.encode(value).decode()
