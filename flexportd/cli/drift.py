"""`flexportd drift`: what Flexport sends that nobody published."""

import click

from flexportd.cli.asking import NearestChoice, asks, lists
from flexportd.cli.client import Control
from flexportd.cli.output import Column, Output, by_importance
from flexportd.cli.words import ago, plain

KINDS = ("field", "value", "shape", "object", "event_type", "answer")


@click.command()
@click.option("--kind", type=NearestChoice(KINDS), help="Only findings of this kind.")
@click.option("--object", metavar="NAME", help="Only in this object, such as /shipment.")
@lists
@asks
def drift(daemon: Control, out: Output, **options: str | int | None) -> None:
    """Show what Flexport sends that nobody published.

    Fields, values, shapes, objects, event types and odd answers: each with its first example, and how many objects
    and events had it. All of it is kept, and nothing breaks on it.
    """
    now = out.now()
    columns = by_importance(
        (
            Column("kind", lambda row: plain(row["kind"])),
            Column("object", lambda row: row["object"]),
            Column("name", lambda row: row["name"], narrows=True),
            Column("example", lambda row: row["example"], narrows=True),
            Column("count", lambda row: row["count"], right=True),
            Column("first", lambda row: ago(row["first_seen_at"], now)),
            Column("last", lambda row: ago(row["last_seen_at"], now)),
        ),
        "kind, object, name, count, example, last, first",
    )
    nothing = "No such findings." if options["kind"] or options["object"] else "Flexport sent nothing unpublished."
    out.listed(daemon.get("/drift", **options), columns, nothing)
