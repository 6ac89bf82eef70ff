"""Bodies of writes from JSON files, from templates, and from `--set name=value`."""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flexportd.errors import InvalidError, NotFoundError
from flexportd.json_depth import MAX_DEPTH, nests_too_deep

MAX_BODY_SIZE = 4 * 2**20  # bytes

Body = dict[str, Any]


def read_body_file(path: Path) -> Body:
    """The JSON object in a file; `-` is standard input. Raises InvalidError."""
    name = "standard input" if str(path) == "-" else str(path)
    try:
        if str(path) == "-":
            raw = sys.stdin.buffer.read(MAX_BODY_SIZE + 1)
        else:
            with path.open("rb") as file:
                raw = file.read(MAX_BODY_SIZE + 1)
    except FileNotFoundError:
        raise InvalidError(f"There is no file {path}") from None
    if len(raw) > MAX_BODY_SIZE:
        raise InvalidError(f"{name} has more than {MAX_BODY_SIZE:,} bytes")
    try:
        body = json.loads(raw.decode("utf-8-sig"), parse_constant=_refuse_constant, parse_float=_parse_float)
    except json.JSONDecodeError as error:
        raise InvalidError(f"{name} is no valid JSON: {error}") from None
    except (ValueError, RecursionError) as error:
        raise InvalidError(f"{name} is no valid JSON in UTF-8: {error}") from None
    if nests_too_deep(raw):
        raise InvalidError(f"{name} is nested too deep")
    if not isinstance(body, dict):
        raise InvalidError(f"{name} has no JSON object, but {_type_name(body)}")
    return body


def read_template(name: str, folder: Path) -> Body:
    """The template with this name in a folder, or at this path. Raises NotFoundError, InvalidError."""
    from flexportd.escape import closest_match

    if "/" in name or name.endswith(".json"):
        path = Path(name)
        if not path.is_file():
            raise NotFoundError(f"There is no template {path}")
        return read_body_file(path)
    known = sorted(path.stem for path in folder.glob("*.json"))
    if name not in known:
        near = closest_match(name, known)
        hint = f"did you mean {near}?" if near else f"known are {', '.join(known[:20])}" if known else "it has none"
        raise NotFoundError(f"There is no template {name[:80]!r} in {folder}; {hint}")
    return read_body_file(folder / f"{name}.json")


def overlay(base: Mapping[str, Any], top: Mapping[str, Any]) -> Body:
    """The base with the members of `top`: objects are merged, null removes a member (RFC 7396)."""
    merged = dict(base)
    for name, value in top.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict):
            present = merged.get(name)
            merged[name] = overlay(present if isinstance(present, dict) else {}, value)
        else:
            merged[name] = value
    return merged


def set_members(body: Body, assignments: Sequence[str]) -> Body:
    """The body with `name=value` for each assignment; `ocean_booking.is_lcl=true` sets a nested member.

    A value is text where the body has text or nothing that JSON can read; null removes the member. Raises InvalidError.
    """
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        names = path.split(".")
        if not equals or not all(names) or len(names) > MAX_DEPTH:
            raise InvalidError(f"--set is {assignment[:80]!r}; NAME=VALUE is allowed, such as name=Lamps")
        present: Any = body
        for name in names:
            present = present.get(name) if isinstance(present, dict) else None
        value: Any = _value(text, is_text=isinstance(present, str))
        for name in reversed(names):
            value = {name: value}
        body = overlay(body, value)
    return body


def _value(text: str, *, is_text: bool) -> Any:
    try:
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=_parse_float)
    except (ValueError, RecursionError):  # `1e999` stays a text, too
        return text
    return text if is_text and value is not None and not isinstance(value, str) else value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _parse_float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text[:40]} is too large a number")
    return value


def _type_name(value: Any) -> str:
    return "a list" if isinstance(value, list) else f"{json.dumps(value)[:40]}"
