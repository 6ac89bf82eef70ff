"""A calendar as a strict reader takes it: RFC 5545 to the letter, then two libraries that must agree."""

import re
from collections import Counter
from datetime import datetime
from typing import Any

import icalendar
from ical.calendar_stream import IcsCalendarStream

_LINE = re.compile(r'([A-Z-]+)((?:;[A-Z-]+=(?:"[^"]*"|[^";:,]+)(?:,(?:"[^"]*"|[^";:,]+))*)*):(.*)', re.DOTALL)
_TEXT = re.compile(r"(?:[^\\;,]|\\[\\;,nN])*")
_LIST = re.compile(r"(?:[^\\;]|\\[\\;,nN])*")
_UTC = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_DAY = re.compile(r"[0-9]{8}")

_TEXTS = {"PRODID", "NAME", "DESCRIPTION", "SUMMARY", "LOCATION", "UID", "X-WR-CALNAME", "X-WR-CALDESC"}

# Component -> property -> (at least, at most).
_RULES: dict[str, dict[str, tuple[int, int]]] = {
    "VCALENDAR": {
        "PRODID": (1, 1), "VERSION": (1, 1), "CALSCALE": (0, 1), "METHOD": (0, 1), "NAME": (0, 1), "DESCRIPTION": (0, 1),
        "REFRESH-INTERVAL": (0, 1), "X-WR-CALNAME": (0, 1), "X-WR-CALDESC": (0, 1), "X-WR-TIMEZONE": (0, 1),
        "X-PUBLISHED-TTL": (0, 1),
    },
    "VEVENT": {
        "UID": (1, 1), "DTSTAMP": (1, 1), "DTSTART": (1, 1), "DTEND": (0, 1), "SUMMARY": (0, 1), "SEQUENCE": (1, 1),
        "LAST-MODIFIED": (0, 1), "STATUS": (0, 1), "TRANSP": (0, 1), "CATEGORIES": (0, 1), "LOCATION": (0, 1),
        "URL": (0, 1), "DESCRIPTION": (0, 1),
    },
    "VTIMEZONE": {"TZID": (1, 1)},
    "STANDARD": {"DTSTART": (1, 1), "TZOFFSETFROM": (1, 1), "TZOFFSETTO": (1, 1), "TZNAME": (0, 1)},
}  # fmt: skip


def checked(body: bytes) -> list[icalendar.Event]:
    """The events of a calendar; AssertionError for whatever a strict reader refuses."""
    events = _components(_lines(body))
    uids = Counter(event["UID"][1] for event in events)
    assert not uids or max(uids.values()) == 1, uids
    first = icalendar.Calendar.from_ical(body)
    found: list[Any] = list(first.walk("VEVENT"))
    assert not first.errors
    assert not any(event.errors for event in found)
    second = IcsCalendarStream.calendar_from_ics(body.decode())
    assert [one.uid for one in second.events] == [str(one["UID"]) for one in found] or not found
    for theirs, ours in zip(second.events, found, strict=True):
        assert (theirs.summary, theirs.dtstart) == (str(ours["SUMMARY"]), ours["DTSTART"].dt)
        assert theirs.description == (str(ours["DESCRIPTION"]) if "DESCRIPTION" in ours else None)
        assert theirs.sequence == ours["SEQUENCE"]
    return found


def _lines(body: bytes) -> list[tuple[str, str, str]]:
    assert body.endswith(b"\r\n")
    physical = body[:-2].split(b"\r\n")
    for line in physical:
        assert 0 < len(line) <= 75, line
        assert not re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", line), line
        line.decode()  # no character is cut in two
    logical = b"\r\n".join(physical).replace(b"\r\n ", b"").decode().split("\r\n")
    found = []
    for line in logical:
        match = _LINE.fullmatch(line)
        assert match is not None, line
        found.append((match[1], match[2], match[3]))
    return found


def _components(lines: list[tuple[str, str, str]]) -> list[dict[str, tuple[str, str]]]:
    assert lines[0] == ("BEGIN", "", "VCALENDAR")
    assert lines[-1] == ("END", "", "VCALENDAR")
    assert lines[1][0] == "VERSION", "some readers want it first"
    stack: list[tuple[str, list[tuple[str, str, str]]]] = []
    events, inner = [], 0
    for name, parameters, value in lines:
        if name == "BEGIN":
            stack.append((value, []))
            inner += len(stack) == 2
        elif name == "END":
            kind, properties = stack.pop()
            assert kind == value
            found = _properties(kind, properties)
            if kind == "VEVENT":
                events.append(found)
        else:
            stack[-1][1].append((name, parameters, value))
    assert not stack
    assert inner, "a calendar has at least one component"
    return events


def _properties(kind: str, lines: list[tuple[str, str, str]]) -> dict[str, tuple[str, str]]:
    rules, counts = _RULES[kind], Counter(name for name, _, _ in lines)
    assert not counts.keys() - rules.keys(), (kind, counts)
    for name, (least, most) in rules.items():
        assert least <= counts[name] <= most, (kind, name, counts[name])
    found = {name: (parameters, value) for name, parameters, value in lines}
    for name, (_, value) in found.items():
        if name in _TEXTS:
            assert _TEXT.fullmatch(value), (name, value)
    if kind == "VCALENDAR":
        assert found["VERSION"] == ("", "2.0")
        assert found["REFRESH-INTERVAL"][0] == ";VALUE=DURATION"
    if kind == "VEVENT":
        _event(found)
    return found


def _event(found: dict[str, tuple[str, str]]) -> None:
    for name in ("DTSTAMP", "LAST-MODIFIED"):
        assert _UTC.fullmatch(found[name][1]), found[name]
    assert 0 <= int(found["SEQUENCE"][1]) < 2**31
    assert found["STATUS"][1] in ("TENTATIVE", "CONFIRMED", "CANCELLED")
    assert found["TRANSP"][1] in ("OPAQUE", "TRANSPARENT")
    assert _LIST.fullmatch(found["CATEGORIES"][1])
    begin, end = found["DTSTART"], found.get("DTEND")
    if begin[0] == ";VALUE=DATE":
        assert _DAY.fullmatch(begin[1])
        assert end is not None
        assert end[0] == ";VALUE=DATE"
        days = [datetime.strptime(value, "%Y%m%d").replace(tzinfo=None) for value in (begin[1], end[1])]  # noqa: DTZ007
        assert (days[1] - days[0]).days == 1
    else:
        assert begin[0] == ""
        assert _UTC.fullmatch(begin[1])
        assert end is not None
        assert end[0] == ""
        assert _UTC.fullmatch(end[1])
        assert end[1] > begin[1]
