"""The access log: what does not find room in it is counted, and the count is called what it is."""

import json

import pytest

from flexportd.clock import Clock
from flexportd.http import access_log
from flexportd.http.access_log import AccessLog, AccessLogEntry


@pytest.mark.parametrize("console", [False, True])
async def test_requests_without_room_are_counted(capsys, monkeypatch, console):
    monkeypatch.setattr(access_log, "_MAX_WAITING", 3)
    found = AccessLog(Clock(), enabled=True, console=console)
    for number in range(8):
        found.record(AccessLogEntry(0.0, "GET", f"/{number}", 200, 17, 0.001, "127.0.0.1", f"id-{number}", None))
    await found.flush()
    *lines, last = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    if console:
        assert "5 requests" in last
        assert " B " not in last
        return
    assert all(json.loads(line)["bytes"] == 17 for line in lines)
    told = json.loads(last)
    assert (told["event"], told["level"], told["count"]) == ("access_log_entries_dropped", "warning", 5)
    assert set(told) == {"timestamp", "level", "logger", "event", "count"}


async def test_the_count_begins_anew(capsys, monkeypatch):
    monkeypatch.setattr(access_log, "_MAX_WAITING", 1)
    found = AccessLog(Clock(), enabled=True)
    for _ in range(2):
        for _ in range(2):
            found.record(AccessLogEntry(0.0, "GET", "/", 200, 17, 0.001, "127.0.0.1", "id", None))
        await found.flush()
    counts = [json.loads(line).get("count") for line in capsys.readouterr().err.splitlines()]
    assert counts == [None, 1, None, 1]
