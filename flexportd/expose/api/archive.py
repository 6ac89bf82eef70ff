"""The archive of files as a whole: have files fetched, verify them, take those of a shipment along."""

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec
import structlog
from aiohttp import hdrs, web

from flexportd.answers import Answer, EncodedResponse
from flexportd.core import documents, shipments
from flexportd.core.archive import Wished
from flexportd.core.bundle import MOST_DOCUMENTS, Entry, bundle
from flexportd.core.verification import Report
from flexportd.errors import ConflictError, InvalidError, NotFoundError
from flexportd.expose import parameters
from flexportd.expose.api import files
from flexportd.expose.filing import FILING, Filing
from flexportd.expose.parts import PARTS
from flexportd.expose.responding import respond
from flexportd.expose.sending import PATIENCE, headers
from flexportd.expose.upstream import needed
from flexportd.storage.session import Session

log = structlog.get_logger(__name__)

MOST_IDS = 500  # documents in one request

_BODY = 'the body must be JSON such as {"ids": ["AU63XTcrQH-JrTpLIRXW0w"]}, {"shipment": "910233"} or {"all": true}'


def add_routes(app: web.Application, filing: Filing, prefix: str) -> None:
    """Serve all that is about files under `prefix`. To be called before routes such as `/documents/{id}` are added."""
    app[FILING] = filing
    router = app.router
    router.add_get(f"{prefix}/documents/archive", summary)
    router.add_get(f"{prefix}/documents/files", files.index)
    router.add_post(f"{prefix}/documents/fetch", fetch)
    router.add_post(f"{prefix}/documents/verify", verify)
    router.add_get(f"{prefix}/documents/verify", verified)
    router.add_get(f"{prefix}/documents/{{id}}/file", files.show)
    router.add_get(f"{prefix}/documents/{{id}}/files", files.versions)
    router.add_get(f"{prefix}/shipments/{{id}}/documents.zip", export)


