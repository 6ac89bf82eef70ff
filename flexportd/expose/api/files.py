"""The file of one document, and what is known of files."""

import asyncio
import os
from datetime import timedelta
from typing import BinaryIO, Literal, TypedDict

import msgspec
from aiohttp import web

from flexportd.clock import parse
from flexportd.core.documents.requests import DocumentFileStatus, HeldFile, described, told
from flexportd.core.resources import documents
from flexportd.errors import NotFoundError
from flexportd.expose.api.list_endpoint import ListView
from flexportd.expose.cached_response import respond
from flexportd.expose.context import PARTS
from flexportd.expose.document_interfaces import FILING, Filing
from flexportd.expose.file_response import Sendable, send
from flexportd.expose.flexport_interfaces import needed
from flexportd.expose.openapi import query_params
from flexportd.expose.openapi.parameters import id_of, of_list, text
from flexportd.expose.openapi.query_params import ListRules
from flexportd.expose.openapi.route import Parameter, Returns, Route
from flexportd.expose.openapi.router import given
from flexportd.expose.openapi.schemas import json_of, list_of, page_of
from flexportd.expose.security import authorization
from flexportd.expose.security.opaque_values import codec_of
from flexportd.http.problems import problem
from flexportd.http.responses import Answer, EncodedResponse
from flexportd.storage.repositories.document_files import STATES, DocumentFile
from flexportd.storage.repositories.resources import Record
from flexportd.storage.transaction import Session

