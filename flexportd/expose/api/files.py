"""Files of documents: download and status."""

import asyncio
import os
from datetime import timedelta
from typing import BinaryIO, Literal, TypedDict

import msgspec
from aiohttp import web

from flexportd.clock import parse
from flexportd.core.documents.requests import CachedFile, DocumentFileStatus, declared_file, file_version
from flexportd.core.resources import documents
from flexportd.errors import NotFoundError, not_found
from flexportd.expose.api.list_endpoint import ListEndpoint
from flexportd.expose.cached_response import respond
from flexportd.expose.context import CLOCK, DB, FILES, FileServices, require_flexport
from flexportd.expose.openapi.declaration import list_route, route
from flexportd.expose.openapi.parameters import text
from flexportd.expose.openapi.query_params import ListRules
from flexportd.expose.openapi.route import Parameter, Response
from flexportd.expose.openapi.router import param
from flexportd.expose.openapi.schemas import json_response, list_schema
from flexportd.expose.security import authorization
from flexportd.expose.security.authorization import codec_of
from flexportd.expose.serialize import json_document
from flexportd.expose.streamed_response import FileBody, send_file
from flexportd.http.problems import problem
from flexportd.http.responses import PreparedStreamResponse
from flexportd.storage.repositories.document_files import LISTING, DocumentFile
from flexportd.storage.repositories.resources import Record
from flexportd.storage.transaction import Transaction

RETRY_AFTER = 2  # seconds until the client repeats the request
_FAILURE_TTL = timedelta(seconds=60)  # how long a failure is reported before the next attempt
_STATE_PROBLEMS: dict[str, tuple[int, str]] = {
    "refused": (502, "file-access-denied"),
    "failed": (503, "file-fetch-failed"),
    "gone": (409, "file-unavailable"),
}


class FilePending(TypedDict):
    """The file is being fetched; repeat the request later."""

    id: str
    state: Literal["pending"]
    detail: str


FIELDS = tuple(DocumentFileStatus.__annotations__)

LIST = ListEndpoint(
    rules=ListRules(
        sorts={"id": "id", "fetched_at": "fetched_at", "last_attempt_at": "last_attempt_at"},
        filters=LISTING.filters,
        fields=FIELDS,
    ),
    read=lambda tx, page: tx.files.page(page),
    document=lambda row: dict(file_version(row)),
    as_of=lambda tx: tx.resources.newest_as_of(documents.TABLE),
)


@list_route("/documents/files", LIST.rules, DocumentFileStatus, "newest first")
async def list_document_files(request: web.Request) -> web.StreamResponse:
    """List document files."""
    return await LIST.respond(request)


async def document_id(request: web.Request) -> str:
    """The document in the path. Raises NotFoundError if it cannot exist, or the key may not read it."""
    key = documents.RESOURCE_TYPE.parse_id(request.match_info["id"])
    if key is None:
        raise not_found("document", request.match_info["id"])
    await authorization.check_access(request, documents.RESOURCE_TYPE, key)
    return str(key)


@route(
    "GET",
    "/documents/{id}/files",
    returns=json_response(list_schema(DocumentFileStatus), "The files, current one first."),
    audience_allowed=True,
)
async def list_files_of_document(request: web.Request) -> web.StreamResponse:
    """List all versions of a document's file."""
    key = await document_id(request)

    async def build() -> dict[str, object]:
        document, rows = await _load_document(request, key)
        codec = codec_of(request)
        data = [file_version(msgspec.structs.asdict(row)) for row in rows]
        if codec is not None:  # file ids count the files of all documents
            data = [{**one, "id": str(codec.encode_number(int(one["id"])))} for one in data]
        return {"data": data, "next": None, "as_of": (document.as_of or None) if document else None}

    return await respond(request, build)


