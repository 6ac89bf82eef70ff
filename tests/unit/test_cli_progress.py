"""What a command says while it waits: one line on a terminal, seldom one elsewhere, and never on standard output."""

import io
import json

import pytest

from flexportd.cli import progress
from flexportd.cli.commands import sync
from flexportd.cli.output import DaemonResponse, Output
from flexportd.cli.progress import ProgressLine


class Screen(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_has_one_line_that_changes(monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    screen = Screen()
    shown = ProgressLine(screen)
    shown.show("10 pages, 1000 objects of very many")
    shown.show("11 pages\x1b[2J")
    shown.show("11 pages\x1b[2J")
    shown.clear()
    lines = screen.getvalue().split("\r")
    assert "\n" not in screen.getvalue()
    assert "\x1b" not in screen.getvalue()
    assert lines[1] == "10 pages, 1000 objects of ve…"
    assert lines[2].rstrip() == "11 pages\\u001b[2J"
    assert len(lines[2]) == 29
    assert [line.strip() for line in lines[3:]] == ["", ""]


def test_elsewhere_a_line_comes_seldom_and_only_with_news(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    pipe = io.StringIO()
    shown = ProgressLine(pipe)
    for second in range(60):
        now[0] = float(second)
        shown.show(f"{second // 20} pages")
    shown.clear()
    assert pipe.getvalue() == "0 pages\n1 pages\n2 pages\n"


class Daemon:
    """Answers with a run that goes on for so many looks."""

    def __init__(self, looks):
        self.left = looks

    def _run(self):
        self.left -= 1
        state = "running" if self.left > 0 else "complete"
        receipt = {
            "resource": "shipments", "state": state, "total": 250, "objects": 200, "requests": 2, "unchanged": 200,
            "changed": 0, "new": 0, "skipped": 0, "failed": 0, "missing": 0, "removed": 0, "skipped_by_reason": {}, "reason": None,
            "balanced": True,
        }  # fmt: skip
        found = {"id": "7", "kind": "full", "state": state, "started_at": "2026-03-04T12:00:00.000Z", "ended_at": None,
                 "reason": None, "results": [receipt, {**receipt, "resource": "legs"}]}  # fmt: skip
        return DaemonResponse(json.dumps(found).encode())

    def post(self, path):
        return self._run()

    def get(self, path):
        return self._run()


def test_a_sync_that_is_waited_for_says_how_far_it_is(monkeypatch, capsys):
    monkeypatch.setattr(progress.time, "sleep", lambda _: None)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    call = sync.sync_run.callback.__wrapped__.__wrapped__
    assert call(Daemon(3), Output(), wait=True) is None
    found = capsys.readouterr()
    expected = "0 of 2 lists, 4 pages, 400 objects; reading shipments (200 of 250), legs (200 of 250)"
    assert expected in found.err
    assert "pages" not in found.out
    assert "Run 7" in found.out


@pytest.mark.parametrize("terminal", [True, False])
def test_ctrl_c_leaves_the_run_going_and_says_so(monkeypatch, capsys, terminal):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(progress.time, "sleep", interrupted)
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal, raising=False)
    with pytest.raises(KeyboardInterrupt):
        sync.sync_run.callback.__wrapped__.__wrapped__(Daemon(3), Output(), wait=True)
    found = capsys.readouterr()
    assert found.err.endswith("\nThe sync continues. Run `flexportd sync show 7` to see its progress.\n")
    assert found.out == ""
