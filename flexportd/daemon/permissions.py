"""Checks owners and modes: whether other users of this machine could read or replace the daemon's files.

Nothing is changed here: a loose mode may be a mistake that its author should know about, and only the owner can judge
what others have seen. The modes of files in a private folder do not matter, since no other user can reach them: a copy
of a backup has the mode that `cp` gives it.
"""

import os
import pwd
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

_OTHERS = 0o077
_OTHERS_WRITE = 0o022
_FILES = (
    "flexportd.db", "flexportd.db-wal", "flexportd.db-shm", "flexportd.lock",
    "token.json", "token.requests", "token.lock",
)  # fmt: skip
_FOLDERS = ("archive", "backups")


def problems(data_dir: Path, cache_dir: Path, control_socket: Path) -> Iterator[str]:
    """One sentence with the command to run for each folder and file that others could read or replace. Blocks."""
    yield from _check_folder("[storage] data_dir", data_dir, _OTHERS, "StateDirectoryMode")
    for name in _FILES:
        yield from _check_file("[storage] data_dir", data_dir / name)
    for name in _FOLDERS:
        inner = data_dir / name
        yield from _check_folder("[storage] data_dir", inner, _OTHERS if inner.is_symlink() else 0)
    yield from _check_folder("[storage] cache_dir", cache_dir, _OTHERS_WRITE, "CacheDirectoryMode")
    yield from _check_folder("[storage] cache_dir", cache_dir / "answers", _OTHERS, may_be_link=False)
    if control_socket.parent != data_dir:
        key = "[storage] control_socket"
        yield from _check_folder(key, control_socket.parent, _OTHERS_WRITE, "RuntimeDirectoryMode", root_may_own=True)


def _check_folder(
    key: str, path: Path, denied: int, directive: str | None = None, *,
    may_be_link: bool = True, root_may_own: bool = False,
) -> Iterator[str]:  # fmt: skip
    status = _stat(path, follow=may_be_link)
    if status is None:
        return
    if stat.S_ISLNK(status.st_mode):
        yield f"{key}: {path} is a symbolic link, which is not followed: replace it with the directory itself"
        return
    if denied and status.st_mode & stat.S_ISVTX and status.st_mode & _OTHERS_WRITE:
        yield f"{key}: {path} is shared by all users of this machine: choose a separate directory"
        return
    foreign = _wrong_owner(key, path, status, root_may_own=root_may_own)
    if foreign:
        yield f"{foreign}, or choose another directory"
        return
    loose = stat.S_IMODE(status.st_mode) & denied
    if loose:
        mode = "0700" if denied == _OTHERS else f"{stat.S_IMODE(status.st_mode) & ~denied & 0o777:04o}"
        hint = f"; in a systemd unit, set {directive}={mode}" if directive else ""
        who = "everyone on this machine" if loose & 0o007 else "its group"
        reads, writes = loose & 0o055, loose & _OTHERS_WRITE
        does = "read and change" if reads and writes else "change" if writes else "read"
        yield (
            f"{key}: {who} can {does} {path} (mode {stat.S_IMODE(status.st_mode):04o}): "
            f"run chmod {mode} {shlex.quote(str(path))}{hint}"
        )


def _check_file(key: str, path: Path) -> Iterator[str]:
    status = _stat(path, follow=False)
    if status is None:
        return
    if not stat.S_ISREG(status.st_mode):
        what = "a symbolic link, which is not followed" if stat.S_ISLNK(status.st_mode) else "not a regular file"
        yield f"{key}: {path} is {what}: remove it"
        return
    foreign = _wrong_owner(key, path, status)
    if foreign:
        yield foreign


def _stat(path: Path, *, follow: bool) -> os.stat_result | None:
    try:
        return path.stat() if follow else path.lstat()
    except (OSError, ValueError):
        return None  # missing; an unreachable path is reported where it is used


def _wrong_owner(key: str, path: Path, status: os.stat_result, *, root_may_own: bool = False) -> str | None:
    us = os.geteuid()
    if status.st_uid == us or (root_may_own and status.st_uid == 0):
        return None
    owner, command = _user(status.st_uid), f"chown {_user(us)} {shlex.quote(str(path))}"
    return f"{key}: {path} belongs to {owner}, but flexportd runs as {_user(us)}: run {command}"


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
