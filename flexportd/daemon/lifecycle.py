"""Runs one daemon in this process: signals, reload, exit code."""

import asyncio
import gc
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from flexportd import __version__, file_limit, logs
from flexportd.clock import Clock
from flexportd.daemon import malloc
from flexportd.daemon.app import Daemon, open_daemon
from flexportd.daemon.systemd import sd_notify
from flexportd.errors import ConfigError
from flexportd.escape import escape_control
from flexportd.notify.rules import check_rules
from flexportd.settings import LoadedConfig, Settings, load

_SWITCH_INTERVAL = 0.0002  # seconds that a thread may keep the interpreter while others wait
_MAX_STATUS = 500  # characters of the line that `systemctl status` shows

log = structlog.get_logger(__name__)


def run(loaded: LoadedConfig, named: Path | None, ready: Callable[[Daemon], None] = lambda _: None) -> int:
    """Serve until SIGTERM or SIGINT; the exit code: 0, or 1 when a vital part died.

    Raises FlexportdError when the daemon cannot start.
    """
    # SIGHUP stays pending until it can be handled. Threads inherit the mask, so it is blocked before any is started.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
    check_rules(loaded)
    malloc.use_single_arena()
    configure_logs(loaded.settings)
    before, limit, hard = file_limit.raise_limit()
    log.info("open_files_limit_set", limit=limit, before=before, hard=hard)
    log_notes(loaded)
    # What is loaded by now stays; collecting it again and again costs a tenth of all CPU time. Young objects are
    # collected in small steps, since a collection stops everything.
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 80, 50)
    # A sync keeps two threads busy. When a webhook arrives, the loop waits for each of them, and so does the writer
    # after every statement of the acknowledgement.
    sys.setswitchinterval(_SWITCH_INTERVAL)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_serve(loaded, named, ready))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:
        return None
    return uvloop.new_event_loop


def configure_logs(settings: Settings) -> None:
    """Log as configured, with every configured secret redacted."""
    logs.configure(settings.log.level, settings.log.format, settings.secrets)


def log_notes(loaded: LoadedConfig) -> None:
    """Log the warnings about the configuration."""
    for note in loaded.notes:
        log.warning("configuration_warned", warning=note)


async def _serve(loaded: LoadedConfig, named: Path | None, ready: Callable[[Daemon], None]) -> int:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with open_daemon(loaded.settings, Clock()) as daemon:
        reloads = Reloader(daemon, named)
        daemon.tasks.start("reload", reloads.run)
        # Not a handler of the loop, which would reset SIGHUP to its default when it closes: that ends the process.
        signal.signal(signal.SIGHUP, lambda *_: loop.call_soon_threadsafe(reloads.request))
        # Thousands of signals fill the socket that wakes the loop; it still wakes, without a warning for each.
        signal.set_wakeup_fd(signal.set_wakeup_fd(-1), warn_on_full_buffer=False)
        log.info("daemon_started", version=__version__, listen=daemon.addresses, data_dir=str(daemon.db.data_dir.path))
        await asyncio.to_thread(sd_notify, "READY=1")
        ready(daemon)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])  # one that came during the start reloads now
        try:
            await wait_any(stop, daemon.tasks.failed)
        finally:
            # Nothing can be reloaded any more. The interpreter resets handlers that are functions when it ends.
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        failed = daemon.tasks.failed.is_set()
        await asyncio.to_thread(sd_notify, "STOPPING=1")
        log.info("daemon_stopping", failed=failed)
    log.info("daemon_stopped")
    return 1 if failed else 0


async def wait_any(*events: asyncio.Event) -> None:
    waits = [asyncio.ensure_future(event.wait()) for event in events]  # noqa: TID251 (ended below)
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


class Reloader:
    """Re-reads the configuration on request, one reload at a time; requests during a reload cause one more."""

    def __init__(self, daemon: Daemon, named: Path | None) -> None:
        self._daemon = daemon
        self._named = named
        self._requested = asyncio.Event()

    def request(self) -> None:
        """Reload soon."""
        self._requested.set()

    async def run(self) -> None:
        """Reload on request until cancelled. systemd is always notified that a reload has ended, and how."""
        while True:
            await self._requested.wait()
            self._requested.clear()
            # systemd identifies the reload by its start time (sd_notify(3), CLOCK_MONOTONIC).
            await asyncio.to_thread(sd_notify, f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
            try:
                result = await self._reload()
            except Exception:
                log.exception("configuration_reload_failed")
                result = "The reload failed, see the log"
            await asyncio.to_thread(sd_notify, f"READY=1\nSTATUS={escape_control(result, _MAX_STATUS)}")

    def _load(self) -> LoadedConfig:
        loaded = load(self._named)
        check_rules(loaded)
        return loaded

    async def _reload(self) -> str:
        """Apply the configuration, or keep the current one; the result, in one line."""
        try:
            loaded = await asyncio.to_thread(self._load)
        except ConfigError as error:
            log.error("configuration_reload_rejected", errors=error.problems)  # noqa: TRY400 (a user's mistake needs no traceback)
            more = f" (and {len(error.problems) - 1} more)" if len(error.problems) > 1 else ""
            return f"Reload refused, the previous configuration remains in force: {error.problems[0]}{more}"
        changed, needs_restart = self._daemon.reload(loaded.settings)
        configure_logs(loaded.settings)
        log_notes(loaded)
        log.info("configuration_reloaded", changed=changed, needs_restart=needs_restart)
        if needs_restart:
            return f"Configuration reloaded; a restart is needed for: {', '.join(needs_restart)}"
        return "Configuration reloaded"