async def summary(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/documents/archive`: how many files are here, wanted and not to be had, and the last verification."""
    parameters.once(request.query, ())
    parts, filing = request.app[PARTS], request.app[FILING]

    async def build() -> dict[str, Any]:
        counts, volume = await parts.db.read(lambda tx: (tx.files.counts(), tx.files.volume()))
        rules = filing.archivist.rules
        return {
            "archive": rules.archive,
            "max_size": rules.max_size,
            "types": rules.types,
            "documents": counts,
            "files": volume[0],
            "bytes": volume[1],
            "verification": await filing.verification.report(),
        }

    return await respond(request, build)


class _Wish(msgspec.Struct, forbid_unknown_fields=True):
    ids: list[str] | None = None
    shipment: str | int | None = None
    all: bool = False
    after: str = ""


async def fetch(request: web.Request) -> web.StreamResponse:
    """`POST /api/v1/documents/fetch`: have files archived; 202 with what became of it.

    The body names `ids`, a `shipment`, or says `all`: every file that is lacking, a hundred at a time; `next` is the
    `after` to go on with. Files that are here are left alone.
    """
    parameters.once(request.query, ())
    filing = request.app[FILING]
    if not filing.archivist.fetches:
        needed(None)
    wish = _wish(await request.read())
    if wish.all:
        wished, after = await filing.archivist.ask_for_all(wish.after)
        return _accepted(wished, after)
    if wish.shipment is not None:
        number = _shipment(str(wish.shipment))
        ids = [str(document.id) for document, _ in await _of_shipment(request, number)]
    else:
        ids = wish.ids or []
    total = Wished()
    for start in range(0, len(ids), MOST_IDS):
        some = await filing.archivist.ask(ids[start : start + MOST_IDS])
        total.queued += some.queued
        total.present += some.present
        total.refused |= some.refused
        total.unknown += some.unknown
    return _accepted(total, None)


def _wish(body: bytes) -> _Wish:
    try:
        wish = msgspec.json.decode(body, type=_Wish)
    except ValueError as error:
        raise InvalidError(f"{_BODY}: {error}") from None
    if (wish.ids is not None) + (wish.shipment is not None) + wish.all != 1:
        raise InvalidError(f"one of ids, shipment and all is needed: {_BODY}")
    if wish.ids is not None and len(wish.ids) > MOST_IDS:
        raise InvalidError(f"ids has {len(wish.ids)} entries; at most {MOST_IDS} are taken", "ids")
    return wish


def _accepted(wished: Wished, after: str | None) -> EncodedResponse:
    body = {
        "queued": wished.queued,
        "present": wished.present,
        "refused": [{"id": key, "reason": reason} for key, reason in wished.refused.items()],
        "unknown": wished.unknown,
        "next": after,
    }
    return EncodedResponse(Answer(202, msgspec.json.encode(body), cache_control="no-store"))


async def verify(request: web.Request) -> web.StreamResponse:
    """`POST /api/v1/documents/verify`: compare every file with its name; 202, or the verification that runs."""
    parameters.once(request.query, ())
    report = request.app[FILING].verification.begin()
    body = msgspec.json.encode(report)
    return EncodedResponse(Answer(202, body, cache_control="no-store", location=request.path))


async def verified(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/documents/verify`: the verification that runs, or the last one."""
    parameters.once(request.query, ())
    filing = request.app[FILING]

    async def build() -> Report:
        return await filing.verification.report()

    return await respond(request, build)


async def export(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/shipments/{id}/documents.zip`: the archived files of a shipment, and an index of all documents."""
    parameters.once(request.query, ())
    number = _shipment(request.match_info["id"])
    entries = await _of_shipment(request, number)
    response = web.StreamResponse()
    response.headers.update(headers(f"FLEX-{number}-documents.zip", "application/zip"))
    response.headers[hdrs.CACHE_CONTROL] = "no-store"
    await response.prepare(request)
    if request.method == hdrs.METH_HEAD:
        return response
    packed = bundle(request.app[FILING].archive, number, entries, request.app[PARTS].clock.stamp())
    try:
        while (piece := await asyncio.to_thread(next, packed, None)) is not None:
            if piece:
                async with asyncio.timeout(PATIENCE):
                    await response.write(piece)
        await response.write_eof()
    except (ConnectionError, TimeoutError):
        _cut(request)
    except Exception:
        log.exception("export_failed", path=request.path[:200])
        _cut(request)
    finally:
        await asyncio.shield(asyncio.to_thread(_close, packed))
    return response


def _cut(request: web.Request) -> None:
    """Nobody may take a part for the whole."""
    if request.transport is not None:
        request.transport.abort()


def _close(packed: Iterator[bytes]) -> None:
    packed.close()  # type: ignore[attr-defined]


def _shipment(text: str) -> int:
    key = shipments.DOMAIN.key_of(text.strip().upper().removeprefix("FLEX-"))
    if not isinstance(key, int):
        raise NotFoundError(f"there is no shipment {text[:50]!r}: their ids are whole numbers")
    return key


async def _of_shipment(request: web.Request, number: int) -> list[Entry]:
    """The documents of a shipment, each with its file. Raises NotFoundError."""

    def read(tx: Session) -> list[Entry] | None:
        if not tx.resources.load(shipments.TABLE, (number,)):
            return None
        found = tx.files.of_shipment(number, MOST_DOCUMENTS + 1)
        known = tx.resources.load(documents.TABLE, [key for key, _ in found])
        return [(known[key], file) for key, file in found]

    found = await request.app[PARTS].db.read(read)
    if found is None:
        raise NotFoundError(f"there is no shipment {number}")
    if len(found) > MOST_DOCUMENTS:
        raise ConflictError(f"shipment {number} has more than {MOST_DOCUMENTS} documents, which is too many for a zip")
    return found
