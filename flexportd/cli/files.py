"""Files that commands write: whole or not at all, readable by their owner only."""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from flexportd.errors import FlexportdError, InvalidError


def write_private(path: Path, parts: Iterable[bytes], *, replace: bool) -> None:
    """Write a file (0600) in one step; a failure on the way leaves what was there.

    Raises InvalidError when there is a file already and `replace` is false, FlexportdError when it cannot be written.
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
    target = Path(os.path.realpath(path))  # a link stays a link
    handle, name = tempfile.mkstemp(prefix=f".{target.name[:100]}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            Path(name).replace(target)
        else:
            os.link(name, target)  # unlike a rename it never takes the place of another file
    finally:
        Path(name).unlink(missing_ok=True)


def _exists(path: Path) -> InvalidError:
    error = InvalidError(f"{path} already exists")
    error.add_note("--force to replace it, or --output FILE")
    return error
