"""What a configuration may hold, how it is found, and what is said when it is wrong."""

import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import FrozenInstanceError
from datetime import timedelta
from ipaddress import ip_network
from operator import attrgetter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from flexportd.cache.tiered import kind_of
from flexportd.errors import ConfigError
from flexportd.settings import ListenAddress, LoadedConfig, Settings, changed_keys, describe_values, load
from flexportd.settings.config_file import key_lines
from flexportd.settings.defaults import default_lifetimes, profile, profile_names
from flexportd.settings.schema import key_specs, secret_files
from flexportd.settings.sections import RESOURCES
from flexportd.settings.value_types import (
    Duration,
    Size,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
    quote,
)

ROOT = Path(__file__).parents[2]
SECRET = "correct-horse-battery"
OTHER = "staple-staple-staple"


class Home:
    """A folder with a configuration file in it, and nothing else in the environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "flexportd.toml"
        self.environ = {"HOME": str(folder)}

    def load(self, text: str | bytes = "", **environ: str) -> LoadedConfig:
        self.file.write_bytes(text.encode() if isinstance(text, str) else text)
        return load(self.file, self.environ | environ)

    def problems(self, text: str | bytes = "", **environ: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            self.load(text, **environ)
        assert str(caught.value) == "\n".join(caught.value.problems)
        return [problem.replace(str(self.file), "flexportd.toml") for problem in caught.value.problems]

    def problem(self, text: str | bytes = "", **environ: str) -> str:
        (only,) = self.problems(text, **environ)
        return only


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


def value(loaded: LoadedConfig, dotted: str) -> object:
    return attrgetter(dotted)(loaded.settings)


# Units


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("5m", timedelta(minutes=5)),
        ("90s", timedelta(seconds=90)),
        ("1h30m", timedelta(minutes=90)),
        ("400d", timedelta(days=400)),
        ("250ms", timedelta(milliseconds=250)),
        ("2w", timedelta(weeks=2)),
        ("1w1d1h1m1s1ms", timedelta(weeks=1, days=1, hours=1, minutes=1, seconds=1, milliseconds=1)),
        ("0s", timedelta(0)),
        ("36500d", timedelta(days=36500)),
    ],
)
def test_a_duration_is_text_with_units(text, span):
    assert parse_duration(text) == span


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "5 m",
        "m",
        "-5m",
        "+5m",
        "1.5h",
        "30m1h",
        "5M",
        "5m\n",
        "\u0665m",
        "1h1h",
        "5min",
        "36501d",
        "9" * 5000 + "s",
    ],
)
def test_other_text_is_no_duration(text):
    with pytest.raises(ValueError, match=r"duration such as|at most 36500d"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("bare", "right"),
    [(60, "60s"), ("60", "60s"), (0, "5m"), (True, "5m"), (-1, "5m"), (1.5, "5m"), (None, "5m"), ([], "5m")],
)
def test_a_bare_number_is_no_duration_and_the_right_form_is_shown(bare, right):
    with pytest.raises(ValueError, match=f'expected a .*"{right}" .text with a unit: ms, s, m, h, d, w'):
        parse_duration(bare)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1MiB", 2**20),
        ("512KiB", 2**19),
        ("8MB", 8_000_000),
        ("1024B", 1024),
        ("3kB", 3000),
        ("1TiB", 2**40),
        ("0B", 0),
    ],
)
def test_a_size_is_text_with_a_unit(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "1", "1 MiB", "1.5MiB", "-1B", "1mib", "1MiB1KiB", "MiB", "999999999999999TiB", 5, True, None]
)
def test_other_things_are_no_size(text):
    with pytest.raises(ValueError, match=r"size such as|too large"):
        parse_size(text)


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (timedelta(seconds=90), "90s"),
        (timedelta(minutes=90), "90m"),
        (timedelta(hours=1), "1h"),
        (timedelta(days=14), "2w"),
        (timedelta(days=400), "400d"),
        (timedelta(hours=25, seconds=1), "25h1s"),
        (timedelta(milliseconds=1500), "1500ms"),
        (timedelta(hours=1, milliseconds=1), "1h1ms"),
        (timedelta(0), "0s"),
    ],
)
def test_a_duration_is_written_as_short_as_it_can_be(span, text):
    assert format_duration(span) == text


@pytest.mark.parametrize("span", [timedelta(microseconds=1), timedelta(seconds=-1)])
def test_a_span_that_no_text_can_give_back_is_not_written(span):
    with pytest.raises(ValueError, match="not a duration of whole milliseconds"):
        format_duration(span)


@pytest.mark.parametrize(
    ("size", "text"),
    [(2**23, "8MiB"), (1000, "1KB"), (1500, "1500B"), (1_500_000, "1500KB"), (0, "0B"), (2**40, "1TiB")],
)
def test_a_size_is_written_as_short_as_it_can_be(size, text):
    assert format_size(size) == text


def test_a_negative_size_is_not_written():
    with pytest.raises(ValueError, match="not a size"):
        format_size(-1)


@given(st.integers(0, 36_500 * 86_400_000))
def test_every_duration_survives_being_written_and_read(milliseconds):
    span = timedelta(milliseconds=milliseconds)
    text = format_duration(span)
    assert TypeAdapter(Duration).validate_python(text) == span
    assert len(text) <= len(f"{milliseconds}ms")


@given(st.integers(0, 2**63 - 1))
def test_every_size_survives_being_written_and_read(size):
    text = format_size(size)
    assert TypeAdapter(Size).validate_python(text) == size
    assert len(text) <= len(f"{size}B")


@given(st.text(max_size=20) | st.from_regex(r"[0-9]{1,3}[smhdwKMB]+[0-9]?", fullmatch=True))
def test_any_text_is_a_unit_or_a_value_error(text):
    for parse in (parse_duration, parse_size):
        try:
            parse(text)
        except ValueError as error:
            assert str(error)  # noqa: PT017 (either outcome is right)


# Finding and reading the file


def test_nothing_at_all_gives_the_defaults(home):
    loaded = home.load()
    assert loaded.settings.queue.workers == 4
    assert loaded.settings.queue.lease == timedelta(seconds=60)
    assert loaded.settings.storage.history_retention is None
    assert loaded.settings.storage.event_retention == timedelta(days=400)
    assert loaded.settings.webhook.max_body == 8 * 2**20
    assert loaded.settings.flexport.base_url == "https://api.flexport.com"
    assert loaded.settings.server.listen == (ListenAddress("127.0.0.1", 8080),)
    assert loaded.notes == ()
    assert loaded.origins["queue.workers"] == "default"
    assert loaded.origins["flexport.base_url"] == "profile production"


def test_the_named_file_is_read_before_all_others(home, monkeypatch):
    monkeypatch.chdir(home.folder)
    home.file.write_text("[queue]\nworkers = 1")
    (home.folder / "named.toml").write_text("[queue]\nworkers = 2")
    (home.folder / "variable.toml").write_text("[queue]\nworkers = 3")
    variable = {"FLEXPORTD_CONFIG": str(home.folder / "variable.toml")}
    assert load(home.folder / "named.toml", home.environ | variable).settings.queue.workers == 2
    assert load(None, home.environ | variable).settings.queue.workers == 3
    assert load(None, home.environ).settings.queue.workers == 1


def test_the_working_folder_comes_before_the_users_folder(home, monkeypatch):
    monkeypatch.chdir(home.folder)
    config = home.folder / "xdg"
    for folder, workers in ((config / "flexportd", 5), (home.folder / ".config/flexportd", 6)):
        folder.mkdir(parents=True)
        (folder / "flexportd.toml").write_text(f"[queue]\nworkers = {workers}")
    assert load(None, home.environ).settings.queue.workers == 6
    assert load(None, home.environ | {"XDG_CONFIG_HOME": str(config)}).settings.queue.workers == 5
    assert load(None, home.environ | {"XDG_CONFIG_HOME": "relative"}).settings.queue.workers == 6
    home.file.write_text("")
    found = load(None, home.environ)
    assert found.settings.queue.workers == 4
    assert found.path == home.file


def test_a_file_in_the_working_folder_is_named_shortly(home, monkeypatch):
    monkeypatch.chdir(home.folder)
    home.file.write_text("[queue]\nworkers = 1")
    assert load(None, home.environ).origins["queue.workers"] == "flexportd.toml:2"


def test_the_environment_of_the_process_is_used_when_none_is_given(home, monkeypatch):
    monkeypatch.setenv("FLEXPORTD_LOG__LEVEL", "debug")
    home.file.touch()
    assert load(home.file).settings.log.level == "debug"


@pytest.mark.parametrize(
    ("path", "reason"),
    [("missing.toml", "No such file or directory"), (".", "Is a directory"), ("a\0b", "not a path")],
)
def test_a_named_file_that_cannot_be_read_is_an_error(home, path, reason):
    with pytest.raises(ConfigError, match=f"cannot read the file: {reason}"):
        load(home.folder / path, home.environ)
    with pytest.raises(ConfigError, match=f"cannot read the file: {reason}"):
        load(None, home.environ | {"FLEXPORTD_CONFIG": str(home.folder / path)})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_an_error(home):
    home.file.touch(mode=0)
    with pytest.raises(ConfigError, match="Permission denied"):
        load(home.file, home.environ)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"[log]\n\xff", "flexportd.toml:2: the file is not UTF-8 text"),
        (
            b"\xef\xbb\xbf[log]",
            "flexportd.toml:1: the file begins with a byte order mark; save it as UTF-8 without one",
        ),
        (b"#" * (2**20 + 1), "flexportd.toml: the file is larger than 1 MiB"),
        (b"[log]\nlevel = 'a\x00b'", "flexportd.toml:2:11: not valid TOML: "),
        (b"[log]\nlevel = = 1", "flexportd.toml:2:9: not valid TOML: invalid value"),
        (b"[log]\nlevel = [1,\n", "flexportd.toml:2:12: not valid TOML: "),
        (b"[log]\n[log]", "flexportd.toml:2:5: [log] is there already, in line 1; put the keys there"),
        (
            b"[notify]\n[notify.channels.a]\n\n[notify.channels.a]\n",
            "flexportd.toml:4:19: [notify.channels.a] is there already, in line 2; put the keys there",
        ),
        (b"[a]\nb.c = 1\n[a.b]\n", "flexportd.toml:3:5: [a.b] is there already, in line 2; put the keys there"),
        (b"[log]\nlevel = 'info'\nlevel = 'info'", "flexportd.toml:3:15: not valid TOML: cannot overwrite a value"),
        (b"x = " + b"[" * 100_000, "flexportd.toml: nested too deeply"),
        (b"a." * 500_000 + b"a = 1", "flexportd.toml: a key has more than 32 dots"),
        (b"x = {" + b'"a" . ' * 50 + b"a = 1}", "flexportd.toml: a key has more than 32 dots"),
        (b"[queue]\nworkers = " + b"9" * 5000, "flexportd.toml: contains a number that is too long"),
    ],
)
def test_a_file_that_is_no_sound_toml_is_told_with_its_place(home, content, problem):
    assert home.problem(content).startswith(problem)


def test_a_file_just_below_the_limit_of_words_without_dots_is_read_quickly(home):
    assert home.load(b"#" + b"a" * (2**20 - 1)).settings.queue.workers == 4


# Problems


def test_all_problems_are_told_at_once_in_the_order_of_the_file(home):
    text = """lease = "5m"
