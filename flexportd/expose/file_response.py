"""Untrusted files as downloads that a browser cannot run: streamed, whole or one range."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import quote

import structlog
from aiohttp import hdrs, web

from flexportd.core.documents.file_types import safe_type
from flexportd.expose.streamed_response import StreamedResponse
from flexportd.http.problems import problem
from flexportd.http.responses import NO_STORE, PreparedStreamResponse, if_none_match, not_modified

log = structlog.get_logger(__name__)

CHUNK_SIZE = 256 << 10  # bytes

_SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "sandbox; default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class FileBody:
    """A file to send. `read(offset, count)` returns so many bytes, or fewer at the end."""

    name: str
    media_type: str
    sha256: str
    size: int
    read: Callable[[int, int], Awaitable[bytes]]


def attachment(name: str) -> str:
    """The value of Content-Disposition (RFC 6266): the name in ASCII for old programs, and in full."""
    plain = "".join(char if 32 <= ord(char) < 127 and char not in '"\\%' else "_" for char in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def file_headers(name: str, media_type: str) -> dict[str, str]:
    """The headers of every file."""
    return {
        **_SECURITY,
        hdrs.CONTENT_TYPE: safe_type(media_type),
        hdrs.CONTENT_DISPOSITION: attachment(name),
        hdrs.CACHE_CONTROL: NO_STORE,
    }


async def send(request: web.Request, file: FileBody) -> web.StreamResponse:
    """Send the file, or the requested range. A read error later on cuts the connection."""
    etag = f'"{file.sha256}"'
    if if_none_match(request, etag):
        return PreparedStreamResponse(not_modified(etag))
    start, end, partial = _range(request, etag, file.size)
    if start >= end and file.size:
        detail = f"the range is outside the file, which has {file.size} bytes"
        content_range = f"bytes */{file.size}"
        return PreparedStreamResponse(problem(416, "range-not-satisfiable", detail, content_range=content_range))
    response = StreamedResponse(status=206 if partial else 200)
    response.headers.update(file_headers(file.name, file.media_type))
    response.headers[hdrs.ETAG] = etag
    response.headers[hdrs.ACCEPT_RANGES] = "bytes"
    response.content_length = end - start
    if partial:
        response.headers[hdrs.CONTENT_RANGE] = f"bytes {start}-{end - 1}/{file.size}"
    await response.prepare(request)
    if request.method == hdrs.METH_HEAD:
        return response
    try:
        while start < end:
            piece = await file.read(start, min(CHUNK_SIZE, end - start))
            if not piece:
                log.warning(
                    "file_response_aborted", sha256=file.sha256, reason="the file is shorter than before", offset=start
                )
                return response
            await response.write(piece)
            start += len(piece)
        await response.finish()
    except ConnectionError:
        pass  # the client has disconnected, or did not read
    except OSError as error:
        log.warning("file_response_aborted", sha256=file.sha256, reason=error.strerror or str(error), offset=start)
    return response


def _range(request: web.Request, etag: str, size: int) -> tuple[int, int, bool]:
    """The first byte, the end (exclusive), and whether that is only a part. An invalid range selects the whole file."""
    if hdrs.RANGE not in request.headers or request.headers.get(hdrs.IF_RANGE, etag) != etag:
        return 0, size, False
    try:
        requested = request.http_range
    except ValueError:
        return 0, size, False
    start, stop = requested.start or 0, requested.stop
    if start < 0:
        start = max(0, size + start)
    return start, size if stop is None else min(stop, size), True
