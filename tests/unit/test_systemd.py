"""Sockets that systemd hands over: served as they are, and their addresses are not bound a second time."""

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from flexportd.daemon.sockets import bind, resolve_addresses
from flexportd.daemon.systemd import is_already_bound, is_bound_to
from flexportd.errors import ConfigError
from flexportd.settings.addresses import parse_listen


def listening(address, *, dual=False):
    """A listening socket as systemd makes it: `[::]` accepts IPv4 too unless BindIPv6Only= says otherwise."""
    if not address.startswith(("0.", "127.")) and not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.create_server((address, 0), family=family, dualstack_ipv6=dual)


def left(place, held):
    """What is bound of a place in the settings beside sockets of systemd."""
    return [
        bind(address, place)
        for address in resolve_addresses(place)
        if not is_already_bound(address, [(held, True, "held")])
    ]


ANY4, ANY6, DUAL, ONE4, ONE6, MAPPED = (
    ("0.0.0.0", False), ("::", False), ("::", True), ("127.0.0.1", False), ("::1", False), ("::ffff:127.0.0.1", True),
)  # fmt: skip


@pytest.mark.parametrize(
    ("held", "listen"),
    [
        (ONE4, "127.0.0.1"), (ONE4, "0.0.0.0"), (ANY4, "127.0.0.1"), (ANY4, "0.0.0.0"), (MAPPED, "127.0.0.1"),
        (DUAL, "0.0.0.0"), (DUAL, "127.0.0.1"), (DUAL, "[::]"), (DUAL, "[::1]"), (DUAL, "localhost"),
        (ONE6, "[::1]"), (ONE6, "[::]"), (ONE6, "[0:0:0:0:0:0:0:1]"), (ANY6, "[::1]"), (ANY6, "[::]"),
        (MAPPED, "[::ffff:127.0.0.1]"), (ONE4, "[::ffff:7f00:1]"),
    ],
)  # fmt: skip
def test_an_address_that_systemd_holds_is_not_bound_again(held, listen):
    with listening(held[0], dual=held[1]) as sock:
        place = parse_listen(f"{listen}:{sock.getsockname()[1]}")
        assert left(place, sock) == []
        with pytest.raises(ConfigError):  # what would happen without knowing of it
            for address in resolve_addresses(place):
                bind(address, place)[0].close()


@pytest.mark.parametrize(("held", "listen"), [(ONE4, "[::1]"), (ONE4, "[::]"), (ONE6, "127.0.0.1"), (ANY6, "0.0.0.0")])
def test_an_address_that_systemd_does_not_hold_is_bound(held, listen):
    with listening(held[0], dual=held[1]) as sock:
        (bound,) = left(parse_listen(f"{listen}:{sock.getsockname()[1]}"), sock)
        with bound[0]:
            assert bound[0].getsockname()[1] == sock.getsockname()[1]


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0"])
def test_a_free_port_is_asked_for_whatever_systemd_holds(listen):
    with listening("::", dual=True) as sock:
        (bound,) = left(parse_listen(listen), sock)
        bound[0].close()


def test_of_a_name_the_address_that_is_left_is_bound():
    with listening("127.0.0.1") as sock:
        port = sock.getsockname()[1]
        (bound,) = left(parse_listen(f"localhost:{port}"), sock)
        assert bound[0].getsockname()[:2] == ("::1", port)
        bound[0].close()


@pytest.fixture
def unix(tmp_path, monkeypatch):
    """A Unix socket of systemd's in a folder that has a second name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "var-run").symlink_to("run")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind("run/web.sock")  # relative
        sock.listen()
        yield sock


@pytest.mark.parametrize("path", ["run/web.sock", "var-run/web.sock", "run/../run/web.sock", "link.sock"])
def test_a_unix_socket_of_systemd_is_left_in_place_however_its_path_is_written(unix, tmp_path, path):
    (tmp_path / "link.sock").symlink_to("run/web.sock")
    place = parse_listen(f"unix:{tmp_path}/{path}")
    before = (tmp_path / "run/web.sock").stat()
    assert left(place, unix) == []
    assert (tmp_path / "run/web.sock").stat().st_ino == before.st_ino
    with contextlib.suppress(ConfigError):  # the link is no socket
        assert left(parse_listen(f"unix:{tmp_path}/run/other.sock"), unix)[0][0].close() is None
    with pytest.raises(ConfigError, match=r"another process is listening on it|is not a socket"):
        bind(place)  # not handed over to us: it is left alone too
    assert (tmp_path / "run/web.sock").stat().st_ino == before.st_ino


def test_a_unix_socket_that_nobody_serves_is_replaced(tmp_path):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "web.sock"))
    bound = bind(parse_listen(f"unix:{tmp_path}/web.sock"))
    assert is_bound_to(bound[0], tmp_path / "web.sock")
    bound[0].close()


PRINT = (
    "import os, sys\nos.environ['LISTEN_PID'] = str(os.getpid())\n"
    "from flexportd.errors import ConfigError\nfrom flexportd.daemon.sockets import activated_sockets\n"
    "try:\n    found = activated_sockets()\n"
    "    print([name for _, _, name in found], [name for name in os.environ if name.startswith('LISTEN')],"
    " [sock.get_inheritable() for sock, _, _ in found])\n"
    "except ConfigError as error:\n    print(error)\n"
)


def handed_over(sock, **environ):
    """What a process prints that has `sock` as file descriptor 3."""
    done = subprocess.run(
        ["bash", "-c", f'exec 3<&{sock.fileno()}; exec "{sys.executable}" -c "$CODE"'], pass_fds=[sock.fileno()],
        env={**os.environ, "CODE": PRINT, "LISTEN_FDNAMES": "web", **environ}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    return done.stdout


def test_what_systemd_hands_over_is_taken_once_and_stays_ours():
    with listening("127.0.0.1") as sock:
        found = handed_over(sock, LISTEN_FDS="1")
        assert found == f"['127.0.0.1:{sock.getsockname()[1]}'] [] [False]\n"
        assert handed_over(sock, LISTEN_FDS="many") == "[] [] []\n"


def test_what_is_no_listening_stream_socket_is_refused_in_words():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams, Path(os.devnull).open() as file:
        assert handed_over(datagrams, LISTEN_FDS="1").startswith(
            "File descriptor 3 from systemd is not a stream socket"
        )
        assert handed_over(file, LISTEN_FDS="1").startswith("File descriptor 3 from systemd: ")
    with listening("127.0.0.1") as sock, socket.create_connection(sock.getsockname()) as connected:
        assert handed_over(connected, LISTEN_FDS="1").startswith("File descriptor 3 from systemd: Invalid argument")
        assert handed_over(sock, LISTEN_FDS="2").startswith("File descriptor 4 from systemd: ")
