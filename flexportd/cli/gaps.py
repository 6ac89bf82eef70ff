"""`flexportd gaps`: when webhooks failed, and what polling brought instead."""

from collections import Counter
from typing import Any

import click

from flexportd.cli.asking import asks, lists
from flexportd.cli.client import Control
from flexportd.cli.output import Column, Output, Row, by_importance
from flexportd.cli.words import minute, span, tally

NOTHING = "No gaps: whatever polling found, a webhook had brought."


@click.command()
@lists
@asks
def gaps(daemon: Control, out: Output, **options: int | None) -> None:
    """Show when webhooks did not arrive, and what polling brought instead."""
    out.shown(daemon.get("/gaps", **options), lambda document: _show(out, document))


def _show(out: Output, found: dict[str, Any]) -> None:
    out.line(found["health"]["sentence"])
    out.line()
    if not found["data"]:
        detection = found["health"]["detection"]
        out.line(NOTHING if detection["state"] == "working" else f"No gaps are known. {detection['sentence']}.")
        return
    columns = by_importance(
        (
            Column("since", lambda row: minute(row["since"]) or "the start"),
            Column("until", lambda row: minute(row["until"]) or "now"),
            Column("deaf for", lambda row: span(row["seconds"]), right=True),
            Column("events", lambda row: row["events"], right=True),
            Column("types", lambda row: _types(row["by_type"]), narrows=True),
            Column("repaired", _repaired),
        ),
        "since, until, events, repaired, deaf for, types",
    )
    out.table(found["data"], columns)
    if found["next"]:
        out.note("There are more: a higher --limit shows them.")


def _types(by_type: dict[str, int]) -> str:
    """The types by their names: the prefix tells nothing."""
    named = Counter[str]()
    for name, count in by_type.items():
        named[name.rpartition("#")[2] or "(none)"] += count
    return tally(named)


def _repaired(row: Row) -> str:
    rest = tally({"waiting": row["waiting"], "dead": row["dead"], "by webhook later": row["late"]})
    return f"{row['repaired']} of {row['events']}" + ("" if rest == "none" else f" ({rest})")
