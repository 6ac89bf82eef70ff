"""docs/configuration.md, made from the settings themselves."""

from flexportd.settings.profiles import profile, profile_names
from flexportd.settings.schema import KeyDoc, SectionDoc, describe, secret_files

_HEAD = """\
# Configuration

<!-- Made by `python -m flexportd.settings docs` from flexportd/settings; CI compares. -->

flexportd reads one TOML file. Each key has a default; only a webhook secret must be set. `flexportd.toml.example`
explains every key, `flexportd init` writes such a file with a new secret, `flexportd config check` reports every
problem in it, and `flexportd config show --origin` shows every value and its source.

"Reload" shows whether a key can change while flexportd runs (send it SIGHUP); the others need a restart.
"""
_RULES = """\
## Which file

1. `--config FILE`
2. `$FLEXPORTD_CONFIG`
3. `./flexportd.toml`
4. `$XDG_CONFIG_HOME/flexportd/flexportd.toml` (`~/.config` where the variable is not set)
5. `/etc/flexportd/flexportd.toml`

The first file found is read, and no other. A file that is named but cannot be read is an error; without any file, the
defaults apply. Unknown sections, keys and values are errors with the line and the nearest known name; all problems are
reported at once. Relative paths are relative to the directory of the file, `~/` is the home directory. The file must be
UTF-8 without a byte order mark, at most 1 MiB.

## Environment variables

`FLEXPORTD_SECTION__KEY` (two underscores) overrides any key of the file: `FLEXPORTD_LOG__LEVEL=debug`,
`FLEXPORTD_QUEUE__WORKERS=8`, `FLEXPORTD_CACHE__TTL__SHIPMENT=1m`. Lists are written with commas
(`10.0.0.0/8,192.0.2.7`) or, if an item contains a comma, as a TOML list. A variable of this form that matches no key is
an error.

Systemd's `$STATE_DIRECTORY`, `$CACHE_DIRECTORY` and `$RUNTIME_DIRECTORY` set the default directories; without them,
`$XDG_DATA_HOME` and `$XDG_CACHE_HOME` are used. For a user without a home directory, the defaults are
`/var/lib/flexportd` and `/var/cache/flexportd`.

## Secrets

The secrets are {secrets}.
Each can be set in three ways; the first one found is used:

1. an environment variable with the value, or one ending in `_FILE` with the path of a file;
2. the configuration file: the key itself, or the key ending in `_file` with a path;
3. a systemd credential (`LoadCredential=`) named `section_key` or `key`, such as `webhook_secrets` or `api_key`.

Setting both a key and its `_file` in one place is an error. One newline at the end of a secret's file is ignored;
`secrets_file` contains one secret per line. An empty or missing file is an error. No message, log line or page shows a
secret. A file that contains secrets should be readable only by its owner: `chmod 600 flexportd.toml`.

## Quotation marks and blanks

A shell, and systemd in an `EnvironmentFile=`, remove the quotation marks around a value; `docker run --env-file` keeps
them. Quotation marks, blanks, CR, byte order marks and invisible characters at the ends of a value from a variable or a
secret's file are part of it, but probably not intended: `flexportd config check` and the log at startup report the
variable or file, never the value. A path with any of them is refused.

## Durations and sizes

Durations are text with units: `"250ms"`, `"90s"`, `"5m"`, `"1h30m"`, `"400d"`, `"2w"`. Units from large to small are
`w`, `d`, `h`, `m`, `s`, `ms`, whole numbers only, at most 100 years.

Sizes are text with one unit: `"1024B"`, `"512KiB"`, `"8MB"`, `"1MiB"`. `KB`, `MB`, `GB`, `TB` count by 1000; `KiB`,
`MiB`, `GiB`, `TiB` by 1024.

A number without a unit is refused because it is ambiguous.

## Keys with a dot

`ttl.shipment` in `[cache]` may be written so, or as `shipment` in a table `[cache.ttl]`.

## Profiles

`environment` in `[flexport]` chooses addresses that ship with flexportd; `base_url`, `token_url` and `audience` given
in the file override them.

| environment | base_url | token_url | audience |
|---|---|---|---|
{profiles}
"""


def render_docs() -> str:
    """The text of docs/configuration.md."""
    tables = "\n".join(_table(section) for section in describe())
    secrets = ", ".join(f"`{dotted}`" for dotted in secret_files().values())
    profiles = "\n".join(_profile_row(name) for name in profile_names())
    return f"{_HEAD}\n{tables}\n{_RULES.format(secrets=secrets, profiles=profiles)}"


def _table(section: SectionDoc) -> str:
    rows = "\n".join(_row(key) for key in section.keys)
    return (
        f"## `[{section.name}]`\n\n{section.doc}\n\n| key | default | meaning | reload |\n|---|---|---|---|\n{rows}\n"
    )


def _row(key: KeyDoc) -> str:
    shape = key.type_text[0].upper() + key.type_text[1:]
    secret = " Secret." if key.secret else ""
    cells = (f"`{key.name}`", key.default_text, f"{key.description} {shape}.{secret}")
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} | {'yes' if key.reloadable else 'no'} |"


def _profile_row(name: str) -> str:
    found = profile(name)
    return f"| `{name}` | {found.base_url} | {found.token_url} | {found.audience} |"
