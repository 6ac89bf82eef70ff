"""Files that commands write: atomically, and readable only by their owner."""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from flexportd.errors import FlexportdError, InvalidError


def write_private(path: Path, parts: Iterable[bytes], *, replace: bool) -> None:
    """Write a file (mode 0600) atomically; a failure leaves an existing file unchanged.

    Raises InvalidError if the file exists and `replace` is false, FlexportdError if it cannot be written.
    """
    if not replace and os.path.lexists(path):
        raise _exists(path)
    try:
        _write(path, parts, replace=replace)
    except FileExistsError:
        raise _exists(path) from None
    except OSError as error:
        raise FlexportdError(f"Cannot write {path}: {error.strerror or error}") from error


def _write(path: Path, parts: Iterable[bytes], *, replace: bool) -> None:
    target = Path(os.path.realpath(path))  # a symbolic link is kept
    handle, name = tempfile.mkstemp(prefix=f".{target.name[:100]}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            Path(name).replace(target)
        else:
            os.link(name, target)  # unlike a rename, this never replaces a file
    finally:
        Path(name).unlink(missing_ok=True)


def _exists(path: Path) -> InvalidError:
    error = InvalidError(f"{path} already exists")
    error.add_note("--force to replace it, or specify another file")
    return error
