"""File types by name and by content, file names, and files to reject. Pure.

Flexport sends pdf, png, jpeg, tiff, csv, txt, zip, xls(x), doc(x) and octet-stream. Unknown types are accepted.
"""

import re
import unicodedata

UNKNOWN = "application/octet-stream"

_OPEN_XML = "application/vnd.openxmlformats-officedocument."
_EXTENSIONS = {
    "application/pdf": "pdf",
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/gif": "gif",
    "image/tiff": "tiff",
    "application/zip": "zip",
    "text/csv": "csv",
    "text/plain": "txt",
    "application/json": "json",
    "application/vnd.ms-excel": "xls",
    "application/msword": "doc",
    f"{_OPEN_XML}spreadsheetml.sheet": "xlsx",
    f"{_OPEN_XML}wordprocessingml.document": "docx",
}
_TYPE_ALIASES = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/tif": "image/tiff",
    "application/x-pdf": "application/pdf",
    "application/x-zip-compressed": "application/zip",
    "application/csv": "text/csv",
    "application/x-octet-stream": UNKNOWN,
    "binary/octet-stream": UNKNOWN,
    "": UNKNOWN,
}
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"PK\x03\x04", "application/zip"),
    (b"PK\x05\x06", "application/zip"),
)
_DETECTABLE = frozenset({"application/pdf", *(kind for _, kind in _SIGNATURES)})
HEAD_SIZE = 1024  # bytes of a file's beginning that are examined; PDF readers search for the signature in as many
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_WEB_PAGE = re.compile(rb"<(?:!doctype[ \t\r\n\f]{1,64}html|html|head|body)\b", re.IGNORECASE)

_MAX_EXAMINED = 1000  # characters of a name: normalising accents takes quadratic time
_MAX_NAME_BYTES = 160  # bytes of a name as file systems count them, without the extension
_FORBIDDEN = re.compile(r'[<>:"/\\|?*%]')
_RESERVED = re.compile(r"(?i:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])")
_GIVEN_EXTENSION = re.compile(r"[A-Za-z0-9]{1,8}")


def media_type(said: str, head: bytes = b"") -> str:
    """A media type by its usual name; octet-stream is detected by content if possible."""
    found = said.partition(";")[0].strip().lower()
    found = _TYPE_ALIASES.get(found, found)
    return (detect(head) or UNKNOWN) if found == UNKNOWN else found


def detect(head: bytes) -> str | None:
    """The type by a file's first bytes, if they show it."""
    for beginning, kind in _SIGNATURES:
        if head.startswith(beginning):
            return kind
    return "application/pdf" if b"%PDF-" in head[:HEAD_SIZE] else None


def reject_reason(said: str, head: bytes) -> str | None:
    """Why a file cannot be of its declared type; None for a valid one."""
    if not head:
        return "the file is empty"
    wanted, found = media_type(said), detect(head)
    if _is_web_page(head[:HEAD_SIZE]):
        return f"a web page instead of a file of the type {wanted}"
    if wanted.startswith(_OPEN_XML):
        wanted = "application/zip"
    if wanted in _DETECTABLE and found != wanted:
        return f"said to be {wanted}, but it begins like {found or 'nothing of that kind'}"
    return None


def _is_web_page(head: bytes) -> bool:
    """Whether a file begins like HTML, after an XML declaration and comments; in linear time."""
    at = _skip_whitespace(head, len(_BYTE_ORDER_MARK) if head.startswith(_BYTE_ORDER_MARK) else 0)
    if head.startswith((b"<?xml", b"<?XML"), at):
        at = _skip_whitespace(head, _end_of(b">", head, at))
    while head.startswith(b"<!--", at):
        at = _skip_whitespace(head, _end_of(b"-->", head, at + 2))  # `<!-->` is a whole comment
    return _WEB_PAGE.match(head, at) is not None


def _end_of(mark: bytes, head: bytes, start: int) -> int:
    found = head.find(mark, start)
    return len(head) if found < 0 else found + len(mark)


def _skip_whitespace(head: bytes, start: int) -> int:
    while head[start : start + 1].isspace():
        start += 1
    return start


def safe_type(kind: str) -> str:
    """A type that is safe for a browser: never one that it would execute."""
    return kind if kind in _EXTENSIONS else UNKNOWN


def file_name(document_type: str | None, document_id: str, kind: str, given: str | None = None) -> str:
    """The name of a file: as given, or by its type and id; safe on every system."""
    extension = _EXTENSIONS.get(kind, "")
    stem = given or ""
    if given:
        front, dot, end = given.rpartition(".")
        if dot and _GIVEN_EXTENSION.fullmatch(end):
            stem = front
            is_alias = {extension, end.lower()} in ({"jpg", "jpeg"}, {"tiff", "tif"})
            extension = extension if extension and not is_alias else end.lower()
    stem = _safe_name(stem) or _safe_name(f"{document_type or 'document'}-{document_id}") or "document"
    return f"{stem}.{extension or 'bin'}"


def _safe_name(text: str) -> str:
    """Without characters that are special in a path, a shell, a terminal or another system."""
    plain = unicodedata.normalize("NFC", text[:_MAX_EXAMINED])
    plain = "".join(char if char.isprintable() and char != "\ufffd" else "_" for char in plain)
    plain = _FORBIDDEN.sub("_", plain).strip(" .-~_")
    plain = plain.encode()[:_MAX_NAME_BYTES].decode("utf-8", "ignore").rstrip(" .")
    return f"_{plain}" if _RESERVED.fullmatch(plain.partition(".")[0].strip()) else plain


class FileNames:
    """The names in one folder, such as a zip; case-insensitive."""

    def __init__(self, *taken: str) -> None:
        self._taken = {_normalised(name) for name in taken}
        self._last: dict[str, int] = {}  # the last number after a repeated name

    def unique(self, name: str) -> str:
        """A unique name: with a number if it is taken."""
        stem, _, extension = name.rpartition(".")
        found, number = name, self._last.get(_normalised(name), 1)
        while _normalised(found) in self._taken:
            number += 1
            found = f"{stem}-{number}.{extension}"
        self._last[_normalised(name)] = number
        self._taken.add(_normalised(found))
        return found


def _normalised(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()
