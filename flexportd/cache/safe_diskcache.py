"""diskcache's storage restricted to bytes, so that write access to the folder cannot execute code.

diskcache 5.6 reads a pickle wherever a row declares one (CVE-2025-69872): as a value, and as a key when keys are
listed. A row also names the file of its value, which must stay inside the folder. Everything else is an error, on which
the whole cache is deleted.
"""

import re
from typing import Any

from diskcache import UNKNOWN, Disk
from diskcache.core import MODE_BINARY, MODE_RAW

_VALUE_FILE = re.compile(r"[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{28}\.val")


class BytesDisk(Disk):  # type: ignore[misc]  # diskcache has no types
    """Values are bytes, keys are text. All methods raise ValueError for anything else."""

    def put(self, key: object) -> tuple[str, bool]:
        """Encode a key."""
        if type(key) is not str:
            raise ValueError("a key is text")
        return key, True

    def get(self, key: object, raw: object) -> str:
        """Decode a key."""
        if not raw or type(key) is not str:
            raise ValueError("a stored key is not text")
        return key

    def store(self, value: object, read: bool, key: object = UNKNOWN) -> Any:
        """Store a value: size, mode, name of its file, bytes in the row."""
        if type(value) is not bytes or read:
            raise ValueError("a value is bytes")
        return super().store(value, read, key)

    def fetch(self, mode: object, filename: object, value: object, read: bool) -> bytes:
        """Load a value. Raises OSError when its file is missing."""
        if read or (mode, type(value)) not in {(MODE_RAW, bytes), (MODE_BINARY, type(None))}:
            raise ValueError("a stored value is not bytes")
        if mode == MODE_BINARY:
            _check_name(filename)
        content: bytes = super().fetch(mode, filename, value, read)
        return content

    def remove(self, file_path: object) -> None:
        """Delete the file of a value."""
        _check_name(file_path)
        super().remove(file_path)


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not _VALUE_FILE.fullmatch(name):
        raise ValueError("a stored value lies outside the folder")
