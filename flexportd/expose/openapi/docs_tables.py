"""The generated tables of docs/api.md: `python -m flexportd.expose.openapi.docs_tables docs/api.md`."""

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from flexportd.core.changes.topics import (
    EXCEPTION_TOPICS,
    FIELD_TOPICS,
    MILESTONE,
    MILESTONES,
    OPERATION_TOPICS,
    SYSTEM_TOPICS,
    topic_prefix,
)
from flexportd.core.resources.registry import RESOURCE_TYPES
from flexportd.http.problems import PROBLEMS


def render_tables(text: str) -> str:
    """The page with current tables."""
    words = ", ".join(f"`{topic_prefix(domain.name)}`" for domain in RESOURCE_TYPES)
    milestones = ", ".join(f"`{topic.name}`" for topic in MILESTONES[:3])
    topics = [
        ("`<resource>.created`", f"A new object was received. Resources are {words}."),
        ("`<resource>.updated`", "An object changed, or a newer state of it was received; `changes` lists the fields."),
        ("`<resource>.removed`", "An object was removed at Flexport."),
        *(
            (f"`{topic.name}`", topic.meaning)
            for topic in (
                *(one.topic for one in FIELD_TOPICS),
                *EXCEPTION_TOPICS,
                *OPERATION_TOPICS,
                *SYSTEM_TOPICS,
            )
        ),
        (f"`{MILESTONE}<event>`", f"A Flexport milestone, such as {milestones}."),
    ]
    problems = [(str(kind.status), f"`{slug}`", kind.description) for slug, kind in PROBLEMS.items()]
    tables = {
        "topics": _table(("topic", "meaning"), topics),
        "problems": _table(("status", "name", "meaning"), problems),
    }
    for name, table in tables.items():
        mark = rf"(<!-- {name}: [^\n]*-->\n).*?(<!-- end of {name} -->)"
        text, count = re.subn(mark, lambda found, table=table: f"{found[1]}{table}\n{found[2]}", text, flags=re.DOTALL)  # type: ignore[misc]
        if count != 1:
            raise ValueError(f"the page has no markers for {name}")
    return text


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    sys.stdout.write(render_tables(Path(sys.argv[1]).read_text(encoding="utf-8")))
