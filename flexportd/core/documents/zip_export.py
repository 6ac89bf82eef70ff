"""The files of a shipment as one zip with an index, streamed: memory use does not grow with its size."""

import csv
import hashlib
import io
import zipfile
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import msgspec

from flexportd.clock import parse
from flexportd.core.documents.file_types import FileNames, file_name
from flexportd.core.documents.requests import declared_file
from flexportd.core.resources.documents import type_title
from flexportd.escape import csv_cell
from flexportd.storage.file_store import CHUNK_SIZE, Archive
from flexportd.storage.repositories.document_files import DocumentFile
from flexportd.storage.repositories.resources import Record

MAX_DOCUMENTS = 5000  # in one zip

INDEX = (
    "document_id", "document_type", "title", "file", "sha256", "size", "media_type", "uploaded_at", "fetched_at",
    "archived_at", "removed_at", "reason",
)  # fmt: skip

_FIRST, _LAST = (1980, 1, 1, 0, 0, 0), (2107, 12, 31, 23, 59, 58)  # what a zip can hold

ZipItem = tuple[Record, DocumentFile | None]


class _ChunkBuffer:
    def __init__(self) -> None:
        self._chunks: list[bytes] = []

    def write(self, piece: bytes, /) -> int:
        self._chunks.append(bytes(piece))
        return len(piece)

    def flush(self) -> None:
        """Nothing to flush."""

    def close(self) -> None:
        """Nothing to close."""

    def drain(self) -> bytes:
        held, self._chunks = b"".join(self._chunks), []
        return held


def zip_stream(archive: Archive, shipment: int, entries: Sequence[ZipItem], at: str) -> Generator[bytes, None, None]:
    """The bytes of the zip. Reads the disk: run each step off the event loop, and close an abandoned generator.

    A document whose current file is missing is in the index with the reason.
    """
    pieces = _ChunkBuffer()
    rows: list[dict[str, Any]] = []
    with zipfile.ZipFile(pieces, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        packing = _ZipWriter(archive, packed, pieces)
        for document, file in entries:
            row = _row(document, file)
            rows.append(row)
            if file is not None and file.is_kept:
                yield from packing.add(row, document, file)
        missing = sum(row["reason"] is not None for row in rows)
        index = {"shipment": str(shipment), "made_at": at, "missing": missing, "documents": rows}
        packed.writestr(_info("index.json", at), msgspec.json.format(msgspec.json.encode(index), indent=2))
        packed.writestr(_info("index.csv", at), _csv(rows))
    yield pieces.drain()


class _ZipWriter:
    def __init__(self, archive: Archive, packed: zipfile.ZipFile, pieces: _ChunkBuffer) -> None:
        self._archive = archive
        self._zip = packed
        self._buffer = pieces
        self._names = FileNames("index.csv", "index.json")

    def add(self, row: dict[str, Any], document: Record, found: DocumentFile) -> Iterator[bytes]:
        """Pack one file, and record the result in its row of the index."""
        assert found.sha256 is not None
        assert found.size is not None
        file = self._archive.open(found.sha256, found.size)
        if file is None:
            row["reason"] = (
                "it is missing from the archive or damaged; run `flexportd documents verify` to fetch it again"
            )
            return
        kind = found.media_type or ""
        name = self._names.unique(file_name(row["document_type"], str(document.id), kind, found.file_name))
        digest = hashlib.sha256()
        info = _info(name, found.uploaded_at or found.fetched_at)
        info.file_size = found.size  # decides on zip64 headers
        with file, self._zip.open(info, "w") as target:
            try:
                while piece := file.read(CHUNK_SIZE):
                    digest.update(piece)
                    target.write(piece)
                    yield self._buffer.drain()
            except OSError as error:
                row["reason"] = f"the archived file cannot be read: {error.strerror or error}"
        row |= {"file": name, "sha256": digest.hexdigest(), "fetched_at": found.fetched_at}
        if row["reason"] is None and digest.hexdigest() != found.sha256:
            row["reason"] = "the archived file is damaged; run `flexportd documents verify` to fetch it again"


def _row(document: Record, file: DocumentFile | None) -> dict[str, Any]:
    fields = document.fields
    kept = file is not None and file.is_kept
    return dict.fromkeys(INDEX) | {
        "document_id": str(document.id),
        "document_type": fields["document_type"],
        "title": type_title(fields["document_type"]),
        "size": file.size if file is not None and kept else fields["size"],
        "media_type": file.media_type if file is not None and kept else None,
        "uploaded_at": fields["uploaded_at"],
        "archived_at": fields["archived_at"],
        "removed_at": document.removed_at,
        "reason": _reason(document, file),
    }


def _reason(document: Record, file: DocumentFile | None) -> str | None:
    if file is None:
        return "it was never fetched"
    if not file.is_kept:
        return file.error or "it is not fetched yet"
    if not file.current or not file.matches(declared_file(document)):
        return "this is the file from before the document changed; the current one is missing"
    return None


def _info(name: str, at: str | None) -> zipfile.ZipInfo:
    when = _FIRST if at is None else parse(at).timetuple()[:6]
    info = zipfile.ZipInfo(name, min(max(when, _FIRST), _LAST))
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o600 << 16
    return info


def _csv(rows: Sequence[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(INDEX)
    writer.writerows(["" if row[name] is None else csv_cell(str(row[name])) for name in INDEX] for row in rows)
    return text.getvalue().encode("utf-8", "backslashreplace")
