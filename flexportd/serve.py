"""Running one daemon in this process: signals, reload, the end."""

import asyncio
import gc
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import structlog

from flexportd import __version__, allocator, file_limit, logs
from flexportd.clock import Clock
from flexportd.daemon import Daemon, running
from flexportd.errors import ConfigError
from flexportd.settings import Loaded, Settings, load
from flexportd.sockets import notify

_SWITCH = 0.0002  # seconds that a thread may keep the interpreter while others wait

log = structlog.get_logger(__name__)


def run(loaded: Loaded, named: Path | None, ready: Callable[[Daemon], None] = lambda _: None) -> int:
    """Serve until SIGTERM or SIGINT; the exit code: 0, or 1 when a vital part died.

    Raises FlexportdError when the daemon cannot start.
    """
    allocator.share_arena()
    configure_logs(loaded.settings)
    files = file_limit.raise_limit()
    log.info("open_files_limit", limit=files.soft, before=files.before, hard=files.hard)
    for note in loaded.notes:
        log.warning("configuration_note", note=note)
    # What is loaded by now stays for good; looking through it again and again costs a tenth of all work. What is young
    # is looked through a little at a time: everything stands still meanwhile.
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 80, 50)
    # A sync keeps two threads busy. Whenever a webhook comes, the loop waits for each of them, and so does the writer
    # after every statement of the acknowledgement.
    sys.setswitchinterval(_SWITCH)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_serve(loaded, named, ready))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Uvloop where there is one; asyncio's own loop works too."""
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:
        return None
    return uvloop.new_event_loop


def configure_logs(settings: Settings) -> None:
    """Log as configured, with every configured secret known to the redactor."""
    logs.configure(settings.log.level, settings.log.format, settings.secrets)


async def _serve(loaded: Loaded, named: Path | None, ready: Callable[[Daemon], None]) -> int:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(loaded.settings, Clock()) as daemon:
        loop.add_signal_handler(
            signal.SIGHUP, lambda: daemon.tasks.start("reload", lambda: _reload(daemon, named), vital=False)
        )
        log.info("started", version=__version__, listen=daemon.addresses, data_dir=str(daemon.db.folder.path))
        notify("READY=1")
        ready(daemon)
        await _first(stop, daemon.tasks.failed)
        failed = daemon.tasks.failed.is_set()
        notify("STOPPING=1")
        log.info("stopping", failed=failed)
    log.info("stopped")
    return 1 if failed else 0


async def _first(*events: asyncio.Event) -> None:
    waits = [asyncio.ensure_future(event.wait()) for event in events]  # noqa: TID251 (ended below)
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


async def _reload(daemon: Daemon, named: Path | None) -> None:
    notify("RELOADING=1")
    try:
        loaded = await asyncio.to_thread(load, named)
    except ConfigError as error:
        log.error("reload_refused", problems=error.problems)  # noqa: TRY400 (a person's mistake, no traceback)
    else:
        now, later = daemon.reload(loaded.settings)
        configure_logs(loaded.settings)
        log.info("reloaded", changed=now, needs_restart=later)
    notify("READY=1")