@route(
    "GET",
    "/documents/{id}/file",
    returns=(
        Response(description="The file, in its own media type.", media=("*/*",)),
        Response(
            description="The requested range.",
            status=206,
            media=("*/*",),
            headers={"content_range": "The range and the total size in bytes."},
        ),
        Response(description="Not modified since the ETag in `If-None-Match`.", status=304),
        json_response(
            FilePending, "The file is being fetched.", 202, retry_after="Seconds to wait before the next request."
        ),
    ),
    query=(text("sha256", "An earlier version, by its SHA-256 (hexadecimal)."),),
    headers=(
        Parameter(
            name="Range",
            description="The byte range to return.",
            schema={"type": "string"},
            where="header",
            example="bytes=0-1023",
        ),
    ),
    streams=True,
    audience_allowed=True,
    problems=("file-unavailable", "file-access-denied", "file-fetch-failed", "conflict", "range-not-satisfiable"),
)
async def get_document_file(request: web.Request) -> web.StreamResponse:
    """Download the file of a document.

    Served from the archive. A missing file is fetched, and the response is 202. Supports `Range`.
    """
    key, services, sha256 = await document_id(request), request.app[FILES], param(request, "sha256")
    document, rows = await _load_document(request, key)
    if sha256 is not None:
        rows = [row for row in rows if row.sha256 == sha256.lower()]
        found = await _open_archived(request, rows[0]) if rows else None
        if found is None:
            raise NotFoundError(f"the archive has no such file for document {key[:50]}")
        return await _send(request, found)
    row = next((row for row in rows if row.current), None)
    if row is not None and row.is_kept and (document is None or row.matches(declared_file(document))):
        found = await _open_archived(request, row)
        if found is not None:
            return await _send(request, found)
    cached = None if document is None else await services.cache.get(document)
    if cached is not None:
        return await send_file(request, _cached_body(cached))
    if document is None:
        raise not_found("document", key)
    return await _request_file(request, services, document, row)


async def _load_document(request: web.Request, key: str) -> tuple[Record | None, list[DocumentFile]]:
    """A document and its files. Raises NotFoundError if neither is stored."""

    def read(tx: Transaction) -> tuple[Record | None, list[DocumentFile]]:
        return tx.resources.load(documents.TABLE, (key,)).get(key), tx.files.of_document(key)

    document, rows = await request.app[DB].read(read)
    if authorization.audience_of(request) is not None:
        rows = [row for row in rows if row.current]  # earlier ones may date from when it belonged to someone else
    if document is None and not rows:
        raise not_found("document", key)
    return document, rows


async def _request_file(
    request: web.Request, services: FileServices, document: Record, row: DocumentFile | None
) -> web.StreamResponse:
    """Request the file from Flexport, unless an attempt has just failed."""
    requester, key = services.requester, str(document.id)
    if not requester.fetches:
        require_flexport(None)
    now = request.app[CLOCK].now()
    just_tried = row is not None and row.last_attempt_at is not None and now - parse(row.last_attempt_at) < _FAILURE_TTL
    if (
        row is not None
        and just_tried
        and row.state in _STATE_PROBLEMS
        and row.retry_at is not None
        and row.matches(declared_file(document))
    ):
        return _problem_response(
            *_STATE_PROBLEMS[row.state], f"the file of document {key} is not available: {row.error}"
        )
    requested = await requester.request_for_reader(document, row)
    if key in requested.refused:
        return _problem_response(
            409, "file-unavailable", f"the file of document {key} cannot be fetched: {requested.refused[key]}"
        )
    body: FilePending = {"id": key, "state": "pending", "detail": "the file is being fetched; repeat the request later"}
    return json_document(body, 202, retry_after=str(RETRY_AFTER))


def _problem_response(status: int, slug: str, detail: str) -> PreparedStreamResponse:
    extra = {"retry_after": str(int(_FAILURE_TTL.total_seconds()))} if status == 503 else {}
    return PreparedStreamResponse(problem(status, slug, detail, **extra))


# --- the bytes ---

_OpenFile = tuple[FileBody, BinaryIO]


async def _open_archived(request: web.Request, row: DocumentFile) -> _OpenFile | None:
    """The opened file from the archive; None if it is missing, which is then recorded."""
    archive = request.app[FILES].archive
    assert row.sha256 is not None
    file = await asyncio.to_thread(archive.open, row.sha256, row.size or 0)
    if file is None:
        at, sha256 = request.app[CLOCK].stamp(), row.sha256
        await request.app[DB].write(lambda tx: tx.files.mark_bad(sha256, "missing", "the archived file is missing", at))
        return None

    async def read(offset: int, count: int) -> bytes:
        return await asyncio.to_thread(os.pread, file.fileno(), count, offset)

    name = row.file_name or documents.RESOURCE_TYPE.label
    return FileBody(name, row.media_type or "", row.sha256, row.size or 0, read), file


async def _send(request: web.Request, opened: _OpenFile) -> web.StreamResponse:
    body, file = opened
    try:
        return await send_file(request, body)
    finally:
        file.close()


def _cached_body(cached: CachedFile) -> FileBody:
    async def read(offset: int, count: int) -> bytes:
        return cached.content[offset : offset + count]

    return FileBody(cached.file_name, cached.media_type, cached.sha256, len(cached.content), read)
