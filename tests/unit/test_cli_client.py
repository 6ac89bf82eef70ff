"""The client of the control socket, against a small server of the standard library."""

import json
import socket
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from flexportd.cli.client import DaemonClient, quote_id
from flexportd.cli.exit_codes import exit_of
from flexportd.cli.main import run
from flexportd.errors import FlexportdError, InvalidError, NotFoundError, NotRunningError, UnavailableError


class Answers(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Gives the answers it is told, by target; remembers what it was asked."""

    daemon_threads = True

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), Asked)
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.asked: list[tuple[str, str, bytes]] = []

    def say(self, target: str, status: int, document: object) -> None:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.answers[f"/api/v1{target}"] = (status, body)


class Asked(BaseHTTPRequestHandler):
    server: Answers

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((self.command, self.path, body))
        status, text = self.server.answers.get(self.path, (404, b'{"detail": "there is nothing here"}'))
        if status == 0:
            return  # hang up
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = _answer  # noqa: N815 (http.server looks for these)

    def log_message(self, *_: object) -> None:
        pass

    def address_string(self) -> str:
        return "unix"


@pytest.fixture
def place(tmp_path) -> Path:
    return tmp_path / "c.sock"


@pytest.fixture
def server(place) -> Iterator[Answers]:
    with Answers(place) as answers:
        thread = threading.Thread(target=answers.serve_forever, args=(0.01,))
        thread.start()
        yield answers
        answers.shutdown()
        thread.join()


@pytest.fixture
def config(tmp_path, place, monkeypatch) -> str:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "flexportd.toml"
    path.write_text(f'[storage]\ndata_dir = "data"\ncontrol_socket = "{place}"\n', encoding="utf-8")
    return str(path)


def test_a_document_comes_as_it_is(server, place):
    server.say("/status", 200, b'{"ready":true}')
    reply = DaemonClient(place).get("/status")
    assert (reply.raw, reply.document) == (b'{"ready":true}', {"ready": True})


def test_parameters_are_encoded_and_none_is_left_out(server, place):
    server.say("/shipments?q=a%26b%3D%C3%A9&archived=false&limit=5", 200, {})
    DaemonClient(place).get("/shipments", q="a&b=é", archived=False, limit=5, mode=None)
    assert server.asked[0][0] == "GET"


def test_a_body_is_sent_as_json(server, place):
    server.say("/dead-letters/7/discard", 200, {})
    DaemonClient(place).post(f"/dead-letters/{quote_id('7')}/discard", {"reason": "schlecht: ü"})
    assert json.loads(server.asked[0][2]) == {"reason": "schlecht: ü"}


@pytest.mark.parametrize("name", ["../status", "a/b", "a?b", "é", "\udcff", "#"])
def test_an_id_stays_one_part_of_the_path(server, place, name):
    with pytest.raises(NotFoundError):
        DaemonClient(place).get(f"/events/{quote_id(name)}")
    assert server.asked[0][1].removeprefix("/api/v1/events/").isascii()
    assert server.asked[0][1].count("/") == 4


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [(400, InvalidError, 2), (404, NotFoundError, 4), (409, FlexportdError, 1), (403, FlexportdError, 1),
     (500, FlexportdError, 1), (503, UnavailableError, 1)],
)  # fmt: skip
def test_a_problem_document_is_an_error_with_its_detail(server, place, status, kind, code):
    server.say("/x", status, {"detail": "The very reason"})
    with pytest.raises(kind, match="The very reason") as caught:
        DaemonClient(place).get("/x")
    assert exit_of(caught.value) == code


def test_an_error_that_is_no_problem_document_is_told_by_its_status(server, place):
    server.say("/x", 502, b"<html>")
    with pytest.raises(FlexportdError, match="HTTP status 502"):
        DaemonClient(place).get("/x")


def test_all_problems_of_a_body_are_printed(server, config, tmp_path, capsys):
    body = tmp_path / "body.json"
    body.write_text("{}")
    errors = [{"pointer": "/name", "detail": "name is required"}, {"pointer": "", "detail": "no mode"}]
    server.say("/bookings", 400, {"detail": "several", "errors": errors})
    assert run(["--config", config, "bookings", "create", str(body)]) == 2
    assert capsys.readouterr().err == "flexportd: /name: name is required\nflexportd: the body: no mode\n"


def test_after_a_lost_response_the_command_is_repeated_with_its_key(server, config, tmp_path, capsys):
    body = tmp_path / "body.json"
    body.write_text("{}")
    server.say("/bookings", 0, {})
    assert run(["--config", config, "bookings", "create", str(body)]) == 1
    assert "Try: the same command with --idempotency-key cli-" in capsys.readouterr().err


def test_nobody_there_is_not_running(place):
    with pytest.raises(NotRunningError, match="The daemon is not running") as caught:
        DaemonClient(place).get("/status")
    assert caught.value.__notes__ == ["flexportd serve"]


def test_a_dead_daemons_socket_is_not_running(place):
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(place))
    with pytest.raises(NotRunningError, match="refused"):
        DaemonClient(place).get("/status")


def test_a_file_in_the_place_of_the_socket_is_not_running(place):
    place.write_text("")
    with pytest.raises(NotRunningError):
        DaemonClient(place).get("/status")


def test_a_daemon_that_hangs_up_is_told(server, place):
    server.say("/x", 0, b"")
    with pytest.raises(UnavailableError, match="was interrupted"):
        DaemonClient(place).get("/x")


def test_a_daemon_that_does_not_answer_is_told(place):
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(place))
        silent.listen()
        with pytest.raises(UnavailableError, match="did not respond within"):
            DaemonClient(place, timeout=0.05).get("/x")


def test_all_pages_become_one_document(server, place):
    server.say("/shipments?limit=2&mode=air", 200, {"data": [{"id": 3}, {"id": 2}], "next": "c", "as_of": "T"})
    server.say("/shipments?limit=2&mode=air&cursor=c", 200, {"data": [{"id": 1}], "next": None, "as_of": "U"})
    reply = DaemonClient(place, most_rows=2).get_list("/shipments", everything=True, mode="air", limit=None)
    assert reply.document == {"data": [{"id": 3}, {"id": 2}, {"id": 1}], "next": None, "as_of": "T"}


def test_a_cursor_that_leads_to_itself_ends_the_reading(server, place):
    page = {"data": [{"id": 1}], "next": "c", "as_of": None}
    server.say("/x?limit=500", 200, page)
    server.say("/x?limit=500&cursor=c", 200, page)
    assert len(list(DaemonClient(place).pages("/x"))) == 2


def test_every_option_of_a_list_is_a_parameter(server, config):
    given = [
        "--status=a,b", "--mode=air", "--q=x", "--po=1", "--container=C", "--sku=S", "--bill=B",
        "--eta-before=2026-01-02", "--eta-after=2026-01-01", "--no-archived", "--sort=-eta", "--limit=7",
    ]  # fmt: skip
    run(["--config", config, "shipments", "list", *given])
    parameters = set(server.asked[0][1].partition("?")[2].split("&"))
    assert parameters == {
        "status=a%2Cb", "mode=air", "q=x", "po=1", "container=C", "sku=S", "bill=B", "eta_before=2026-01-02",
        "eta_after=2026-01-01", "archived=false", "sort=-eta", "limit=7",
    }  # fmt: skip


def test_retrying_all_ends_although_everything_dies_again(server, config, capsys):
    server.say("/queue", 200, {"dead": 1500})
    server.say("/dead-letters/retry?type=%2Fshipment", 200, {"retried": 1000, "has_more": True})
    assert run(["--config", config, "dead", "retry", "--all", "--type", "/shipment"]) == 0
    assert capsys.readouterr().out == "1000 dead letters queued for retry.\n" * 2


@pytest.mark.parametrize("given", [[], ["7", "--all"], ["7", "--type", "x"]])
def test_retry_wants_ids_or_all(config, capsys, given):
    assert run(["--config", config, "dead", "retry", *given]) == 2
    assert "Try: flexportd dead retry --help" in capsys.readouterr().err


def test_an_export_is_one_line_each_whatever_the_payload_looks_like(server, config, tmp_path, capsys):
    server.say(
        "/dead-letters?limit=500&discarded=false", 200, {"data": [{"id": "2"}, {"id": "1"}, {"id": "9"}], "next": None}
    )
    server.say("/dead-letters?limit=500&discarded=true", 200, {"data": [], "next": None})
    server.say("/dead-letters/1", 200, b'{"id":"1","payload":{\r\n  "a": 1\n}}')
    server.say("/dead-letters/2", 200, b'{"id":"2","payload":null,"payload_base64":"AAE="}')
    kept = tmp_path / "dead.ndjson"
    assert run(["--config", config, "dead", "export", "--output", str(kept)]) == 0
    rows = [json.loads(line) for line in kept.read_bytes().splitlines()]
    assert [(row["id"], row["payload"]) for row in rows] == [("1", {"a": 1}), ("2", None)]
    assert kept.stat().st_mode & 0o777 == 0o600
    assert "2 dead letters exported" in capsys.readouterr().err


def test_an_export_that_fails_leaves_what_was_there(server, config, tmp_path):
    server.say("/dead-letters?limit=500&discarded=false", 200, {"data": [{"id": "1"}], "next": None})
    server.say("/dead-letters/1", 500, {"detail": "no"})
    kept = tmp_path / "dead.ndjson"
    kept.write_text("before")
    assert run(["--config", config, "dead", "export", "--output", str(kept)]) == 1
    assert kept.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir() if "ndjson" in path.name] == ["dead.ndjson"]


def test_a_search_takes_several_words_without_quotation_marks(server, config, capsys):
    server.say("/search?q=PO+4471", 200, {"data": [], "complete": True})
    assert run(["--config", config, "search", "PO", "4471"]) == 0
    assert run(["--config", config, "search", "PO 4471"]) == 0
    assert capsys.readouterr().out == "No matches.\n" * 2


def test_hostile_text_from_the_daemon_reaches_no_terminal(server, config, capsys):
    evil = "\x1b[2J\u202e\x00" + "x" * 1_000_000
    row = dict.fromkeys(("flex_id", "name", "mode", "status", "origin", "destination", "as_of"), evil)
    server.say("/shipments", 200, {"data": [row], "next": None, "as_of": None})
    server.say("/events/1", 404, {"detail": evil})
    assert run(["--config", config, "shipments", "list"]) == 0
    assert run(["--config", config, "events", "show", "1"]) == 4
    found = capsys.readouterr()
    assert not {"\x1b", "\u202e", "\x00"} & set(found.out + found.err)
    assert len(found.out) + len(found.err) < 150_000  # of 8 million characters
