"""`webhook sign` and `send`: as Flexport does it."""

import http.server
import io
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from flexportd.cli import webhook_target
from flexportd.cli.commands.webhook import SHIPMENT, example_event
from flexportd.cli.main import run
from flexportd.cli.webhook_target import local_target, parse_url
from flexportd.errors import ConfigError, InvalidError
from flexportd.flexport.webhook_signature import Verifier, sign, sign_sha1
from flexportd.sandbox import World, WorldPlan
from flexportd.settings import Settings
from tests.under_test import signature_problem

SECRET = "configured-secret-0123456789"
BODY = b'{"id": 1}\n'


class Receiver(http.server.BaseHTTPRequestHandler):
    taken: list[tuple[str, bytes, str | None]]
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.taken.append((self.path, body, self.headers.get("X-Hub-Signature-256")))
        wrong = signature_problem(Verifier([SECRET]), body, dict(self.headers.items()))
        text = json.dumps({"status": wrong or "accepted"}).encode()
        self.send_response(401 if wrong else 200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[tuple[int, list]]:
    taken: list = []
    handler = type("Taking", (Receiver,), {"taken": taken})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_address[1], taken
        server.shutdown()
        thread.join()


@pytest.fixture
def configured(tmp_path, monkeypatch, receiver) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    Path("body.json").write_bytes(BODY)
    Path("flexportd.toml").write_text(
        f'[webhook]\nsecrets = ["{SECRET}", "the-second-secret-0123"]\npath = "/hooks"\n'
        f'[server]\nlisten = ["10.0.0.1:443", "0.0.0.0:{receiver[0]}"]\n',
        encoding="utf-8",
    )
    return tmp_path


def test_a_signature_is_a_header_line(configured, capsys, monkeypatch):
    assert run(["webhook", "sign", "body.json"]) == 0
    assert capsys.readouterr().out == f"X-Hub-Signature-256: {sign(BODY, SECRET)}\n"
    assert run(["webhook", "sign", "--sha1", "body.json"]) == 0
    assert capsys.readouterr().out == f"X-Hub-Signature: {sign_sha1(BODY, SECRET)}\n"
    Path("secret").write_text("another\n", encoding="utf-8")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(BODY)))
    assert run(["webhook", "sign", "--secret-file", "secret", "-"]) == 0
    assert capsys.readouterr().out == f"X-Hub-Signature-256: {sign(BODY, 'another')}\n"


def test_without_a_secret_there_is_a_hint(configured, capsys):
    Path("flexportd.toml").write_text("", encoding="utf-8")
    assert run(["webhook", "sign", "body.json"]) == 2
    assert "Try: flexportd init" in capsys.readouterr().err


def test_a_file_that_is_not_there_is_wrong_usage(configured, capsys):
    assert run(["webhook", "sign", "nosuch.json"]) == 2
    assert "nosuch.json" in capsys.readouterr().err


def test_the_exact_bytes_go_to_the_daemons_own_address(configured, receiver, capsys):
    assert run(["webhook", "send", "body.json", "--count", "3"]) == 0
    assert receiver[1] == [("/hooks", BODY, sign(BODY, SECRET))] * 3
    assert capsys.readouterr().out.count('200 {"status": "accepted"}') == 3


def test_a_refusal_is_shown_and_fails(configured, capsys):
    assert run(["webhook", "send", "body.json", "--no-signature"]) == 1
    assert '401 {"status": "missing"}' in capsys.readouterr().out
    Path("secret").write_text("another", encoding="utf-8")
    assert run(["webhook", "send", "body.json", "--secret-file", "secret"]) == 1
    assert "mismatch" in capsys.readouterr().out


def test_a_named_url_is_taken(configured, receiver):
    port = receiver[0]
    assert run(["webhook", "send", "body.json", "--url", f"http://127.0.0.1:{port}/else?x=1"]) == 0
    assert run(["webhook", "send", "body.json", "--url", f"http://localhost:{port}"]) == 0
    assert [path for path, _, _ in receiver[1]] == ["/else?x=1", "/hooks"]


