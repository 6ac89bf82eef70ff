"""The payload of an event or dead letter, as people read it."""

import base64
import binascii
import json
from typing import Any

from flexportd.cli.output import Output

_LINES = 200


def show_payload(out: Output, document: dict[str, Any]) -> None:
    """The payload laid out, at most 200 lines of it; bytes that are no JSON as text with escapes."""
    out.heading("Payload")
    text = document.get("payload_base64")
    if text is None:
        lines = json.dumps(document.get("payload"), indent=2, ensure_ascii=False).split("\n")
    else:
        lines = _decode_payload(str(text)).split("\n")
    for line in lines[:_LINES]:
        out.line(line)
    if len(lines) > _LINES:
        out.note(f"{len(lines) - _LINES} more lines; use --json to show all.")


def _decode_payload(text: str) -> str:
    try:
        return base64.b64decode(text).decode("utf-8", "backslashreplace")
    except (ValueError, binascii.Error):
        return text
