"""`flexportd webhook`: sign and send test webhooks as Flexport does."""

import contextlib
import copy
import json
import time
from collections.abc import Iterator
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from flexportd.cli.command import Invocation
from flexportd.cli.exit_codes import Exit
from flexportd.cli.output import Output
from flexportd.errors import ConfigError, FlexportdError, InvalidError, NotRunningError

if TYPE_CHECKING:
    from flexportd.cli.webhook_target import WebhookTarget

SHIPMENT = 990_910_233  # of the example event
_FIRST_OF_WORLD = 910_233
_MOST_WORLDS = 200
_TIMEOUT = 30.0
_SECRET_FILE = click.option(
    "--secret-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Read the signing secret from this file (default: the first configured).",
)


@click.group()
def webhook() -> None:
    """Sign and send test webhooks as Flexport does."""


@webhook.command()
@click.argument("file", type=click.File("rb"))
@_SECRET_FILE
@click.option("--sha1", is_flag=True, help="Use the older X-Hub-Signature header.")
@click.pass_obj
def sign(invocation: Invocation, file: IO[bytes], secret_file: Path | None, *, sha1: bool) -> None:
    """Print the signature header for FILE (- is standard input)."""
    from flexportd.flexport import webhook_signature

    secret, body = secret_of(invocation, secret_file), file.read()
    if sha1:
        click.echo(f"{webhook_signature.SHA1_HEADER}: {webhook_signature.sign_sha1(body, secret)}")
    else:
        click.echo(f"{webhook_signature.SHA256_HEADER}: {webhook_signature.sign(body, secret)}")


@webhook.command()
@click.argument("file", type=click.File("rb"), required=False)
@click.option("--example", is_flag=True, help="Send a sample shipment event, new each time, instead of FILE.")
@click.option("--url", help="Send to this URL (default: the daemon on this machine).")
@click.option("--count", type=click.IntRange(1, 100_000), default=1, show_default=True, help="Number of times to send.")
@_SECRET_FILE
@click.option("--no-signature", is_flag=True, help="Omit the signature; the daemon must refuse the webhook.")
@click.pass_obj
def send(invocation: Invocation, /, file: IO[bytes] | None, **options: Any) -> Exit:
    """Send FILE (- is standard input), signed, to the running daemon.

    Example: flexportd webhook send --example
    """
    if (file is None) != options["example"]:
        raise click.UsageError("Specify FILE (- is standard input) or --example.", click.get_current_context())
    secret = None if options["no_signature"] else secret_of(invocation, options["secret_file"])
    target, out = _target(invocation, options["url"]), Output.standard()
    body = None if file is None else file.read()
    refused = 0
    for status, document in _send_all(target, _bodies(body, options["count"]), secret):
        refused += status != HTTPStatus.OK
        out.line(f"{status} {document}")
    if not refused and options["example"]:
        out.note(f"Show the result: {invocation.command_line(f'shipments show {SHIPMENT}')}")
    return Exit.FAILED if refused else Exit.DONE


def secret_of(invocation: Invocation, file: Path | None) -> str:
    """The secret to sign with: that of the file, else the first configured. Raises InvalidError, ConfigError."""
    if file is not None:
        try:
            text = file.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            raise InvalidError(f"{file} is not UTF-8 text") from None
        if not text:
            raise InvalidError(f"{file} is empty; expected a secret")
        return text
    secrets = invocation.loaded.settings.webhook.secrets
    if not secrets:
        error = ConfigError("[webhook] secrets is not set: there is no secret to sign with")
        error.add_note("flexportd init, or --secret-file FILE")
        raise error
    return secrets[0].get_secret_value()


def _target(invocation: Invocation, url: str | None) -> "WebhookTarget":
    from flexportd.cli.webhook_target import local_target, parse_url

    settings = invocation.loaded.settings
    return local_target(settings) if url is None else parse_url(url, settings.webhook.path)


def _bodies(body: bytes | None, count: int) -> Iterator[bytes]:
    from flexportd.clock import Clock

    for ordinal in range(count):
        if body is None:
            yield example_event(Clock().now(), ordinal)
        else:
            yield body


def _send_all(target: "WebhookTarget", bodies: Iterator[bytes], secret: str | None) -> Iterator[tuple[int, str]]:
    """Send the bodies over one connection; yields the status and text of each response."""
    from http.client import HTTPException

    from flexportd.flexport.webhook_signature import SHA256_HEADER, sign

    connection = target.connection(_TIMEOUT)
    try:
        for body in bodies:
            headers = {"Content-Type": "application/json"}
            if secret is not None:
                headers[SHA256_HEADER] = sign(body, secret)
            started = time.monotonic()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the response came before all was sent
                connection.request("POST", target.path, body, headers)
            response = connection.getresponse()
            text = response.read(1 << 20).decode("utf-8", "backslashreplace")
            yield response.status, f"{text}  ({(time.monotonic() - started) * 1000:.0f} ms)"
    except (ConnectionRefusedError, FileNotFoundError):
        if target.is_own:
            raise NotRunningError(f"{target.url}: nothing is listening there") from None
        raise FlexportdError(f"{target.url}: nothing is listening there") from None
    except (OSError, HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise FlexportdError(f"{target.url}: {reason}") from error
    finally:
        connection.close()


def example_event(now: datetime, ordinal: int = 0) -> bytes:
    """The departed leg of an ocean shipment; its id is new each time, the shipment is always the same."""
    from flexportd.clock import stamp

    # Far from the ids of real freight, so that no real shipment is changed.
    event: Any = _renumbered(copy.deepcopy(_departure(now)), SHIPMENT - _FIRST_OF_WORLD)
    event["id"] = int(now.timestamp() * 1000) * 1000 + ordinal
    event["created_at"] = stamp(now)
    for part in ("shipment", "resource"):
        if event["data"][part]["_object"] == "/shipment":
            event["data"][part] |= {"name": "Example shipment", "updated_at": stamp(now)}
    return json.dumps(event).encode()


def _departure(now: datetime) -> dict[str, Any]:
    from flexportd.sandbox import World, WorldPlan

    for seed in range(_MOST_WORLDS):
        events = World(WorldPlan(now, seed, 1)).backlog()
        departed = [event for event in events if event["type"] == "/shipment_leg#departed"]
        ships = [event for event in departed if event["data"]["resource"]["transportation_mode"] == "ocean"]
        if ships and ships[-1]["data"]["containers"]:
            event: dict[str, Any] = ships[-1]
            return event
    raise LookupError("no world of the sandbox has a departed container ship")


def _renumbered(value: Any, by: int) -> Any:
    if isinstance(value, list):
        return [_renumbered(part, by) for part in value]
    if isinstance(value, dict):
        return {
            name: part + by if name == "id" and isinstance(part, int) else _renumbered(part, by)
            for name, part in value.items()
        }
    return value
