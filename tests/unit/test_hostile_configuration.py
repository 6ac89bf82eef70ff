"""Whatever a configuration points to or holds: `config check` ends soon, names what is wrong, and shows no secret."""

import contextlib
import io
import os
import re
import signal
import socket
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flexportd.cli.main import run
from flexportd.daemon.sockets import tls_context
from flexportd.errors import ConfigError
from flexportd.settings.entries import variable
from flexportd.settings.schema import key_specs, secret_files
from flexportd.settings.value_types import quote

EXAMPLES = int(os.environ.get("HOSTILE_EXAMPLES", "60"))
SECRET = "correct-horse-battery-staple"
FIXED = {name: value for name, value in os.environ.items() if not name.startswith("FLEXPORTD_")}


@contextlib.contextmanager
def within(seconds: int):
    """A wait that does not end is a failure, and does not stop the other tests."""

    def raise_it(*_):
        raise AssertionError("it waits")

    before = signal.signal(signal.SIGALRM, raise_it)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


class Place:
    """A folder with things in it that are no configuration, no secret and no certificate; or just one."""

    FILES = ("pipe", "socket", "folder", "huge", "binary", "latin", "nul", "empty", "loop", "good", "missing", "locked")
    ELSEWHERE = (
        "/dev/null",
        "/dev/zero",
        "/dev/full",
        "/dev/tty",
        "/proc/self/mem",
        "/proc/self/environ",
        "/",
        "",
        " ",
        "~nobody/x",
    )

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "flexportd.toml"
        os.mkfifo(folder / "pipe")
        (folder / "folder").mkdir()
        (folder / "huge").write_bytes(SECRET.encode() * 100_000)
        (folder / "binary").write_bytes(bytes(range(256)) + SECRET.encode())
        (folder / "latin").write_bytes(SECRET.encode() + b"\xe4\xff")
        (folder / "nul").write_bytes(SECRET.encode() + b"\0x")
        (folder / "empty").touch()
        (folder / "loop").symlink_to("loop")
        (folder / "good").write_text(SECRET)
        (folder / "locked").write_text(f"-----BEGIN ENCRYPTED PRIVATE KEY-----\n{SECRET}\n")
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as sock:
            sock.bind(str(folder / "socket"))

    def check(self, text: str | bytes, environ=(), command: str = "check", file: Path | None = None) -> tuple[int, str]:
        """The exit code of `config check`, and all that it says."""
        self.file.write_bytes(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)
        out = io.StringIO()
        before = dict(os.environ)
        os.environ.clear()
        os.environ.update(FIXED | {"HOME": str(self.folder)} | dict(environ))
        try:
            with within(20), contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
                code = run(["--config", str(file or self.file), "config", command])
        finally:
            os.environ.clear()
            os.environ.update(before)
        return int(code), out.getvalue()


@pytest.fixture(scope="module")
def place():
    with tempfile.TemporaryDirectory(prefix="fxd-") as folder:
        yield Place(Path(folder))


# --- what would be waited for ---


def test_a_configuration_that_is_a_pipe_is_not_waited_for(place):
    code, told = place.check("", file=place.folder / "pipe")
    assert (code, "pipe: cannot read the file: not a regular file" in told) == (2, True)


@pytest.mark.parametrize("dotted", [*secret_files()])
@pytest.mark.parametrize("writer", [False, True], ids=["nobody writes", "somebody may write"])
def test_a_secret_that_is_a_pipe_is_not_waited_for(place, dotted, writer):
    section, _, name = dotted.partition(".")
    # Who writes may have opened it, and write nothing.
    end = os.open(place.folder / "pipe", os.O_RDWR) if writer else None
    try:
        for text, environ in (
            (f'[{section}]\n{name} = "pipe"\n', {}),
            ("", {variable(dotted): str(place.folder / "pipe")}),
        ):
            code, told = place.check(text, environ)
            assert (code, "cannot read the file: not a regular file" in told) == (2, True), told
            assert f"[{section}] {name.removesuffix('_file')}" in told
    finally:
        if end is not None:
            os.close(end)


