"""Responses that are sent in pieces. An incomplete body never looks complete, in HTTP/1.1 and HTTP/1.0.

A body without a length ends with a last chunk in HTTP/1.1. In HTTP/1.0, which nginx uses for upstreams by default, it
ends with the connection: an incomplete body would look complete. So while such a body is sent, its socket is set to be
reset (RST) by whatever closes it, including the end of the process. A Unix socket or a TLS connection cannot be reset
in this way (`ClientConnection.can_reset`): there the body is written to a file first, and sent with its length.
"""

import asyncio
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple
from urllib.parse import quote

import structlog
from aiohttp import HttpVersion11, hdrs, web
from aiohttp.abc import AbstractStreamWriter

from flexportd.core.documents.file_types import safe_type
from flexportd.errors import ConflictError
from flexportd.http.connections import ClientConnection
from flexportd.http.problems import problem
from flexportd.http.responses import NO_STORE, PreparedStreamResponse, if_none_match, not_modified

log = structlog.get_logger(__name__)

MAX_SPOOL_FILES = 4  # bodies in files at the same time; others wait
MAX_SPOOLED = 1 << 30  # bytes of a body in a file

_CHUNK_SIZE = 256 << 10  # bytes


@dataclass
class SpoolFiles:
    """Files for bodies that are written before they are sent; `directory` is by default the system's."""

    directory: Path | None = None
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_SPOOL_FILES))


SPOOL_FILES = web.AppKey("spool_files", SpoolFiles)


class StreamedResponse(web.StreamResponse):
    """A response that is complete once `finish` has been called; without it the connection is cut."""

    def __init__(self, *, status: int = 200) -> None:
        super().__init__(status=status)
        self._request: web.BaseRequest | None = None  # while a body is being sent
        self._resets = False

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send the head."""
        if not self.prepared and request.method != hdrs.METH_HEAD:
            self._request = request
            connection = request.protocol
            if self.content_length is None and _ends_with_connection(request):
                self._resets = isinstance(connection, ClientConnection) and connection.reset_on_close(on=True)
        return await super().prepare(request)

    async def finish(self) -> None:
        """End the body: it is complete. Raises ConnectionError."""
        request = self._request
        if self._resets and request is not None:
            await request.writer.drain()  # a reset would drop unsent data
        await super().write_eof()
        if self._resets and request is not None and isinstance(request.protocol, ClientConnection):
            request.protocol.reset_on_close(on=False)
        self._request = None

    async def write_eof(self, data: bytes = b"") -> None:
        """Called by aiohttp for every returned response: cut the connection if the body is incomplete."""
        request = self._request
        if request is None:
            await super().write_eof(data)
            return
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("the body is incomplete")


async def send_chunks(
    request: web.Request, response: StreamedResponse, pieces: AsyncGenerator[bytes, None]
) -> StreamedResponse:
    """Send a body of unknown length. A later error cuts the connection, and is logged."""
    client = request.protocol
    async with aclosing(pieces):
        if request.method == hdrs.METH_HEAD:
            await response.prepare(request)
        elif _ends_with_connection(request) and not (isinstance(client, ClientConnection) and client.can_reset):
            async with request.app[SPOOL_FILES].slots:
                await _spool(request, response, pieces)
        else:
            await response.prepare(request)
            await _send(request, response, pieces)
    return response


async def _send(request: web.Request, response: StreamedResponse, pieces: AsyncIterator[bytes]) -> None:
    try:
        async for piece in pieces:
            if piece:
                await response.write(piece)
        await response.finish()
    except Exception as error:
        is_disconnected = request.transport is None or request.transport.is_closing()
        if not (isinstance(error, ConnectionError) and is_disconnected):
            log.exception("export_failed", path=request.path[:200])


async def _spool(request: web.Request, response: StreamedResponse, pieces: AsyncIterator[bytes]) -> None:
    """Write the body to a file, then send it with its length. Until then an error is an ordinary one."""
    file = await asyncio.to_thread(_open_spool, request.app[SPOOL_FILES].directory)
    try:
        size = 0
        async for piece in pieces:
            size += len(piece)
            if size > MAX_SPOOLED:
                raise ConflictError(_TOO_LARGE)
            if request.transport is None or request.transport.is_closing():
                raise ConnectionResetError("the client has disconnected")
            await asyncio.to_thread(file.write, piece)
        await asyncio.to_thread(file.seek, 0)
        response.content_length = size
        await response.prepare(request)
        await _send(request, response, _file_chunks(file))
    finally:
        await asyncio.shield(asyncio.to_thread(file.close))


async def _file_chunks(file: BinaryIO) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(file.read, _CHUNK_SIZE):
        yield piece


_TOO_LARGE = (
    f"More than {MAX_SPOOLED >> 30} GiB cannot be sent in HTTP/1.0 through a Unix socket or TLS. "
    "Set proxy_http_version 1.1 in nginx."
)


def _open_spool(folder: Path | None) -> BinaryIO:
    if folder is not None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return tempfile.TemporaryFile(dir=folder)  # without a name, so a crash leaves no file


def _ends_with_connection(request: web.BaseRequest) -> bool:
    return request.version < HttpVersion11


_SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "sandbox; default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class FileBody(NamedTuple):
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


async def send_file(request: web.Request, file: FileBody) -> web.StreamResponse:
    """Send an untrusted file or a range as a download that cannot run; a later read error cuts the connection."""
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
            piece = await file.read(start, min(_CHUNK_SIZE, end - start))
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