[webhook]
max_bodi = "1KiB"
[queue]
lease = 60
workers = 99
full_interval = "1h"
[logg]
level = "info"
"""
    assert home.problems(text, FLEXPORTD_LOG__LEVEL="loud", FLEXPORTD_LOG__LEVLE="info") == [
        "flexportd.toml:1: lease: unknown key outside any section; it belongs under [queue]",
        "flexportd.toml:3: [webhook] max_bodi: unknown key; did you mean max_body?",
        'flexportd.toml:5: [queue] lease: found 60; expected a duration such as "60s" (text with a unit: ms, s, m, h, d, w)',
        "flexportd.toml:6: [queue] workers: found 99; expected a whole number from 1 to 64",
        "flexportd.toml:7: [queue] full_interval: unknown key; did you mean [sync] full_interval?",
        "flexportd.toml:8: [logg]: unknown section; did you mean [log]?",
        "environment FLEXPORTD_LOG__LEVLE: unknown variable; did you mean FLEXPORTD_LOG__LEVEL?",
        'environment FLEXPORTD_LOG__LEVEL: found "loud"; expected one of debug, info, warning, error',
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("zzz = 1", "zzz: unknown key outside any section; sections are flexport, webhook"),
        ("[zzzzzz]", "[zzzzzz]: unknown section; known names are flexport, webhook"),
        ("[log]\nzzzzzz = 1", "[log] zzzzzz: unknown key; this section has level, format"),
        ("webhook = 'x'", "[webhook]: found a value; expected a table of keys"),
        ("[[webhook]]\npath = '/x'", "[webhook]: found a list; expected a table of keys"),
        ("[log]\nlevel = 1", '[log] level: found 1; expected one of "debug", "info", "warning", "error"'),
        ("[log]\nlevel = []", '[log] level: found a list; expected one of "debug"'),
        ("[log]\nlevel = {a = 1}", '[log] level: found a table; expected one of "debug"'),
        ("[log]\nlevel = 2024-01-01", '[log] level: found 2024-01-01; expected one of "debug"'),
        ("[flexport]\napi_version = 2", '[flexport] api_version: found 2; expected "2"'),
        ("[queue]\nworkers = '4'", '[queue] workers: found "4"; expected a whole number from 1 to 64'),
        ("[queue]\nworkers = 4.0", "[queue] workers: found 4.0; expected a whole number from 1 to 64"),
        ("[queue]\nworkers = true", "[queue] workers: found true; expected a whole number from 1 to 64"),
        ("[queue]\nworkers = 0", "[queue] workers: found 0; expected a whole number from 1 to 64"),
        ("[queue]\nmax_attempts = 101", "[queue] max_attempts: found 101; expected a whole number from 1 to 100"),
        ("[queue]\nbase_delay = '0s'", '[queue] base_delay: found "0s"; expected a duration above 0s'),
        ("[webhook]\nmax_pending = 0", "[webhook] max_pending: found 0; expected a whole number, 1 or more"),
        (f"[webhook]\nmax_pending = 0x{'f' * 6000}", "[webhook] max_pending: found a very long number; this number is"),
        ("[webhook]\nmax_body = '1B'", '[webhook] max_body: found "1B"; expected a size from 1KiB to 256MiB'),
        ("[webhook]\nmax_body = '257MiB'", '[webhook] max_body: found "257MiB"; expected a size from 1KiB to 256MiB'),
        ("[webhook]\nmax_body = 8", '[webhook] max_body: found 8; expected a size such as "8B" (text with a unit: B,'),
        ("[webhook]\nallow_sha1 = 1", "[webhook] allow_sha1: found 1; expected true or false"),
        ("[flexport]\nrequests_per_second = 0", "[flexport] requests_per_second: found 0; expected a number above 0"),
        (
            "[flexport]\nrequests_per_second = inf",
            "[flexport] requests_per_second: found inf; expected a number above 0",
        ),
        (
            "[flexport]\nrequests_per_second = nan",
            "[flexport] requests_per_second: found nan; expected a number above 0",
        ),
        ("[flexport]\nconcurrency = 33", "[flexport] concurrency: found 33; expected a whole number from 1 to 32"),
        (
            "[flexport]\nenvironment = 'prod'",
            '[flexport] environment: found "prod"; expected one of production, sandbox',
        ),
        (
            "[flexport]\nenvironment = '../x'",
            '[flexport] environment: found "../x"; expected one of production, sandbox',
        ),
        (
            "[dashboard]\ntimezone = 'Mars/Base'",
            '[dashboard] timezone: found "Mars/Base"; expected an IANA time zone such as',
        ),
        (
            "[dashboard]\ntimezone = 'America'",
            '[dashboard] timezone: found "America"; expected an IANA time zone such as',
        ),
        (
            "[dashboard]\ntimezone = '../UTC'",
            '[dashboard] timezone: found "../UTC"; expected an IANA time zone such as',
        ),
        ("[dashboard]\ntimezone = ''", '[dashboard] timezone: found ""; expected one line of text'),
        ('[dashboard]\ntitle = "a\\u001bb"', '[dashboard] title: found "a\\u001bb"; expected one line of text'),
        (
            f"[dashboard]\ntitle = '{'x' * 81}'",
            f'[dashboard] title: found "{"x" * 77}..."; expected text of at most 80 char',
        ),
        ("[storage]\ndata_dir = ''", '[storage] data_dir: found ""; expected a path'),
        ("[storage]\ndata_dir = 7", "[storage] data_dir: found 7; expected a path"),
        (
            "[storage]\nevent_retention = '0s'",
            '[storage] event_retention: found "0s"; expected a duration above 0s or "forever"',
        ),
        (
            "[storage]\nhistory_retention = 'ever'",
            '[storage] history_retention: found "ever"; expected a duration such as',
        ),
        (
            "[sync]\nresources = ['ports', 'container-legs']",
            '[sync] resources: item 2: found "container-legs"; unknown resource; did you mean container_legs?',
        ),
        (
            "[sync]\nresources = ['zzzzzz']",
            '[sync] resources: item 1: found "zzzzzz"; unknown resource; known names are shipments, legs, containers',
        ),
        ("[sync]\nresources = [7]", "[sync] resources: item 1: found 7; expected a list of resources"),
        ("[sync]\nresources = 'shipments'", '[sync] resources: found "shipments"; expected a list of resources'),
        ("[sync]\nfull_interval = '9s'", '[sync] full_interval: found "9s"; expected a duration, 10s or more'),
        (
            "[sync]\nincremental_interval = '9999ms'",
            '[sync] incremental_interval: found "9999ms"; expected a duration, 10s or',
        ),
        ("[sync]\nevents_interval = '0s'", '[sync] events_interval: found "0s"; expected a duration, 10s or more'),
        ("[sync]\noverlap = '25h'", '[sync] overlap: found "25h"; expected a duration from 0s to 1d'),
        (
            "[documents]\ntypes = ['Packing List']",
            '[documents] types: item 1: found "Packing List"; expected a list of lower-case words such as packing_list',
        ),
        ("[documents]\nmax_size = '2GiB'", '[documents] max_size: found "2GiB"; expected a size from 1KiB to 1GiB'),
        ("[documents]\narchive = 'yes'", '[documents] archive: found "yes"; expected true or false'),
        ("[cache]\nsize_limit = '1KiB'", '[cache] size_limit: found "1KiB"; expected a size, 1MiB or more'),
        ("[cache]\nttl.shipmnt = '5m'", "[cache] ttl.shipmnt: unknown key; did you mean ttl.shipment?"),
        ("[cache.ttl]\nshipmnt = '5m'", "[cache] ttl.shipmnt: unknown key; did you mean ttl.shipment?"),
        ("[cache]\nttl = {shipmnt = '5m'}", "[cache] ttl.shipmnt: unknown key; did you mean ttl.shipment?"),
        ("[cache]\nshipment = '5m'", "[cache] shipment: unknown key; did you mean ttl.shipment?"),
        ("[cache]\n'ttl.shipment' = '5m'", '[cache] "ttl.shipment": unknown key; did you mean ttl.shipment?'),
        ("[cache]\nttl.'a.b' = '5m'", '[cache] ttl."a.b": unknown key; this table has shipment, leg, container'),
        ("[cache]\nttl.shipment.x = '5m'", "[cache] ttl.shipment: found a table; expected a duration such as"),
        ("[cache]\nttl.shipment = 5", '[cache] ttl.shipment: found 5; expected a duration such as "5s"'),
        ("[cache.ttl]\nshipment = 5", '[cache] ttl.shipment: found 5; expected a duration such as "5s"'),
        ("[cache]\nttl = '5m'", "[cache] ttl: found a value; expected a table of keys"),
        ("[cache]\nttl = ['5m']", "[cache] ttl: found a list; expected a table of keys"),
        ("[api]\npage_size = 0", "[api] page_size: found 0; expected a whole number from 1 to 1000"),
        ("[api]\nmax_page_size = 1001", "[api] max_page_size: found 1001; expected a whole number from 1 to 1000"),
    ],
)
def test_a_problem_is_one_sentence_with_the_found_and_the_right(home, text, problem):
    line = 1 if "\n" not in text or text.startswith("[[") else 2
    assert home.problem(text).startswith(f"flexportd.toml:{line}: {problem}")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[queue]\nbase_delay = '30m'", ":2: [queue] max_delay: must be at least base_delay, which is 30m"),
        (
            "[queue]\nbase_delay = '30m'\nmax_delay = '1m'",
            ':3: [queue] max_delay: found "1m"; must be at least base_delay, which is 30m',
        ),
        ("[api]\npage_size = 900", ":2: [api] max_page_size: must be at least page_size, which is 900"),
        (
            "[storage]\ndata_dir = '/a'\ncache_dir = '/a'",
            ':3: [storage] cache_dir: found "/a"; must be separate from data_dir: neither may be inside the other',
        ),
        (
            "[storage]\ndata_dir = '/a/../b/c'\ncache_dir = '/b'",
            ':3: [storage] cache_dir: found "/b"; must be separate from data_dir: neither may be inside the other',
        ),
        ("[server]\ntls_cert = '/c'", ":2: [server] tls_key: missing, but tls_cert requires it"),
        ("[server]\ntls_key = '/c'", ":2: [server] tls_key: requires tls_cert, which is missing"),
        ("[flexport]\nclient_id = 'x'", ":2: [flexport] client_secret: missing, but client_id requires it"),
        (
            "[webhook]\nself_check = '5m'\n[server]\npublic_url = 'https://x.example'",
            ":2: [webhook] self_check: requires [webhook] secrets, which is missing: the test event must be signed",
        ),
        (
            f"[webhook]\nself_check = '5m'\nsecrets = ['{SECRET}']",
            ":2: [server] public_url is missing, but [webhook] self_check requires it: it is the address to check",
        ),
        (
            f"[webhook]\nself_check = '59s'\nsecrets = ['{SECRET}']",
            ':2: [webhook] self_check: found "59s"; expected a duration of at least 1m, or "off"',
        ),
        ("[flexport]\nclient_secret = 'x'", ":2: [flexport] client_secret: requires client_id, which is missing"),
        (
            "[flexport]\napi_key = 'x'\nclient_id = 'x'\nclient_secret = 'x'",
            ":4: [flexport] client_secret: set either api_key, or client_id and client_secret, not both",
        ),
        (
            "[flexport]\napi_key = 'x'\nclient_id = 'x'",
            ":3: [flexport] client_secret: set either api_key, or client_id and client_secret, not both",
        ),
    ],
)
def test_keys_that_do_not_go_together_are_told_at_a_line_one_can_change(home, text, problem):
    assert home.problem(text) == f"flexportd.toml{problem}"


def test_a_broken_neighbour_does_not_cause_a_second_problem(home):
    text = "[queue]\nbase_delay = 1\nmax_delay = '1s'\n[api]\npage_size = 'x'\n[storage]\ndata_dir = 1"
    assert len(home.problems(text)) == 3


def test_a_cache_within_the_data_is_found_through_links(home):
    (home.folder / "data").mkdir()
    (home.folder / "link").symlink_to(home.folder / "data")
    assert "must be separate" in home.problem("[storage]\ndata_dir = 'data'\ncache_dir = 'link/cache'")


def test_more_than_a_hundred_problems_are_counted(home):
    problems = home.problems("[log]\n" + "\n".join(f"k{number} = 1" for number in range(5000)))
    assert len(problems) == 101
    assert problems[-1] == "and 4900 more problems"


def test_a_key_with_control_characters_is_shown_harmless(home):
    assert (
        home.problem('[log]\n"le\\nvel" = 1') == 'flexportd.toml:1: [log] "le\\nvel": unknown key; did you mean level?'
    )


@given(st.text())
def test_quoted_text_is_toml_and_one_printable_line(text):
    written = quote(text)
    assert written.isprintable()
    if text.isprintable():
        assert tomllib.loads(f"text = {written}") == {"text": text}


# Lines


def test_lines_are_found_in_odd_but_valid_files(home):
    text = """