def test_examples_are_new_each_time(configured, receiver, capsys):
    assert run(["webhook", "send", "--example", "--count", "2"]) == 0
    first, second = (json.loads(body) for _, body, _ in receiver[1])
    assert first["id"] != second["id"]
    assert f"flexportd shipments show {SHIPMENT}" in capsys.readouterr().err


def test_nobody_at_the_own_address_is_not_running(configured, capsys):
    Path("flexportd.toml").write_text(
        f'[webhook]\nsecrets = ["{SECRET}"]\n[server]\nlisten = "127.0.0.1:1"\n', encoding="utf-8"
    )
    assert run(["webhook", "send", "body.json"]) == 3
    assert run(["webhook", "send", "body.json", "--url", "http://127.0.0.1:1"]) == 1
    assert "nothing is listening there" in capsys.readouterr().err


def _settings(tmp_path: Path, **server: object) -> Settings:
    return Settings.for_tests(tmp_path, **{f"server.{name}": value for name, value in server.items()})


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("127.0.0.1:8080", "http://127.0.0.1:8080/webhooks/flexport"),
        ("0.0.0.0:8080", "http://127.0.0.1:8080/webhooks/flexport"),
        ("[::]:8080", "http://[::1]:8080/webhooks/flexport"),
        ("localhost:8080", "http://localhost:8080/webhooks/flexport"),
        ("unix:/run/x.sock", "unix:/run/x.sock /webhooks/flexport"),
    ],
)
def test_the_own_address_comes_from_the_configuration(tmp_path, listen, url):
    assert local_target(_settings(tmp_path, listen=listen)).url == url


def test_a_port_that_only_the_daemon_knows_is_reached_by_the_control_socket(tmp_path):
    assert local_target(_settings(tmp_path, listen="127.0.0.1:0")).unix == tmp_path / "control.sock"


def test_an_address_that_this_machine_lacks_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setattr(
        webhook_target, "address_error", lambda address, _: OSError() if address.host == "::1" else None
    )
    assert local_target(_settings(tmp_path, listen=["[::1]:80", "127.0.0.1:81"])).url.startswith("http://127.0.0.1:81/")
    assert local_target(_settings(tmp_path, listen="[::1]:80")).url.startswith("http://[::1]:80/")


def test_an_address_of_others_has_to_be_named(tmp_path):
    with pytest.raises(ConfigError, match="not a loopback address"):
        local_target(_settings(tmp_path, listen="192.0.2.7:8080"))


@pytest.mark.parametrize(
    "url", ["ftp://x", "http://", "http://u:p@x/", "http://x:99999/", "http://[::1", "http://x/\n"]
)
def test_an_odd_url_is_refused(url):
    with pytest.raises(InvalidError, match="--url"):
        parse_url(url, "/hooks")


def test_the_example_is_schema_true():
    """Every object has exactly the fields of the sandbox's, which are tested against the published schema."""
    now = datetime(2026, 3, 4, 8, tzinfo=UTC)
    shapes: dict[str, set[frozenset[str]]] = {}

    def learn(value: object) -> None:
        for part in value if isinstance(value, list) else value.values() if isinstance(value, dict) else ():
            learn(part)
        if isinstance(value, dict) and "_object" in value:
            shapes.setdefault(value["_object"], set()).add(frozenset(value))

    def check(value: object) -> None:
        for part in value if isinstance(value, list) else value.values() if isinstance(value, dict) else ():
            check(part)
        if isinstance(value, dict) and "_object" in value:
            assert frozenset(value) in shapes[value["_object"]]

    learn(World(WorldPlan(now, 7, 60)).backlog())
    example = json.loads(example_event(now))
    check(example)
    assert example["data"]["shipment"]["id"] == SHIPMENT
    assert example["data"]["resource"]["shipment"]["id"] == SHIPMENT


@pytest.mark.parametrize("day", range(0, 700, 77))
def test_the_example_sails_with_containers_on_any_day(day):
    example = json.loads(example_event(datetime(2026, 1, 1, 3, tzinfo=UTC) + timedelta(days=day)))
    assert example["type"] == "/shipment_leg#departed"
    assert example["data"]["containers"]
