"""`flexportd init`: a first configuration."""

import json
import secrets
from pathlib import Path

import click

from flexportd.cli.command import Invocation
from flexportd.cli.files import write_private
from flexportd.cli.output import Output


@click.command()
@click.option(
    "--output", type=click.Path(path_type=Path), help="File to write (default: --config, else ./flexportd.toml)."
)
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.option("--data-dir", type=click.Path(path_type=Path, file_okay=False), help="Directory of the database.")
@click.option("--listen", metavar="ADDRESS", help="Address to listen on, such as 127.0.0.1:8080.")
@click.option("--show-secret", is_flag=True, help="Print the webhook secret.")
@click.pass_obj
def init(invocation: Invocation, /, *, force: bool, show_secret: bool, **options: Path | str | None) -> None:
    """Write a commented configuration with a new secret."""
    from flexportd.settings import render_initial

    output = Path(options["output"] or invocation.config or "flexportd.toml")
    secret = secrets.token_urlsafe(32)
    values = {"webhook.secrets": json.dumps([secret])}
    if options["data_dir"] is not None:
        values["storage.data_dir"] = str(Path(options["data_dir"]).absolute())
    if options["listen"] is not None:
        values["server.listen"] = str(options["listen"])
    write_private(output, [render_initial(values).encode()], replace=force)
    _next_steps(Output.standard(), Invocation(output), secret if show_secret else None)


def _next_steps(out: Output, written: Invocation, secret: str | None) -> None:
    default = written.config == Path("flexportd.toml")
    command = Invocation().command_line if default else written.command_line
    where = f"the first of `secrets` under [webhook] in {written.config}"
    out.line(f"Wrote {written.config} (readable only by you). Next steps:")
    out.line("")
    out.line(f"  1. In {written.config}, set:")
    out.line("       [flexport] api_key     needed for full sync, missed events, documents")
    out.line("       [server] public_url    the address that people open, if behind a proxy")
    out.line("  2. In the settings of your Flexport account, add a webhook endpoint:")
    out.line(f"       URL     https://YOUR-HOST{_webhook_path(written)}")
    out.line(f"       secret  {secret or where}")
    out.line(f"  3. {command('config check')}")
    out.line(f"  4. {command('serve')}")
    out.line(f"  5. {command('webhook send --example')}  # in another terminal: send a sample shipment")


def _webhook_path(written: Invocation) -> str:
    from flexportd.errors import ConfigError

    try:
        return written.loaded.settings.webhook.path
    except ConfigError:  # a value from the environment is invalid; `config check` reports it
        return "/webhooks/flexport"
