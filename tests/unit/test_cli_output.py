"""What is printed: tables that fit, ages, colours where they belong, and nothing a terminal would obey."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from flexportd.cli.format import (
    actual_or_estimate,
    ago,
    count_of,
    format_duration,
    format_size,
    format_time,
    since,
    tally,
)
from flexportd.cli.output import Column, DaemonResponse, Output, truncate
from flexportd.errors import FlexportdError
from flexportd.escape import display_width

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
NAME = Column("name", lambda row: row["name"], narrows=True)
COUNT = Column("count", lambda row: row["count"], right=True)
HOSTILE = ["\x1b[2J\x1b]0;owned\x07", "a\u202eb", "a\x00b", "line\nbreak\r", "\x9b31m", "\u2066x\u2069", "\ud800"]


def test_columns_are_aligned_by_display_width(capsys):
    Output().table(
        [{"name": "上海港", "count": 5}, {"name": "Ningbo", "count": 12}, {"name": "e\u0301", "count": 1}],
        [NAME, COUNT],
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "NAME    COUNT"
    assert {display_width(line) for line in lines} == {13}


def test_a_table_fits_the_terminal_and_cuts_only_what_may_be_cut(capsys):
    rows = [{"name": "x" * 500, "count": 123_456_789}, {"name": "上" * 300, "count": 1}]
    Output(columns=40).table(rows, [NAME, COUNT])
    lines = capsys.readouterr().out.splitlines()
    assert all(display_width(line) <= 40 for line in lines)
    assert lines[1].endswith("123456789")
    assert "…" in lines[1]


def test_columns_for_which_there_is_no_room_are_left_out_by_importance(capsys):
    names = ("id", "first", "second", "third")
    columns = [Column(name, priority=priority) for name, priority in zip(names, (1, 3, 4, 2), strict=True)]
    row = dict.fromkeys(names, "x" * 20)
    for room, kept in ((120, names), (70, ("id", "first", "third")), (50, ("id", "third")), (10, ("id",))):
        Output(terminal=True, columns=room).table([row], columns)
        found = capsys.readouterr()
        assert found.out.split("\n")[0].split() == [name.upper() for name in kept]
        assert "…" not in found.out
        left = ", ".join(name for name in names if name not in kept)
        assert (f"Hidden columns: {left}." in found.err) == bool(left)


def test_a_column_without_values_goes_first_and_is_not_missed(capsys):
    columns = [Column("id", priority=1), Column("empty", priority=2), Column("full", priority=3)]
    Output(terminal=True, columns=45).table([{"id": "x" * 20, "empty": None, "full": "y" * 20}], columns)
    found = capsys.readouterr()
    assert found.out.split("\n")[0].split() == ["ID", "FULL"]
    assert found.err == ""


def test_a_long_cell_is_whole_in_a_pipe(capsys):
    Output().table([{"name": "x" * 900, "count": 1}], [NAME, COUNT])
    assert "x" * 900 in capsys.readouterr().out


def test_nothing_is_cut_to_a_width_in_a_pipe(capsys):
    Output().table([{"name": "x" * 150, "count": 1}], [NAME, COUNT])
    assert "x" * 150 in capsys.readouterr().out


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_reaches_no_terminal(capsys, text):
    out = Output(terminal=True, columns=80)
    out.table([{"name": text, "count": text}], [NAME, COUNT])
    out.facts([("name", text)])
    out.line(text)
    out.note(text)
    out.heading(text)
    out.document(DaemonResponse(json.dumps({"name": text}, ensure_ascii="\ud800" in text).encode()))
    found = capsys.readouterr()
    assert re.fullmatch(r"[\n\x20-\x7e]*", found.out + found.err)


def test_a_name_of_a_megabyte_is_one_cell(capsys):
    Output(columns=80).table([{"name": "\x1b" * 1_000_000, "count": 1}], [NAME, COUNT])
    assert len(capsys.readouterr().out) < 1000


def test_json_is_passed_on_byte_for_byte_in_a_pipe(capfdbinary):
    raw = '{"a": 1.10,"b":"é\u202e","c":1E400,"a": 2}'.encode()
    Output(as_json=True).document(DaemonResponse(raw))
    assert capfdbinary.readouterr().out == raw + b"\n"


def test_json_on_a_terminal_is_laid_out_and_means_the_same(capsys):
    document = {"name": "上海 \u202e\x9b\x7f", "list": [1, {"deep": None}]}
    Output(as_json=True, terminal=True).document(DaemonResponse(json.dumps(document, ensure_ascii=False).encode()))
    text = capsys.readouterr().out
    assert "上海" in text
    assert "\u202e" not in text
    assert text.count("\n") > 4
    assert json.loads(text) == document


def test_what_is_no_json_is_an_error_of_ours():
    for raw in (b"{", b"[" * 100_000, b"\xff"):
        with pytest.raises(FlexportdError, match="Cannot read"):
            _ = DaemonResponse(raw).document


def test_colours_are_for_terminals_that_want_them(capsys, monkeypatch):
    state = Column("state", lambda row: row["state"], coloured=True)
    Output(colours=True).table([{"state": "dead"}], [state])
    assert "\x1b[31mdead" in capsys.readouterr().out
    Output.standard().table([{"state": "dead"}], [state])
    assert "\x1b" not in capsys.readouterr().out
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert Output.standard().colours
    monkeypatch.setenv("NO_COLOR", "1")
    assert not Output.standard().colours
    assert Output.standard().terminal


def test_an_empty_list_is_a_sentence_and_a_cut_one_says_so(capsys):
    Output().show_list(DaemonResponse(b'{"data":[],"next":null}'), [NAME], "No rows.")
    assert capsys.readouterr().out == "No rows.\n"
    Output().show_list(DaemonResponse(b'{"data":[{"name":"a"}],"next":"abc"}'), [NAME], "No rows.")
    found = capsys.readouterr()
    assert found.out == "NAME\na\n"
    assert "--limit" in found.err


def test_long_facts_are_broken_between_words_on_a_terminal_only(capsys):
    text = "11 seller location, 10 final destination, 10 in transit"
    Output(terminal=True, columns=40).facts([("by status", text), ("id", "x" * 60)])
    assert capsys.readouterr().out.splitlines() == [
        "by status  11 seller location, 10 final",
        "           destination, 10 in transit",
        f"id         {'x' * 60}",
    ]
    Output().facts([("by status", text)])
    assert capsys.readouterr().out == f"by status  {text}\n"


@pytest.mark.parametrize(
    ("stamp", "text"),
    [
        ("2026-03-04T11:58:00Z", "2 min ago"),
        ("2026-03-04T12:00:02Z", "just now"),
        ("2026-03-08T12:00:00Z", "2026-03-08 12:00Z"),
    ],
)
def test_an_update_is_an_age_or_a_time_but_never_ahead(stamp, text):
    assert since(stamp, NOW) == text


def test_facts_leave_out_what_is_not_known(capsys):
    Output().facts([("id", 7), ("name", None), ("paused", False), ("list", "")])
    assert capsys.readouterr().out == "id      7\npaused  no\n"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "just now"), (-3, "just now"), (20, "20 s ago"), (180, "3 min ago"), (7200, "2 h ago"), (90_000, "1 d ago"),
     (-3600, "in 1 h"), (40 * 86_400, "1 mo ago"), (800 * 86_400, "2 y ago")],
)  # fmt: skip
def test_ages_are_in_words(seconds, words):
    assert ago((NOW - timedelta(seconds=seconds)).isoformat(), NOW) == words


def test_what_is_no_time_stays_as_it_is():
    assert ago(None, NOW) == "never"
    assert ago("soon", NOW) == "soon"
    assert ago("2026-03-04T12:00:00", NOW) == "2026-03-04T12:00:00"
    assert format_time(None) == ""
    assert format_time("2026-03-21T19:00:00.000Z") == "2026-03-21 19:00Z"


def test_numbers_are_in_words():
    assert [format_duration(0), format_duration(59.9), format_duration(61)] == ["0 s", "59 s", "1 min"]
    assert [format_size(5), format_size(1536), format_size(5 << 40)] == ["5 B", "1.5 KiB", "5.0 TiB"]
    assert [count_of(1, "box", "boxes"), count_of(2, "box", "boxes"), count_of(0, "hit")] == [
        "1 box",
        "2 boxes",
        "0 hits",
    ]
    assert tally({"air": 2, "truck_intl": 9, "rail": 0}) == "9 truck intl, 2 air"
    assert tally({}) == "none"


def test_a_forecast_is_marked():
    both = {"actual_arrival_date": "2026-03-21", "estimated_arrival_date": "2026-03-20"}
    assert actual_or_estimate(both, "arrival") == "2026-03-21"
    assert actual_or_estimate(both | {"actual_arrival_date": None}, "arrival") == "~2026-03-20"
    assert actual_or_estimate({}, "arrival") == ""


def test_a_wide_character_is_never_cut_in_half():
    assert [truncate("上海港", room) for room in (6, 5, 4, 3, 1)] == ["上海港", "上海…", "上…", "上…", "…"]