def test_a_credential_that_is_a_pipe_is_not_waited_for(place, tmp_path):
    os.mkfifo(tmp_path / "flexport_api_key")
    code, told = place.check("", {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert (code, "credential flexport_api_key: [flexport] api_key: " in told) == (2, True)


@pytest.mark.parametrize(
    "name", ["pipe", "folder", "socket", "huge", "/dev/zero", "/dev/tty", "loop", "missing", "binary"]
)
def test_a_certificate_that_is_none_is_told_by_its_key_before_and_at_the_start(place, name):
    path = place.folder / name
    code, told = place.check(f'[server]\ntls_cert = "{path}"\ntls_key = "{place.folder / "good"}"\n')
    assert (code, "[server] tls_cert" in told, SECRET in told) == (2, True, False), told
    with within(20), pytest.raises(ConfigError, match="tls_cert"):
        tls_context(path, place.folder / "good")


# --- anything ---

paths = st.sampled_from(
    (*Place.FILES, *Place.ELSEWHERE, "a\u0000b", "x" * 5000, "../..", "unix:/x", "\u202e", "\udcff")
)
words = st.one_of(
    paths,
    st.text(max_size=12),
    st.sampled_from((
        "0", "-1", "1e999", "nan", "99999999999999999999d", "1h", "5 MiB", "::1", "[::]:0", "0.0.0.0:99999", "http://[::1",
        "http://x/\u0000", "https://a:b@c/", "10.0.0.0/33", "::/0", "Europe/Nowhere", "a" * 100_000, "\u0663", "*",
    )),
)  # fmt: skip
values = st.one_of(
    words.map(lambda text: quote(text.encode("utf-8", "replace").decode())),
    st.sampled_from(
        ("true", "[]", "{}", "[[]]", '["a", 1]', "{a = 1}", "1979-05-27", "nan", "-0", "1" * 5000, "[" * 300)
    ),
    st.integers().map(str),
    st.lists(paths.filter(str.isprintable).map(quote), max_size=3).map(lambda items: f"[{', '.join(items)}]"),
)
keys = st.sampled_from([*key_specs(), *secret_files()])


@st.composite
def documents(draw):
    """A few keys, most often one: what a single value leads to is not hidden behind other problems."""
    found = ""
    for dotted in draw(st.lists(keys, min_size=1, max_size=draw(st.sampled_from((1, 1, 1, 4))), unique=True)):
        section, _, name = dotted.partition(".")
        found += f"[{section}]\n{name} = {draw(values)}\n"
    if draw(st.integers(0, 4)) == 0:
        place = draw(st.integers(0, len(found)))
        found = (
            found[:place]
            + draw(st.sampled_from(("", "\n", "[", "=", '"', "\\", "#", "\0", "\ufeff", "'''")))
            + found[place:]
        )
    return found


environments = st.dictionaries(
    st.one_of(
        keys.map(variable),
        st.sampled_from(
            ("FLEXPORTD__", "FLEXPORTD_A__B", "FLEXPORTD_SERVER__", "CREDENTIALS_DIRECTORY", "STATE_DIRECTORY", "HOME")
        ),
    ),
    words.filter(lambda text: "\0" not in text and "\udcff" not in text and len(text) < 10_000),
    max_size=2,
)


@settings(max_examples=EXAMPLES)
@example('[storage]\ncontrol_socket = "a\\u0000b"\n', {}, "check")
@example('[server]\nlisten = ["unix:a\\u0000b"]\n', {}, "check")
@given(documents(), st.one_of(st.just({}), environments), st.sampled_from(("check", "show")))
def test_any_configuration_is_valid_or_told_what_is_wrong_with_it(place, text, environ, command):
    code, told = place.check(text, environ, command)
    assert code in (0, 2), (text, environ, told)
    assert "Traceback" not in told
    assert "FLEXPORTD_DEBUG" not in told, (text, environ, told)
    assert SECRET not in told, (text, environ, told)
    for line in told.splitlines() if code else ():
        assert re.match(r"flexportd: \S|Try: ", line), line
