"""Files of documents: download and status; and their archive: fetch, verify, export."""

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Generator
from datetime import timedelta
from typing import Annotated, BinaryIO, Literal, TypedDict

import msgspec
from aiohttp import web
from msgspec import Meta

from flexportd.clock import parse
from flexportd.core.documents.integrity_check import VerificationReport
from flexportd.core.documents.requests import (
    CachedFile,
    DocumentFileStatus,
    FileRequestResult,
    declared_file,
    file_version,
)
from flexportd.core.documents.zip_export import MAX_DOCUMENTS, ZipItem, zip_stream
from flexportd.core.json_types import doc
from flexportd.core.resources import documents, shipments
from flexportd.core.resources.resource_type import MAX_ID_LENGTH
from flexportd.errors import ConflictError, InvalidError, NotFoundError, not_found
from flexportd.expose.api.list_endpoint import ListEndpoint
from flexportd.expose.cached_response import respond, respond_with
from flexportd.expose.context import CLOCK, DB, FILES, FileServices, require_flexport
from flexportd.expose.openapi.parameters import parse_object_id, text
from flexportd.expose.openapi.route import Parameter, Response
from flexportd.expose.openapi.router import json_body, param, route
from flexportd.expose.openapi.schemas import json_response, list_schema
from flexportd.expose.security import authorization
from flexportd.expose.security.authorization import codec_of
from flexportd.expose.serialize import json_document
from flexportd.expose.streamed_response import FileBody, StreamedResponse, file_headers, send_chunks, send_file
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


LIST = ListEndpoint.of(
    DocumentFileStatus,
    {"id": "id", "fetched_at": "fetched_at", "last_attempt_at": "last_attempt_at"},
    LISTING.filters,
    read=lambda tx, page: tx.files.page(page),
    document=lambda row: dict(file_version(row)),
    as_of=lambda tx: tx.resources.newest_as_of(documents.TABLE),
)
LIST.declare("/documents/files", DocumentFileStatus, "list_document_files", "List document files")


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
    document, rows = await _load_document(request, await document_id(request))
    codec = codec_of(request)
    data = [file_version(msgspec.structs.asdict(row)) for row in rows]
    if codec is not None:  # file ids count the files of all documents
        data = [{**one, "id": str(codec.encode_number(int(one["id"])))} for one in data]
    as_of = (document.as_of or None) if document else None
    return await respond_with(request, {"data": data, "next": None, "as_of": as_of})


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


MAX_IDS = 500  # documents in one request

_ONE_OF = 'give one of ids, shipment and all, such as {"ids": ["AU63XTcrQH-JrTpLIRXW0w"]} or {"all": true}'


class FileCounts(TypedDict):
    """Number of documents by the state of their file."""

    pending: int
    fetched: int
    refused: int
    failed: int
    gone: int


class ArchiveSummary(TypedDict):
    """State of the archive. `archive`, `max_size` (bytes) and `types` (empty: all) are settings of `[documents]`."""

    archive: Annotated[bool, doc("Whether all files are fetched automatically, not only on request.")]
    max_size: int
    types: list[str]
    documents: FileCounts
    files: Annotated[int, doc("Number of distinct files ever archived.")]
    bytes: int
    verification: VerificationReport


_Id = Annotated[str, Meta(min_length=1, max_length=MAX_ID_LENGTH)]


class FetchFilesRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The files to archive. Exactly one of `ids`, `shipment` and `all` is required."""

    ids: Annotated[Annotated[list[_Id], Meta(max_length=MAX_IDS)] | None, doc("Files of these documents.")] = None
    shipment: Annotated[
        Annotated[str, Meta(pattern="^(FLEX-)?[0-9]{1,18}$")] | Annotated[int, Meta(ge=0, lt=10**18)] | None,
        doc("Files of this shipment's documents."),
    ] = None
    all: Annotated[bool, doc("All missing files, up to 100 per request.")] = False
    after: Annotated[
        str,
        Meta(
            max_length=MAX_ID_LENGTH,
            description="With `all`: continue after this document; `next` of the previous response.",
        ),
    ] = ""


class RefusedFile(TypedDict):
    """A document whose file cannot be fetched, and the reason."""

    id: str
    reason: str


class FileRequestsResponse(TypedDict):
    """The outcome of the request, by document id."""

    queued: Annotated[list[str], doc("Documents whose files are being fetched.")]
    present: Annotated[list[str], doc("Documents whose files are already archived.")]
    refused: list[RefusedFile]
    unknown: Annotated[list[str], doc("Ids that match no document.")]
    next: Annotated[str | None, doc("Value of `after` for the next request; null at the end.")]


@route("GET", "/documents/archive", returns=ArchiveSummary)
async def get_document_archive(request: web.Request) -> web.StreamResponse:
    """Get the archive summary: archived, pending and unavailable files."""
    services = request.app[FILES]
    counts, (files, size) = await request.app[DB].read(lambda tx: (tx.files.counts(), tx.files.total_size()))
    rules = services.requester.rules
    document = {
        "archive": rules.archive,
        "max_size": rules.max_size,
        "types": list(rules.types),
        "documents": counts,
        "files": files,
        "bytes": size,
        "verification": await services.verification.report(),
    }
    return await respond_with(request, document)


@route(
    "POST",
    "/documents/fetch",
    returns=json_response(FileRequestsResponse, "The files are being fetched.", 202),
    scope="write",
    body=FetchFilesRequest,
    problems=("conflict", "not-found"),
)
async def fetch_documents(request: web.Request) -> web.StreamResponse:
    """Fetch files into the archive.

    Files that are already archived are not fetched again.
    """
    services, body = request.app[FILES], json_body(request, FetchFilesRequest)
    if (body.ids is not None) + (body.shipment is not None) + body.all != 1:
        raise InvalidError(_ONE_OF)
    if not services.requester.fetches:
        require_flexport(None)
    if body.all:
        result, after = await services.requester.request_missing(body.after)
        return _file_requests_response(result, after)
    if body.shipment is not None:
        number = _parse_shipment_id(str(body.shipment))
        ids = [str(document.id) for document, _ in await _shipment_documents(request, number)]
    else:
        ids = body.ids or []
    total = FileRequestResult()
    for start in range(0, len(ids), MAX_IDS):
        batch = await services.requester.request(ids[start : start + MAX_IDS])
        total.queued += batch.queued
        total.present += batch.present
        total.refused |= batch.refused
        total.unknown += batch.unknown
    return _file_requests_response(total, None)


def _file_requests_response(result: FileRequestResult, after: str | None) -> PreparedStreamResponse:
    document: FileRequestsResponse = {
        "queued": result.queued,
        "present": result.present,
        "refused": [{"id": key, "reason": reason} for key, reason in result.refused.items()],
        "unknown": result.unknown,
        "next": after,
    }
    return json_document(document, 202)


@route(
    "POST",
    "/documents/verify",
    returns=json_response(VerificationReport, "The verification is running.", 202, location="URL of the result."),
    scope="admin",
)
async def verify_documents(request: web.Request) -> web.StreamResponse:
    """Verify the checksum of every archived file.

    Missing or damaged files are fetched again. If a verification is already running, it is returned.
    """
    return json_document(request.app[FILES].verification.begin(), 202, location=request.path)


@route("GET", "/documents/verify", returns=VerificationReport)
async def get_document_verification(request: web.Request) -> web.StreamResponse:
    """Get the current or last verification."""
    return await respond(request, request.app[FILES].verification.report)


@route(
    "GET",
    "/shipments/{id}/documents.zip",
    tag="documents",
    returns=Response(description="The zip file.", media=("application/zip",)),
    streams=True,
    audience_allowed=True,
    problems=("conflict",),
)
async def export_shipment_documents(request: web.Request) -> web.StreamResponse:
    """Download a shipment's archived files as a zip, with an index of all its documents."""
    number = _parse_shipment_id(request.match_info["id"])
    await authorization.check_access(request, shipments.RESOURCE_TYPE, number)
    entries = await _shipment_documents(request, number)
    response = StreamedResponse()
    response.headers.update(file_headers(f"FLEX-{number}-documents.zip", "application/zip"))
    packed = zip_stream(request.app[FILES].archive, number, entries, request.app[CLOCK].stamp())
    return await send_chunks(request, response, _iterate_in_threads(packed))


async def _iterate_in_threads(packed: Generator[bytes, None, None]) -> AsyncGenerator[bytes, None]:
    """Iterate a generator in threads. At the end it is closed, after a step that is still running."""
    lock = threading.Lock()

    def step() -> bytes | None:
        with lock:
            return next(packed, None)

    def close() -> None:
        with lock:
            packed.close()

    try:
        while (piece := await asyncio.to_thread(step)) is not None:
            yield piece
    finally:
        await asyncio.shield(asyncio.to_thread(close))


def _parse_shipment_id(text: str) -> int:
    key = parse_object_id(shipments.RESOURCE_TYPE, text.strip())
    if not isinstance(key, int):
        raise not_found("shipment", text)
    return key


async def _shipment_documents(request: web.Request, number: int) -> list[ZipItem]:
    """The documents of a shipment that the key may read, each with its file. Raises NotFoundError, ConflictError."""
    restricted = authorization.audience_of(request) is not None

    def read(tx: Transaction) -> list[ZipItem] | None:
        if not tx.resources.load(shipments.TABLE, (number,)):
            return None
        files = tx.files.of_shipment(number, MAX_DOCUMENTS + 1, documents.CUSTOMER_TYPES if restricted else None)
        stored = tx.resources.load(documents.TABLE, [key for key, _ in files])
        entries = [(stored[key], file) for key, file in files]
        # A limited key gets no earlier file, which may date from when the document belonged to someone else.
        return [(one, file if file and (file.current or not restricted) else None) for one, file in entries]

    entries = await request.app[DB].read(read)
    if entries is None:
        raise not_found("shipment", number)
    if len(entries) > MAX_DOCUMENTS:
        raise ConflictError(f"shipment {number} has more than {MAX_DOCUMENTS} documents, which is too many for a zip")
    return entries