[webhook]    # comment with [brackets]
secrets = [
  "]]]]-is-a-secret-too",   # path = "/not/here"
  'and "this one" as well',
]
path = \"\"\"/a\\
   /b = [c]\"\"\"
"max_pending" = 0

[ dashboard ]
title = '''
[queue]
workers = 1
'''''

[api]
page_size = { workers = "x" }
[queue]
  'workers' = 99
"""
    assert [problem.partition(": [")[0] for problem in home.problems(text)] == [
        "flexportd.toml:7",
        "flexportd.toml:9",
        "flexportd.toml:12",
        "flexportd.toml:18",
        "flexportd.toml:20",
    ]


def test_dotted_and_inline_keys_have_lines_too(home):
    text = "\nqueue.workers = 99\nlog = { level = 'loud' }\r\napi . 'page_size' = 0"
    assert [problem.partition(": [")[0] for problem in home.problems(text)] == [
        "flexportd.toml:2",
        "flexportd.toml:3",
        "flexportd.toml:4",
    ]


@given(st.text(alphabet="[]{}\"'=.#\\\n ab", max_size=200))
def test_the_line_finder_survives_any_text(text):
    lines = text.count("\n") + 1
    assert all(1 <= line <= lines for line in key_lines(text).values())


# Environment


def test_a_variable_overrides_the_file(home):
    loaded = home.load("[queue]\nworkers = 1\nlease = '5m'", FLEXPORTD_QUEUE__WORKERS="2")
    assert loaded.settings.queue.workers == 2
    assert loaded.origins["queue.workers"] == "environment FLEXPORTD_QUEUE__WORKERS"
    assert loaded.origins["queue.lease"] == f"{home.file}:3"


@pytest.mark.parametrize(
    ("dotted", "text", "expected"),
    [
        ("queue.lease", "5m", timedelta(minutes=5)),
        ("flexport.requests_per_second", "2.5", 2.5),
        ("flexport.api_version", "2", "2"),
        ("dashboard.enabled", "false", False),
        ("dashboard.title", "true", "true"),
        ("dashboard.title", "[a]", "[a]"),
        ("sync.resources", "shipments, containers", ("shipments", "containers")),
        ("sync.resources", '["shipments"]', ("shipments",)),
        ("sync.resources", "", ()),
        ("server.listen", "[::1]:80", (ListenAddress("::1", 80),)),
        (
            "server.listen",
            "127.0.0.1:1, unix:/x.sock",
            (ListenAddress("127.0.0.1", 1), ListenAddress(None, None, Path("/x.sock"))),
        ),
        ("webhook.allowed_networks", "10.0.0.0/8", (ip_network("10.0.0.0/8"),)),
        ("storage.history_retention", "forever", None),
        ("storage.data_dir", "/x", Path("/x")),
        ("cache.ttl.shipment", "90s", timedelta(seconds=90)),
        ("documents.types", "packing_list, nra", ("packing_list", "nra")),
    ],
)
def test_a_variable_is_read_as_its_key_needs(home, dotted, text, expected):
    loaded = home.load("", **{f"FLEXPORTD_{dotted.replace('.', '__').upper()}": text})
    assert value(loaded, dotted) == expected


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("QUEUE__WORKERS", "many", 'found "many"; expected a whole number from 1 to 64'),
        ("QUEUE__WORKERS", "1\nx = 2", 'found "1\\nx = 2"; expected a whole number from 1 to 64'),
        ("QUEUE__WORKERS", "[" * 5000, 'found "[[['),
        ("DASHBOARD__ENABLED", "yes", 'found "yes"; expected true or false'),
        ("QUEUE__LEASE", "60", 'found "60"; expected a duration such as "60s"'),
        ("QUEUE__LEASE", "\udcff", 'found "\\udcff"; expected a duration such as "5m"'),
        ("DASHBOARD__TITLE", "\udcff", 'found "\\udcff"; expected text of at most 80 characters'),
        ("CACHE__TTL__SHIPMENT", "5", 'found "5"; expected a duration such as "5s"'),
        ("CACHE__TTL__SHIPMNT", "5m", "unknown variable; did you mean FLEXPORTD_CACHE__TTL__SHIPMENT?"),
        ("CACHE__TTL", "5m", "unknown variable; "),
        ("ZZZ__ZZZ", "1", "unknown variable; "),
        ("queue__workers", "1", "unknown variable; "),
    ],
)
def test_a_variable_that_does_not_fit_is_told_by_name(home, name, text, problem):
    found = home.problem("", **{f"FLEXPORTD_{name}": text})
    assert found.startswith(f"environment FLEXPORTD_{name}: {problem}")
    found.encode()


def test_other_variables_are_left_alone(home):
    environ = {"FLEXPORTD_CONFIG": "x", "FLEXPORTD_HOME": "x", "FLEXPORT__X": "x", "OTHER__KEY": "x"}
    assert home.load("", **environ).settings.queue.workers == 4


# Secrets


def test_a_secret_comes_from_variable_file_or_credential_in_this_order(home):
    credentials = home.folder / "credentials"
    credentials.mkdir()
    (credentials / "api_key").write_text("from-credential\n")
    by_system = {"CREDENTIALS_DIRECTORY": str(credentials)}
    in_file = "[flexport]\napi_key = 'from-file'"

    loaded = home.load("", **by_system)
    assert loaded.settings.flexport.api_key.get_secret_value() == "from-credential"
    assert loaded.origins["flexport.api_key"] == "credential api_key"
    loaded = home.load(in_file, **by_system)
    assert loaded.settings.flexport.api_key.get_secret_value() == "from-file"
    loaded = home.load(in_file, FLEXPORTD_FLEXPORT__API_KEY="from-variable", **by_system)
    assert loaded.settings.flexport.api_key.get_secret_value() == "from-variable"
    assert loaded.origins["flexport.api_key"] == "environment FLEXPORTD_FLEXPORT__API_KEY"


def test_a_secret_file_is_found_beside_the_configuration(home, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    (home.folder / "key").write_text("the-key\n\n".removesuffix("\n"))
    loaded = home.load("[flexport]\napi_key_file = 'key'")
    assert loaded.settings.flexport.api_key.get_secret_value() == "the-key"
    assert loaded.origins["flexport.api_key"] == f"file {home.folder / 'key'}"
    assert home.load("[flexport]\napi_key_file = '~/key'").settings == loaded.settings
    assert home.load("", FLEXPORTD_FLEXPORT__API_KEY_FILE=str(home.folder / "key")).settings == loaded.settings


def test_only_one_newline_is_dropped_from_a_secret_file(home):
    (home.folder / "key").write_text("the-key\n\n")
    assert "found ***; expected one line of ASCII text" in home.problem("[flexport]\napi_key_file = 'key'")


@pytest.mark.parametrize("key", ["webhook.secrets", "flexport.api_key", "flexport.client_secret"])
@pytest.mark.parametrize(
    "content", [b"\xff\xfe" * 12, b"long-enough-and-\xe9t\xe9", b"\xed\xa0\x80" * 8, b"\xc0\xaf" * 10]
)
def test_a_secret_that_is_no_utf_8_is_refused_by_its_name_and_without_its_content(home, key, content):
    section, name = key.split(".")
    (home.folder / f"{section}_{name}").write_bytes(content)
    variable = f"FLEXPORTD_{section}__{name}".upper()
    for problem in (
        home.problem(f"[{section}]\n{name}_file = '{section}_{name}'"),
        home.problem("", CREDENTIALS_DIRECTORY=str(home.folder)),
        home.problem("", **{variable: os.fsdecode(content)}),
    ):
        assert f"[{section}] {name}" in problem or variable in problem
        assert "\\" not in problem
        assert "enough" not in problem
        assert problem.isascii()


@pytest.mark.parametrize("secret", ["aaaaaaaaaaaaaaaa", "passwordpassword", "0123456789abcdef", "your-webhook-secret"])
def test_a_webhook_secret_that_anybody_would_try_is_refused_without_its_value(home, secret):
    (home.folder / "webhook_secrets").write_text(f"{SECRET}\n{secret}\n")
    for problem in (
        home.problem(f"[webhook]\nsecrets = ['{SECRET}', '{secret}']"),
        home.problem("", CREDENTIALS_DIRECTORY=str(home.folder)),
    ):
        assert "[webhook] secrets: item 2: found ***; this secret is easy to guess: it" in problem
        assert secret not in problem


@pytest.mark.parametrize("name", ["webhook_secrets", "secrets"])
def test_webhook_secrets_stand_one_a_line_in_a_file_or_credential(home, name):
    (home.folder / name).write_bytes(f"{SECRET}\r\n\n{OTHER}\n".encode())
    loaded = home.load("", CREDENTIALS_DIRECTORY=str(home.folder))
    assert [secret.get_secret_value() for secret in loaded.settings.webhook.secrets] == [SECRET, OTHER]
    assert loaded.origins["webhook.secrets"] == f"credential {name}"
    assert home.load(f"[webhook]\nsecrets_file = '{name}'").settings == loaded.settings


def test_webhook_secrets_in_a_variable_are_separated_by_commas(home):
    loaded = home.load("", FLEXPORTD_WEBHOOK__SECRETS=f"{SECRET}, {OTHER}")
    assert [secret.get_secret_value() for secret in loaded.settings.webhook.secrets] == [SECRET, OTHER]


def test_a_variable_with_a_path_wins_over_a_secret_in_the_file(home):
    (home.folder / "key").write_text("the-key")
    loaded = home.load("[flexport]\napi_key = 'x'", FLEXPORTD_FLEXPORT__API_KEY_FILE="key")
    assert loaded.settings.flexport.api_key.get_secret_value() == "the-key"


def test_a_secret_and_its_file_together_are_an_error(home):
    (home.folder / "key").write_text("the-key")
    assert (
        home.problem("[flexport]\napi_key = 'x'\napi_key_file = 'key'")
        == "flexportd.toml:3: [flexport] set either api_key or api_key_file, not both"
    )
    both = {"FLEXPORTD_FLEXPORT__API_KEY": "x", "FLEXPORTD_FLEXPORT__API_KEY_FILE": "key"}
    assert home.problem("", **both).endswith("set either api_key or api_key_file, not both")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot read the file: No such file or directory"),
        (b"", " is empty"),
        (b"\n", " is empty"),
        (b"\xff", ":1: the file is not UTF-8 text"),
        (b"x" * (2**16 + 1), " is larger than 64 KiB"),
    ],
)
def test_a_secret_file_that_cannot_serve_is_told_with_key_and_path(home, content, problem):
    path = home.folder / "key"
    if content is not None:
        path.write_bytes(content)
    found = home.problem("[flexport]\n\napi_key_file = 'key'")
    assert found.startswith(f"flexportd.toml:3: [flexport] api_key: {path}")
    assert problem in found
    path = home.folder / "secrets"
    path.write_bytes(b"\n \n")
    assert home.problem("", CREDENTIALS_DIRECTORY=str(home.folder)).endswith(f"[webhook] secrets: {path} is empty")


@pytest.mark.parametrize("path", ["7", "''", "'a\\u0000b'".replace("'", '"')])
def test_the_path_of_a_secret_has_to_be_a_path(home, path):
    assert "[flexport] api_key" in home.problem(f"[flexport]\napi_key_file = {path}")


LEAKS = "leaking-secret-value"


@pytest.mark.parametrize(
    "text",
    [
        f"[webhook]\nsecrets = ['{LEAKS[:15]}']",
        f"[webhook]\nsecrets = '{LEAKS}'",
        f"[webhook]\nsecrets = {{ a = '{LEAKS}' }}",
        f"[webhook]\nsecrets = [['{LEAKS}']]",
        f"[webhook]\nsecret = '{LEAKS}'",
        f"webhook = '{LEAKS}'",
        f"api_key = '{LEAKS}'",
        f"[flexport]\napi_key = ['{LEAKS}']",
        f"[flexport]\napi_key = '{LEAKS} {LEAKS}'",
        f"[flexport]\napi_key = '{LEAKS}'\nclient_secret = '{LEAKS}'",
        f"[flexport]\nclient_secret = '{LEAKS}'",
        f"[flexport]\nbase_url = 'https://user:{LEAKS}@host'",
        f"[flexport]\nbase_url = 'https://host/?key={LEAKS}'",
        f'[flexport]\nbase_url = "https://user\\n:{LEAKS}@host"',
        f"[flexport]\napi_key = {LEAKS}",
        f"[flexport]\napi_key = '{LEAKS}",
        f"[flexport]\napi_key = '{LEAKS}'\napi_key = '{LEAKS}'",
    ],
)
def test_no_error_holds_a_secret_nor_carries_one_along(home, text):
    with pytest.raises(ConfigError) as caught:
        home.load(text)
    error = caught.value
    while error is not None:
        assert LEAKS[:15] not in f"{error} {error!r} {error.args}"
        assert not isinstance(error, ValidationError | UnicodeDecodeError)
        error = error.__cause__ or error.__context__


def test_no_secret_is_shown_or_in_the_repr(home):
    text = f"[webhook]\nsecrets = ['{SECRET}']\n[flexport]\nclient_id = 'id'\nclient_secret = '{OTHER}'"
    loaded = home.load(text)
    seen = f"{loaded!r} {loaded.settings} {describe_values(loaded)}"
    assert SECRET not in seen
    assert OTHER not in seen
    rows = {dotted: (text, origin) for dotted, text, origin in describe_values(loaded)}
    assert rows["webhook.secrets"] == ("***", f"{home.file}:2")
    assert rows["flexport.client_secret"] == ("***", f"{home.file}:5")
    assert rows["flexport.api_key"] == ("not set", "default")


# Notes and origins


def test_a_file_with_secrets_that_others_can_read_gets_advice(home):
    home.file.touch(mode=0o644)
    home.file.chmod(0o644)
    loaded = home.load(f"[webhook]\nsecrets = ['{SECRET}']")
    assert loaded.notes == (f"{home.file} contains secrets and other users can read it; run: chmod 600 {home.file}",)
    home.file.chmod(0o600)
    assert home.load(f"[webhook]\nsecrets = ['{SECRET}']").notes == ()
    home.file.chmod(0o644)
    assert home.load("[log]\nlevel = 'info'").notes == ()


def test_every_key_is_shown_with_value_and_origin(home):
    text = "[server]\nlisten = ['127.0.0.1:1', 'unix:/x.sock']\n[flexport]\nenvironment = 'sandbox'"
    loaded = home.load(text, STATE_DIRECTORY="/state", FLEXPORTD_QUEUE__LEASE="90s")
    rows = {dotted: (shown, origin) for dotted, shown, origin in describe_values(loaded)}
    assert list(rows) == list(key_specs())
    assert rows["server.listen"] == ("127.0.0.1:1, unix:/x.sock", f"{home.file}:2")
    assert rows["queue.lease"] == ("90s", "environment FLEXPORTD_QUEUE__LEASE")
    assert rows["webhook.max_body"] == ("8MiB", "default")
    assert rows["webhook.allowed_networks"] == ("all", "default")
    assert rows["storage.data_dir"] == ("/state", "environment STATE_DIRECTORY")
    assert rows["storage.history_retention"] == ("forever", "default")
    assert rows["dashboard.enabled"] == ("true", "default")
    assert rows["flexport.base_url"] == ("http://127.0.0.1:9100", "profile sandbox")
    assert rows["flexport.requests_per_second"] == ("5", "default")


# Single keys


def test_folders_come_from_systemd_then_from_xdg_then_from_the_home(home):
    storage = home.load("", STATE_DIRECTORY="/s:/t", CACHE_DIRECTORY="/c", RUNTIME_DIRECTORY="/r").settings.storage
    assert (storage.data_dir, storage.cache_dir) == (Path("/s"), Path("/c"))
    assert storage.control_socket == Path("/r/control.sock")
    storage = home.load("", XDG_DATA_HOME="/xd", XDG_CACHE_HOME="/xc").settings.storage
    assert (storage.data_dir, storage.cache_dir) == (Path("/xd/flexportd"), Path("/xc/flexportd"))
    storage = home.load().settings.storage
    assert storage.data_dir == home.folder / ".local/share/flexportd"
    assert storage.cache_dir == home.folder / ".cache/flexportd"
    assert storage.control_socket == home.folder / ".local/share/flexportd/control.sock"


def test_the_control_socket_lies_in_the_data_folder_that_was_chosen(home):
    assert home.load("[storage]\ndata_dir = '/d'").settings.storage.control_socket == Path("/d/control.sock")


def test_paths_start_at_the_folder_of_the_file(home, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    loaded = home.load("[storage]\ndata_dir = 'data'\ncache_dir = '~/cache'\n[server]\ntls_cert='c'\ntls_key='k'")
    assert loaded.settings.storage.data_dir == home.folder / "data"
    assert loaded.settings.storage.cache_dir == home.folder / "cache"
    assert loaded.settings.server.tls_cert == home.folder / "c"


def test_a_control_socket_too_long_for_the_kernel_is_told_by_its_key(home):
    folder = "/" + "ä" * 60
    found = home.problem(f"[storage]\ncontrol_socket = '{folder}'")
    assert found.startswith("flexportd.toml:2: [storage] control_socket: found")
    assert found.endswith("the path of a socket may have at most 107 bytes, this one has 121")
    found = home.problem(f"[storage]\ndata_dir = '{folder}'")
    assert found.endswith("[storage] control_socket: the path of a socket may have at most 107 bytes, this one has 134")
    assert home.load(f"[storage]\ncontrol_socket = '/{'a' * 106}'").settings.storage.control_socket


def test_a_profile_supplies_what_is_not_given(home):
    text = "[flexport]\nenvironment = 'sandbox'\ntoken_url = 'https://tokens.example/t/'"
    loaded = home.load(text)
    assert loaded.settings.flexport.base_url == "http://127.0.0.1:9100"
    assert loaded.settings.flexport.token_url == "https://tokens.example/t"
    assert loaded.origins["flexport.audience"] == "profile sandbox"
    assert loaded.origins["flexport.token_url"] == f"{home.file}:3"


def test_the_shipped_profiles_are_sound():
    assert profile_names() == ("production", "sandbox")
    assert profile("production").base_url == "https://api.flexport.com"
    for name in profile_names():
        assert Settings(flexport={"environment": name}).flexport.base_url == profile(name).base_url


def test_the_shipped_lifetimes_are_those_of_every_type(home):
    cache = home.load().settings.cache
    singular = {kind_of((name,)) for name in RESOURCES}
    assert list(cache.seconds()) == list(default_lifetimes()) == list(type(cache.ttl).model_fields)
    assert set(default_lifetimes()) == {*singular, "timeline", "page", "file"}
    assert cache.seconds()["shipment"] == 300
    assert cache.ttl.file == timedelta(days=7)


def test_a_lifetime_is_written_with_a_dot_or_in_a_table_of_its_own(home):
    for text in ("[cache]\nttl.port = '2d'", "[cache.ttl]\nport = '2d'", "cache.ttl.port = '2d'"):
        loaded = home.load(text)
        assert loaded.settings.cache.ttl.port == timedelta(days=2)
        assert loaded.settings.cache.ttl.leg == timedelta(minutes=5)
        assert loaded.origins["cache.ttl.port"] == f"{home.file}:{text.count(chr(10)) + 1}"
        assert ("cache.ttl.port", "2d", loaded.origins["cache.ttl.port"]) in describe_values(loaded)
    loaded = home.load("[cache]\nsize_limit = '1GiB'\nttl = {port = '2d', leg = '0s'}", FLEXPORTD_CACHE__TTL__LEG="1s")
    assert loaded.origins["cache.ttl.port"] == f"{home.file}:3"
    assert loaded.settings.cache.seconds() | {"port": 172_800, "leg": 1} == loaded.settings.cache.seconds()


def test_the_profiles_are_found_inside_an_installed_package(tmp_path):
    """In a wheel there is no folder beside the package."""
    package = tmp_path / "flexportd"
    shutil.copytree(ROOT / "flexportd/settings", package / "settings", ignore=shutil.ignore_patterns("__pycache__"))
    (package / "http").mkdir()
    for name in ("__init__.py", "errors.py", "http/__init__.py", "http/network_addresses.py"):
        shutil.copy(ROOT / "flexportd" / name, package / name)
    shutil.copytree(ROOT / "config", package / "_config")
    (package / "_config/environments/production.toml").write_text(
        "base_url='http://in.side'\ntoken_url='http://t'\naudience='a'"
    )
    code = "import flexportd.settings as s; print(s.__file__, s.Settings().flexport.base_url)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(package / "settings/__init__.py"), "http://in.side"]


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x",
        "x",
        "http://",
        "https://u@h",
        "https://u:p@h",
        "http://h?q=1",
        "http://h#f",
        "http://h:99999",
        "http://[::1",
        "http://h h",
        "http://h\\x",
        "",
        "//h",
        "http://h:0",
    ],
)
def test_an_address_must_be_plain_http(home, url):
    for key in ("base_url", "token_url"):
        assert f"[flexport] {key}: found" in home.problem(f"[flexport]\n{key} = {quote(url)}")
    assert "expected an http:// or https:// URL" in home.problem(f"[server]\npublic_url = {quote(url)}")


def test_an_address_loses_its_closing_slash(home):
    assert (
        home.load("[server]\npublic_url = 'https://x.example/f/'").settings.server.public_url == "https://x.example/f"
    )


@pytest.mark.parametrize("path", ["/hooks", "/webhooks/flexport", "/a/b.c_d~e-1", "/apis/x", "/metricsx"])
def test_a_webhook_path_may_be_chosen(home, path):
    assert home.load(f"[webhook]\npath = '{path}'").settings.webhook.path == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "x",
        "x/y",
        "/api/x",
        "/static/x",
        "/healthz",
        "/readyz",
        "/metrics",
        "/a b",
        "/{x}",
        "/a?b",
        "/a#b",
        "/a/",
        "//a",
        "/a/../b",
        "/./a",
        "/%61",
        "/ü",
    ],
)
def test_a_webhook_path_must_be_free_and_plain(home, path):
    assert f"[webhook] path: found {quote(path)}" in home.problem(f"[webhook]\npath = {quote(path)}")


@pytest.mark.parametrize(
    ("text", "listen", "loopback"),
    [
        ("127.0.0.1:8080", ListenAddress("127.0.0.1", 8080), True),
        ("127.9.9.9:0", ListenAddress("127.9.9.9", 0), True),
        ("[::1]:80", ListenAddress("::1", 80), True),
        ("localhost:80", ListenAddress("localhost", 80), True),
        ("unix:/run/x.sock", ListenAddress(None, None, Path("/run/x.sock")), False),
        ("0.0.0.0:80", ListenAddress("0.0.0.0", 80), False),
        ("[::]:80", ListenAddress("::", 80), False),
        ("freight.example.com:443", ListenAddress("freight.example.com", 443), False),
        ("[fe80::1%eth0]:80", ListenAddress("fe80::1%eth0", 80), False),
    ],
)
def test_a_place_to_listen_is_read_and_written_back(home, text, listen, loopback):
    (found,) = home.load(f"[server]\nlisten = '{text}'").settings.server.listen
    assert found == listen
    assert found.is_loopback is loopback
    assert str(found) == text


@pytest.mark.parametrize(
    ("text", "usual", "loopback"),
    [
        ("[::ffff:127.0.0.1]:80", "127.0.0.1:80", True),
        ("[::ffff:7f00:1]:80", "127.0.0.1:80", True),
        ("[::FFFF:0.0.0.0]:80", "0.0.0.0:80", False),
        ("[0:0:0:0:0:0:0:1]:80", "[::1]:80", True),
        ("[2001:DB8::0:1]:80", "[2001:db8::1]:80", False),
        ("LocalHost:80", "localhost:80", True),
    ],
)
def test_an_address_to_listen_at_has_one_form(home, text, usual, loopback):
    (found,) = home.load(f"[server]\nlisten = '{text}'").settings.server.listen
    assert (str(found), found.is_loopback) == (usual, loopback)
    assert "different addresses" in home.problem(f"[server]\nlisten = ['{text}', '{usual}']")


@pytest.mark.parametrize(
    ("toml", "problem"),
    [
        ("':80'", "for all interfaces, use 0.0.0.0:80"),
        ("'80'", "for this machine only, use 127.0.0.1:80"),
        ("8080", "found 8080; expected a text or list of texts"),
        ("[8080]", "found 8080; expected host:port"),
        ("'h'", "expected host:port, [IPv6]:port or unix:/path"),
        ("'::1:80'", "expected host:port, [IPv6]:port or unix:/path"),
        ("'[::1]'", "expected host:port, [IPv6]:port or unix:/path"),
        ("'[1.2.3.4]:80'", "expected host:port, [IPv6]:port or unix:/path"),
        ("'1.2.3:80'", "expected host:port, [IPv6]:port or unix:/path"),
        ("'-x:80'", "expected host:port, [IPv6]:port or unix:/path"),
        ("'h:65536'", "expected a port of at most 65535"),
        ("'h:http'", "expected host:port, [IPv6]:port or unix:/path"),
        ("'unix:x'", "expected an absolute path after unix:"),
        ('"unix:/a\\u0000"', "expected an absolute path after unix:"),
        (f"'unix:/{'x' * 200}'", "at most 107 bytes, this one has 201"),
        ("[]", "expected one or more different addresses"),
        ("['h:1', 'h:1']", "expected one or more different addresses"),
        ("['h:1', ':2']", 'item 2: found ":2"'),
        ("'[fe80::1]:80'", "a link-local address needs its interface"),
        ("'[::1%eth0]:80'", "only a link-local address (fe80::) can have an interface"),
        ("'[ff02::1%eth0]:80'", "multicast"),
        ("'224.0.0.1:80'", "a multicast or broadcast address accepts no connections"),
        ("'[::ffff:255.255.255.255]:80'", "a multicast or broadcast address accepts no connections"),
    ],
)
def test_a_place_to_listen_that_cannot_be_is_refused(home, toml, problem):
    assert problem in home.problem(f"[server]\nlisten = {toml}")


def test_a_free_port_may_be_asked_for_twice(home):
    assert len(home.load("[server]\nlisten = ['127.0.0.1:0', '127.0.0.1:0']").settings.server.listen) == 2


def test_networks_and_single_addresses_are_read(home):
    loaded = home.load("[webhook]\nallowed_networks = ['10.0.0.0/8', '192.0.2.7', '::1', 'fd00::/8']")
    assert loaded.settings.webhook.allowed_networks == tuple(
        map(ip_network, ("10.0.0.0/8", "192.0.2.7/32", "::1/128", "fd00::/8"))
    )


@pytest.mark.parametrize(
    ("item", "problem"),
    [
        ("'10.0.0.1/8'", "this is an address within a network; expected the network 10.0.0.0/8"),
        ("'x'", "expected an address or a network such as 10.0.0.0/8"),
        ("7", "expected an address or a network such as 10.0.0.0/8"),
        ("'fe80::1%eth0'", "expected an address or a network such as 10.0.0.0/8"),
    ],
)
def test_what_is_no_network_is_refused_with_its_number(home, item, problem):
    found = home.problem(f"[server]\ntrusted_proxies = ['::1', {item}]")
    assert "[server] trusted_proxies: item 2: found" in found
    assert problem in found


# The model


def test_settings_cannot_be_changed():
    settings = Settings()
    with pytest.raises(ValidationError):
        settings.queue.workers = 5
    with pytest.raises(ValidationError):
        settings.queue = settings.queue
    with pytest.raises(FrozenInstanceError):
        settings.server.listen[0].port = 5


def test_settings_for_tests_stay_in_their_folder(tmp_path):
    settings = Settings.for_tests(tmp_path, **{"webhook.max_body": "1KiB"})
    assert settings.webhook.max_body == 1024
    assert settings.webhook.secrets[0].get_secret_value() == "test-secret-0123456789"
    assert settings.server.listen == (ListenAddress("127.0.0.1", 0),)
    for path in (settings.storage.data_dir, settings.storage.cache_dir, settings.storage.control_socket):
        assert tmp_path in path.parents
    with pytest.raises(ValidationError):
        Settings.for_tests(tmp_path, **{"webhook.max_bodi": "1KiB"})


def test_changes_are_sorted_by_what_they_need(tmp_path):
    old = Settings.for_tests(tmp_path)
    new = Settings.for_tests(
        tmp_path, **{"log.level": "debug", "webhook.secrets": [SECRET], "queue.workers": 5, "webhook.path": "/x"}
    )
    assert changed_keys(old, old) == ([], [])
    assert changed_keys(old, new) == (["webhook.secrets", "log.level"], ["webhook.path", "queue.workers"])
    new = Settings.for_tests(tmp_path, **{"cache.ttl.port": "2d", "cache.size_limit": "1GiB"})
    assert changed_keys(old, new) == (["cache.ttl.port"], ["cache.size_limit"])


# Anything at all

_NAMES = st.sampled_from(
    [*Settings.model_fields, *(name.partition(".")[2] for name in (*key_specs(), *secret_files()))]
) | st.text(max_size=8)
_PLAIN = (
    st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.dates()
    | st.datetimes()
    | st.sampled_from(
        ["5m", "1MiB", "forever", "127.0.0.1:0", "unix:/x", "10.0.0.0/8", "UTC", "~", "~/x", "\0", "info"]
    )
)
_VALUES = st.recursive(
    _PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3), max_leaves=6
)
_SECTIONS = st.sampled_from(
    [
        {name.split(".")[1]: name for name in key_specs() if name.startswith(f"{section}.")}
        for section in Settings.model_fields
    ]
).flatmap(lambda names: st.dictionaries(st.sampled_from(list(names)) | _NAMES, _VALUES, max_size=5))
_DOCUMENTS = st.dictionaries(st.sampled_from(list(Settings.model_fields)) | _NAMES, _SECTIONS | _VALUES, max_size=5)


def written(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list):
        return f"[{', '.join(map(written, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quote(name)} = {written(inner)}" for name, inner in value.items()) + "}"
    return value.isoformat()


def settings_or_error(home: Home, content: str | bytes, **environ: str) -> None:
    try:
        loaded = home.load(content, **environ)
    except ConfigError as error:
        problems = error.problems
    else:
        assert describe_values(loaded)
        return
    assert problems
    assert all(problem.strip() and "\n" not in problem for problem in problems)
    "".join(problems).encode()


_SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@_SHARED
@given(_DOCUMENTS)
def test_any_document_gives_settings_or_a_config_error(home, document):
    settings_or_error(home, "\n".join(f"{quote(name)} = {written(inner)}" for name, inner in document.items()))


@_SHARED
@given(st.binary(max_size=300) | st.text(alphabet="[]{}=.\"'# \nabwebhook1", max_size=300).map(str.encode))
def test_any_bytes_give_settings_or_a_config_error(home, content):
    settings_or_error(home, content)


@_SHARED
@given(st.sampled_from([*key_specs(), *secret_files()]), st.text(max_size=20))
def test_any_variable_gives_settings_or_a_config_error(home, dotted, text):
    settings_or_error(home, "", **{f"FLEXPORTD_{dotted.replace('.', '__').upper()}": text})


def test_a_user_without_a_home_gets_the_folders_of_the_system(tmp_path):
    """As in a container that runs under a number without a name."""
    code = """
import os
from pathlib import Path
from flexportd.settings import load
load(Path("/dev/null"), {"HOME": "/x"})
os.environ.clear()
try:
    os.setuid(54321)
except PermissionError:
    raise SystemExit(77)
storage = load(Path("/dev/null"), {}).settings.storage
print(storage.data_dir, storage.cache_dir)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == 77:
        pytest.skip("only root may become nobody")
    assert done.stdout.split() == ["/var/lib/flexportd", "/var/cache/flexportd"], done.stderr


def test_required_documents_are_by_mode_and_may_have_alternatives(tmp_path):
    given = {"exceptions.required_documents": {"ocean": ["bill", "invoice/invoice_list"]}}
    found = Settings.for_tests(tmp_path, **given).exceptions
    assert found.required() == {"ocean": (("bill",), ("invoice", "invoice_list"))}
    assert Settings.for_tests(tmp_path).exceptions.required() == {}
