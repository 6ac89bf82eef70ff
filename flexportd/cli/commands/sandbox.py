"""`flexportd sandbox`: the Flexport simulator without the daemon."""

import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flexportd.cli.command import Invocation
from flexportd.cli.exit_codes import Exit
from flexportd.errors import ConfigError, InvalidError

if TYPE_CHECKING:
    from flexportd.sandbox import SandboxOptions


@dataclass(frozen=True, slots=True)
class WebhookOptions:
    """Where the sandbox sends webhooks, or why nowhere."""

    url: str | None = None
    secret: str | None = None
    why_not: str = ""


@click.command()
@click.option(
    "--listen", default="127.0.0.1:9100", show_default=True, metavar="HOST:PORT", help="Address to listen on."
)
@click.option(
    "--seed", type=int, default=7, show_default=True, help="Random seed; the same seed creates the same freight."
)
@click.option(
    "--shipments", type=click.IntRange(0, 100_000), default=40, show_default=True, help="Initial number of shipments."
)
@click.option("--speed", type=float, default=3600, show_default=True, help="Simulated seconds per real second.")
@click.option("--faults", default="", metavar="TEXT", help="Faults to inject, such as latency=200ms,429=5%,drop=1%.")
@click.option(
    "--api-key-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Read the API key from this file (default: the configured one for the sandbox, else a new one).",
)
@click.option("--webhook-url", metavar="URL", help="Send webhooks to this URL (default: the configured daemon).")
@click.option(
    "--webhook-secret-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Read the signing secret from this file (default: the first configured).",
)
@click.pass_obj
def sandbox(invocation: Invocation, /, **options: Any) -> Exit:
    """Run a Flexport simulator for development: it serves all lists, takes writes and sends webhooks.

    Faults: latency=200ms; 401, 403, 404, 429, 429_bare, 5xx, 500, 502, 503, html, reset, truncate, slow, huge,
    error_200, repeat, lying_total, low_total, foreign_next, no_id, twice, future, backwards, empty, cut,
    unknown_field, unknown_enum (shares of responses); accepted_then_dropped, accepted_late,
    dropped_before_accepting, error_after_accepting, refused_as_duplicate, write_forbidden, pending_amendment
    (shares of writes); duplicate, reorder, drop (shares of webhooks).
    """
    import asyncio

    from flexportd import logs
    from flexportd.sandbox import SandboxOptions, parse_faults

    host, port = _address(options.pop("listen"))
    key = _api_key(invocation, options.pop("api_key_file"))
    webhooks = _webhooks(invocation, options.pop("webhook_url"), options.pop("webhook_secret_file"))
    faults = parse_faults(options.pop("faults"))
    chosen = SandboxOptions(
        **options,
        host=host,
        port=port,
        faults=faults,
        webhook_url=webhooks.url,
        webhook_secret=webhooks.secret,
        api_key=key,
    )
    logs.configure("warning", "auto", filter(None, (chosen.api_key, chosen.client_secret, webhooks.secret)))
    return asyncio.run(_run(chosen, lambda url: _print_welcome(chosen, webhooks, url)))


async def _run(options: "SandboxOptions", ready: Callable[[str], None]) -> Exit:
    from flexportd.clock import Clock
    from flexportd.sandbox import Sandbox
    from flexportd.tasks import stop_signals

    with stop_signals() as stop:
        box = Sandbox(options, Clock())
        try:
            await box.start()
            ready(box.url)
            await stop.wait()
        except OSError as error:
            raise ConfigError(f"--listen {options.host}:{options.port}: {error.strerror or error}") from error
        finally:
            await box.stop()
    return Exit.DONE


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        raise InvalidError(f"--listen is {text!r}; expected HOST:PORT, such as 127.0.0.1:9100")
    return host, int(port)


def _api_key(invocation: Invocation, file: Path | None) -> str:
    """The key in the file, else the configured one if it is for the sandbox, else a new one."""
    from flexportd.cli.commands.webhook import secret_of

    if file is not None:
        return secret_of(invocation, file)
    flexport = invocation.loaded.settings.flexport
    if flexport.environment == "sandbox" and flexport.api_key is not None:
        return flexport.api_key.get_secret_value()
    return secrets.token_urlsafe(24)


def _webhooks(invocation: Invocation, url: str | None, secret_file: Path | None) -> WebhookOptions:
    """The given URL, else the daemon of a configuration for the sandbox."""
    from flexportd.cli.commands.webhook import secret_of
    from flexportd.cli.webhook_target import local_target

    if url is not None:
        return WebhookOptions(url, secret_of(invocation, secret_file))
    loaded = invocation.loaded
    if loaded.path is None or not (secret_file or loaded.settings.webhook.secrets):
        return WebhookOptions(why_not="no webhook secret is configured")
    # A configuration found by default may be of a real daemon, whose data simulated freight would corrupt.
    if invocation.config is None and loaded.settings.flexport.environment != "sandbox":
        return WebhookOptions(why_not=f'{loaded.path} does not set environment = "sandbox"')
    target = local_target(loaded.settings)
    if target.unix is not None:
        return WebhookOptions(why_not="the daemon's port is not fixed in its configuration")
    return WebhookOptions(target.url, secret_of(invocation, secret_file))


def _print_welcome(options: "SandboxOptions", webhooks: WebhookOptions, url: str) -> None:
    to = webhooks.url or f"off: {webhooks.why_not}; use --webhook-url URL"
    click.echo(
        f"Flexport simulator with {options.shipments} shipments\n\n"
        f"  address   {url}\n"
        f"  api key   {options.api_key}\n"
        f"  webhooks  {to}\n\n"
        "To use it, set in flexportd.toml:\n\n"
        "  [flexport]\n"
        '  environment = "sandbox"\n'
        f'  base_url = "{url}"\n'
        f'  api_key = "{options.api_key}"\n\n'
        f'Try: curl -H "Authorization: Bearer {options.api_key}" "{url}/shipments?per=2"\n'
        "Press Ctrl-C to stop."
    )
    sys.stdout.flush()
