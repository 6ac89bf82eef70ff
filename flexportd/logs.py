"""Structured logs: structlog through the standard library, as lines for people or JSON for programs.

Event names are constant, data is in fields. Secrets are taken out by name, at any depth, before anything is rendered.
"""

import functools
import logging
import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from flexportd.escape import escape_control

REDACTED = "***"
_SECRET = re.compile(
    r"(secret|token|password|passwd|api_?key|authorization|cookie|signature|credential|private_key)", re.IGNORECASE
)
_MAX_DEPTH = 8


class Redactor:
    """A processor that hides the values of secret-sounding keys at any depth, and known secrets anywhere in text."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = tuple(secret for secret in secrets if len(secret) >= 6)

    def __call__(self, _logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
        return {key: self._clean(key, value, 0) for key, value in event.items()}

    def _clean(self, key: str, value: Any, depth: int) -> Any:
        if _SECRET.search(key) and not isinstance(value, bool | int | float | type(None)):
            return REDACTED
        if isinstance(value, str | bytes):
            text = value if isinstance(value, str) else value.decode("utf-8", "backslashreplace")
            return functools.reduce(lambda text, secret: text.replace(secret, REDACTED), self._secrets, text)
        if depth >= _MAX_DEPTH:
            return "…"
        if isinstance(value, Mapping):
            return {str(name): self._clean(str(name), part, depth + 1) for name, part in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._clean("", part, depth + 1) for part in value]
        return value


def _escape_values(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """For consoles: no value may move the cursor or forge a line. Tracebacks keep their lines."""
    return {
        key: escape_control(value, 2000) if isinstance(value, str) and key != "exception" else value
        for key, value in event.items()
    }


def _is_server_fault(record: logging.LogRecord) -> bool:
    """Whether a line of aiohttp's server is about our own doing.

    What is no HTTP at all is the caller's, and has been answered 400; a traceback would only repeat the caller's bytes.
    """
    error = record.exc_info[1] if record.exc_info else None
    return not any(kind.__name__ == "HttpProcessingError" for kind in type(error).__mro__)


def is_console(style: str) -> bool:
    """Whether lines are for people."""
    return style == "console" or (style == "auto" and sys.stderr.isatty())


# One list for the life of the process: loggers that are in use keep the list that they began with.
_PROCESSORS: list[Processor] = [
    structlog.stdlib.filter_by_level,
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
]


def configure(level: str, style: str, secrets: Iterable[str] = ()) -> None:
    """Log from `level` on to standard error. `style` is `auto`, `console` or `json`; may be called again."""
    console = is_console(style)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,  # plain tracebacks: richer ones show local variables, secrets included
        Redactor(secrets),
    ]
    structlog.configure(
        processors=_PROCESSORS,
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    final: list[Processor] = (
        [
            _escape_values,
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
        ]
        if console
        else [structlog.processors.JSONRenderer(ensure_ascii=True)]
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.remove_processors_meta, *final],
        foreign_pre_chain=[structlog.stdlib.ExtraAdder()],  # what other libraries give as `extra`
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    server = logging.getLogger("aiohttp.server")
    server.removeFilter(_is_server_fault)
    server.addFilter(_is_server_fault)
    set_level(level)


def set_level(level: str) -> None:
    """Change the level while running. Libraries say less than we do."""
    number = logging.getLevelNamesMapping()[level.upper()]
    logging.getLogger().setLevel(max(number, logging.WARNING))
    logging.getLogger("flexportd").setLevel(number)
