"""The archive of document files: fetch, verify, export."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Generator
from typing import Annotated, Any, TypedDict

import msgspec
from aiohttp import web
from msgspec import Meta

from flexportd.core.documents.integrity_check import VerificationReport
from flexportd.core.documents.requests import FileRequestResult
from flexportd.core.documents.zip_export import MAX_DOCUMENTS, ZipItem, zip_stream
from flexportd.core.json_types import doc
from flexportd.core.resources import documents, shipments
from flexportd.core.resources.resource_type import MAX_ID_LENGTH
from flexportd.errors import ConflictError, InvalidError, not_found
from flexportd.expose.cached_response import respond
from flexportd.expose.context import CLOCK, DB, FILES, require_flexport
from flexportd.expose.openapi.declaration import route
from flexportd.expose.openapi.parameters import parse_object_id
from flexportd.expose.openapi.route import Response
from flexportd.expose.openapi.router import json_body
from flexportd.expose.openapi.schemas import json_response
from flexportd.expose.security import authorization
from flexportd.expose.serialize import json_document
from flexportd.expose.streamed_response import StreamedResponse, file_headers, send_chunks
from flexportd.http.responses import PreparedStreamResponse
from flexportd.storage.repositories.document_files import DocumentFile
from flexportd.storage.repositories.resources import Record
from flexportd.storage.transaction import Transaction

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

    async def build() -> dict[str, Any]:
        counts, (files, size) = await request.app[DB].read(lambda tx: (tx.files.counts(), tx.files.total_size()))
        rules = services.requester.rules
        return {
            "archive": rules.archive,
            "max_size": rules.max_size,
            "types": list(rules.types),
            "documents": counts,
            "files": files,
            "bytes": size,
            "verification": await services.verification.report(),
        }

    return await respond(request, build)


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
    report = request.app[FILES].verification.begin()
    return json_document(report, 202, location=request.path)


@route("GET", "/documents/verify", returns=VerificationReport)
async def get_document_verification(request: web.Request) -> web.StreamResponse:
    """Get the current or last verification."""
    services = request.app[FILES]

    async def build() -> VerificationReport:
        return await services.verification.report()

    return await respond(request, build)


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


def _without_former_file(document: Record, file: DocumentFile | None) -> ZipItem:
    """For limited keys: without an earlier file, which may date from when the document belonged to someone else."""
    return document, (file if file is not None and file.current else None)


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
        return [_without_former_file(*entry) for entry in entries] if restricted else entries

    entries = await request.app[DB].read(read)
    if entries is None:
        raise not_found("shipment", number)
    if len(entries) > MAX_DOCUMENTS:
        raise ConflictError(f"shipment {number} has more than {MAX_DOCUMENTS} documents, which is too many for a zip")
    return entries