AGAIN = 2  # seconds after which to ask again for a file that is being fetched
_BELIEVED = timedelta(seconds=60)  # how long a failure is told before it is tried again
_SAID: dict[str, tuple[int, str]] = {
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

LIST = ListView(
    rules=ListRules(
        sorts={"id": "id", "fetched_at": "fetched_at", "last_attempt_at": "last_attempt_at"},
        filters={
            "state": query_params.one_of("state", STATES),
            "document": query_params.any_of("document"),
            "shipment": query_params.number("shipment"),
            "sha256": query_params.equals("sha256", "Only files with this SHA-256 (hexadecimal)."),
            "current": query_params.truth(
                "current", "former", "true: only current files of documents. false: only earlier versions."
            ),
        },
        fields=FIELDS,
    ),
    read=lambda tx, page: tx.files.page(page),
    document=lambda row: dict(described(row)),
    as_of=lambda tx: tx.resources.newest_as_of(documents.TABLE),
)


async def index(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/documents/files`: what is known of files, the newest first."""
    return await LIST.respond(request)


async def document_id(request: web.Request) -> str:
    """The document that the path names. Raises NotFoundError for what no document can be called, or is not shown."""
    key = documents.DOMAIN.key_of(request.match_info["id"])
    if key is None:
        raise NotFoundError(f"there is no document {request.match_info['id'][:50]!r}")
    await authorization.check(request, documents.DOMAIN, key)
    return str(key)


async def versions(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/documents/{id}/files`: every file that the document ever had here, the present one first."""
    key = await document_id(request)

    async def build() -> dict[str, object]:
        document, rows = await _look(request, key)
        codec = codec_of(request)
        data = [described(msgspec.structs.asdict(row)) for row in rows]
        if codec is not None:  # the number of a file counts those of all documents
            data = [{**one, "id": str(codec.number(int(one["id"])))} for one in data]
        return {"data": data, "next": None, "as_of": (document.as_of or None) if document else None}

    return await respond(request, build)


async def show(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/documents/{id}/file`: the file; `?sha256=` asks for one that the document had before.

    202 and Retry-After while it is being fetched; 409, 502 or 503 with the reason when it cannot be had.
    """
    key, filing, sha256 = await document_id(request), request.app[FILING], given(request, "sha256")
    document, rows = await _look(request, key)
    if sha256 is not None:
        rows = [row for row in rows if row.sha256 == sha256.lower()]
        found = await _kept(request, rows[0]) if rows else None
        if found is None:
            raise NotFoundError(f"the archive has no such file for document {key[:50]}")
        return await _send(request, found)
    row = next((row for row in rows if row.current), None)
    if row is not None and row.is_kept and (document is None or row.suits(told(document))):
        found = await _kept(request, row)
        if found is not None:
            return await _send(request, found)
    held = None if document is None else await filing.held.get(document)
    if held is not None:
        return await send(request, _of_held(held))
    if document is None:
        raise NotFoundError(f"there is no document {key[:50]}")
    return await _not_here(request, filing, document, row)


async def _look(request: web.Request, key: str) -> tuple[Record | None, list[DocumentFile]]:
    """A document, and its files. Raises NotFoundError where neither is known."""

    def read(tx: Session) -> tuple[Record | None, list[DocumentFile]]:
        return tx.resources.load(documents.TABLE, (key,)).get(key), tx.files.of_document(key)

    document, rows = await request.app[PARTS].db.read(read)
    if authorization.of(request) is not None:
        rows = [row for row in rows if row.current]  # those before may be of a time when it was another's
    if document is None and not rows:
        raise NotFoundError(f"there is no document {key[:50]!r}")
    return document, rows


async def _not_here(
    request: web.Request, filing: Filing, document: Record, row: DocumentFile | None
) -> web.StreamResponse:
    """Have it fetched, unless it was just tried in vain."""
    archivist, key = filing.archivist, str(document.id)
    if not archivist.fetches:
        needed(None)
    now = request.app[PARTS].clock.now()
    tried = row is not None and row.last_attempt_at is not None and now - parse(row.last_attempt_at) < _BELIEVED
    if row is not None and tried and row.state in _SAID and row.retry_at is not None and row.suits(told(document)):
        return _refused(*_SAID[row.state], f"the file of document {key} is not available: {row.error}")
    wished = await archivist.ask_to_see(document, row)
    if key in wished.refused:
        return _refused(409, "file-unavailable", f"the file of document {key} cannot be fetched: {wished.refused[key]}")
    body: FilePending = {"id": key, "state": "pending", "detail": "the file is being fetched; repeat the request later"}
    return EncodedResponse(Answer(202, msgspec.json.encode(body), retry_after=str(AGAIN)))


def _refused(status: int, slug: str, detail: str) -> EncodedResponse:
    extra = {"retry_after": str(int(_BELIEVED.total_seconds()))} if status == 503 else {}
    return EncodedResponse(problem(status, slug, detail, **extra))


# --- the bytes ---

_Opened = tuple[Sendable, BinaryIO]


async def _kept(request: web.Request, row: DocumentFile) -> _Opened | None:
    """The file from the archive, opened; None where it is not there, which is written down."""
    parts, archive = request.app[PARTS], request.app[FILING].archive
    assert row.sha256 is not None
    file = await asyncio.to_thread(archive.open, row.sha256, row.size or 0)
    if file is None:
        at, sha256 = parts.clock.stamp(), row.sha256
        await parts.db.write(lambda tx: tx.files.hurt(sha256, "missing", "the archived file is missing", at))
        return None

    async def read(offset: int, count: int) -> bytes:
        return await asyncio.to_thread(os.pread, file.fileno(), count, offset)

    name = row.file_name or documents.DOMAIN.one
    return Sendable(name, row.media_type or "", row.sha256, row.size or 0, read), file


async def _send(request: web.Request, opened: _Opened) -> web.StreamResponse:
    found, file = opened
    try:
        return await send(request, found)
    finally:
        file.close()


def _of_held(held: HeldFile) -> Sendable:
    async def read(offset: int, count: int) -> bytes:
        return held.content[offset : offset + count]

    return Sendable(held.file_name, held.media_type, held.sha256, len(held.content), read)


_ID = id_of(documents.DOMAIN)

ROUTES = (
    Route(
        method="GET",
        path="/api/v1/documents/files",
        handler=index,
        name="list_document_files",
        tag="documents",
        summary="List document files",
        query=of_list(LIST.rules),
        returns=(page_of(DocumentFileStatus, "A page, newest first."),),
        problems=("cursor-expired",),
    ),
    Route(
        method="GET",
        path="/api/v1/documents/{id}/files",
        handler=versions,
        name="list_files_of_document",
        tag="documents",
        summary="List all versions of a document's file",
        path_parameters=(_ID,),
        returns=(json_of(list_of(DocumentFileStatus), "The files, current one first."),),
        for_audiences=True,
    ),
    Route(
        method="GET",
        path="/api/v1/documents/{id}/file",
        handler=show,
        name="get_document_file",
        tag="documents",
        summary="Download the file of a document",
        about="Served from the archive. A missing file is fetched, and the response is 202. Supports `Range`.",
        path_parameters=(_ID,),
        query=(text("sha256", "An earlier version, by its SHA-256 (hexadecimal)."),),
        headers=(
            Parameter(
                name="Range",
                about="The byte range to return.",
                schema={"type": "string"},
                where="header",
                example="bytes=0-1023",
            ),
        ),
        returns=(
            Returns(about="The file, in its own media type.", media=("*/*",)),
            Returns(
                about="The requested range.",
                status=206,
                media=("*/*",),
                headers={"content_range": "The range and the total size in bytes."},
            ),
            Returns(about="Not modified since the ETag in `If-None-Match`.", status=304),
            json_of(
                FilePending, "The file is being fetched.", 202, retry_after="Seconds to wait before the next request."
            ),
        ),
        problems=("file-unavailable", "file-access-denied", "file-fetch-failed", "conflict", "range-not-satisfiable"),
        streams=True,
        for_audiences=True,
    ),
)
