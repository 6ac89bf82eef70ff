"""`flexportd openapi`: the description of the API, to generate clients."""

import json

import click

from flexportd.cli.command import Invocation


@click.command()
@click.option("--url", metavar="URL", help="URL of the API (default: [server] public_url, else /).")
@click.pass_obj
def openapi(invocation: Invocation, url: str | None) -> None:
    """Print the API description (OpenAPI 3.1).

    No daemon is needed. A running daemon serves the same at /api/v1/openapi.json, and as a page at /api/v1/docs.
    """
    from flexportd.core.resources.registry import Registry
    from flexportd.expose.app import routes
    from flexportd.expose.openapi.document import openapi_document

    settings = invocation.loaded.settings
    public = str(settings.server.public_url).rstrip("/") if settings.server.public_url else "/"
    found = openapi_document(routes(Registry(), settings.webhook.path), url or public)
    click.echo(json.dumps(found, indent=2, ensure_ascii=False))
