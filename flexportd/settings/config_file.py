"""The configuration file: found, read, parsed. Everything that is wrong with it as a file ends here."""

import errno
import io
import os
import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flexportd.errors import ConfigError
from flexportd.settings.did_you_mean import quote_key
from flexportd.settings.errors import SourcedValue
from flexportd.settings.paths import config_candidates
from flexportd.settings.stray_characters import stray_characters
from flexportd.settings.toml_lines import key_lines, nests_too_deep
from flexportd.settings.value_types import quote

MAX_BYTES = 2**20
_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A configuration file that is valid TOML; `label` is its name in messages."""

    path: Path
    label: str
    tables: Mapping[str, Any]
    lines: Mapping[tuple[str, ...], int]
    readable_by_others: bool

    def sourced(self, section: str, name: tuple[str, ...], value: object) -> SourcedValue:
        """A value with the line of its key, else of the table that it stands in."""
        path = (section, *name)
        line = next((self.lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self.lines), 1)
        return SourcedValue(value, f"{self.label}:{line}", line)


def find_file(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The file to read: the one named, or the first that is there. Raises ConfigError for a name in quotation marks."""
    if path is not None:
        return path
    chosen = environ.get("FLEXPORTD_CONFIG")
    if chosen:
        stray = stray_characters(chosen)
        if stray:
            raise ConfigError(
                f"environment FLEXPORTD_CONFIG: found {quote(chosen)}, which {stray}; expected only the path"
            )
        return Path(chosen)
    return next((place for place in config_candidates(environ) if os.path.lexists(place)), None)


def read_file(path: Path) -> ConfigFile:
    """Read and parse a file. Raises ConfigError with line and column."""
    label = display_path(path)
    content, mode = read_bytes(path, MAX_BYTES)
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{label}: the file is larger than 1 MiB")
    if content.startswith(b"\xef\xbb\xbf"):
        raise ConfigError(f"{label}:1: the file begins with a byte order mark; save it as UTF-8 without one")
    text = decode_utf8(content, label)
    tables = _parse(text, label)
    return ConfigFile(path.absolute(), label, tables, key_lines(text.replace("\r\n", "\n")), bool(mode & 0o044))


def read_bytes(path: Path, limit: int) -> tuple[bytes, int]:
    """At most `limit` and one more bytes, and the mode of the file. Raises ConfigError that names the path.

    It never waits: a pipe that nobody writes to, or a terminal, is an error.
    """
    reason = "not a regular file"
    try:
        with open(path, "rb", buffering=0, opener=_open_without_waiting) as file:
            mode = os.fstat(file.fileno()).st_mode
            if stat.S_ISREG(mode) or stat.S_ISCHR(mode):
                return _read(file, limit + 1), mode
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a path"
    raise ConfigError(f"{display_path(path)}: cannot read the file: {reason}")


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)


def _read(file: io.FileIO, most: int) -> bytes:
    found = b""
    while len(found) < most:
        piece = file.read(most - len(found))
        if piece is None:
            raise BlockingIOError(errno.EAGAIN, "no data available")
        if not piece:
            break
        found += piece
    return found


def decode_utf8(content: bytes, label: str) -> str:
    """Bytes as text. Raises ConfigError with the line."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        start = error.start
    # Raised out here, so that the error carries no content along as its context.
    raise ConfigError(f"{label}:{content[:start].count(10) + 1}: the file is not UTF-8 text")


def display_path(path: Path) -> str:
    """A path for messages, on one line whatever its name holds."""
    text = str(path)
    return text if text.isprintable() else quote_key(text)


def _parse(text: str, label: str) -> Mapping[str, Any]:
    if nests_too_deep(text):
        raise ConfigError(f"{label}: a key has more than 32 dots; flexportd has no such key")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        problem = _syntax(str(error), text)
    except RecursionError:
        problem = ": nested too deeply"
    except ValueError:
        # Python refuses to read numbers of thousands of digits.
        problem = ": contains a number that is too long"
    raise ConfigError(f"{label}{problem}")


def _syntax(message: str, text: str) -> str:
    """The parser's message with the place in front. It names keys and single characters, never values."""
    match = _PLACE.search(message)
    if match is None:
        return f": not valid TOML: {message}"
    end = text.rstrip("\n")
    line, column = (match[1], match[2]) if match[1] else (end.count("\n") + 1, len(end) - (end.rfind("\n") + 1) + 1)
    return f":{line}:{column}: not valid TOML: {_lower_first(message[: match.start()])}"


def _lower_first(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]
