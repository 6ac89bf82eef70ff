"""`docs/schema.md`: the tables and views, for people who point Datasette, DuckDB or Metabase at the file."""

import sqlite3
import sys

from flexportd.storage.migrate import migrations, statements

_INTRO = """# Schema

Generated from the migrations by `make docs`; schema version {version}.

The database is `flexportd.db` in `data_dir`. Open it read-only (`sqlite3 'file:flexportd.db?mode=ro'`, Datasette,
DuckDB, Metabase): reading never disturbs the daemon. Times are ISO 8601 UTC text of fixed width, so text order is time
order; a `moment` such as `estimated_arrival` carries the offset of its place, and `<name>_at` beside it is the same
instant in UTC. Lists and objects are JSON text, for SQLite's `json_each` and `->>`. `raw` is Flexport's own JSON.

| column | meaning |
|---|---|
| `as_of` | Flexport's time of the state |
| `seq` | our order of arrival; breaks ties of `as_of` |
| `source` | what brought the state: `webhook`, `events`, `sync` or `write` |
| `synced_at` | our time of storing it |
| `first_seen_at` | when we first heard of the object |
| `removed_at` | when Flexport no longer had it; null while it has |
| `older` | fields of `raw` that the newest snapshot did not carry, with their own `as_of` |
| `digest` | of `raw`, where that is a whole answer of Flexport's |

Views have names that begin with `v_` and give a row for each entry of a list.
"""

_INDEXES = "SELECT sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = ? AND sql NOT NULL ORDER BY name"


def render() -> str:
    """The whole document."""
    steps = migrations()
    raw = sqlite3.connect(":memory:")
    try:
        for step in steps:
            for statement in statements(step.sql):
                raw.execute(statement)
        parts = [_INTRO.format(version=len(steps))]
        tables = raw.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'table' ORDER BY name").fetchall()
        for name, sql in tables:
            parts.append(f"## {name}\n\n```sql\n{sql};\n")
            parts[-1] += "".join(f"{row[0]};\n" for row in raw.execute(_INDEXES, (name,))) + "```\n"
        views = raw.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'view' ORDER BY name").fetchall()
        parts += [f"## {name}\n\n```sql\n{sql};\n```\n" for name, sql in views]
        return "\n".join(parts)
    finally:
        raw.close()


if __name__ == "__main__":
    sys.stdout.write(render())
