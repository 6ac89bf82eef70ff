"""nginx before a running daemon: Debian's /usr/sbin/nginx with a configuration of the test's, on free loopback ports."""

import asyncio
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest

NGINX = shutil.which("nginx", path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin")))

needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not installed: no proxy stands before the daemon")

_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@asynccontextmanager
async def nginx(
    folder: Path, servers: Mapping[str, str], *, around: str = "", tls: tuple[Path, Path] | None = None
) -> AsyncIterator[dict[str, str]]:
    """The URL of each server, whose value is the inside of its `server` block; `around` is that of `http`.

    The sockets are bound here and handed over as at an upgrade of nginx: what connects before it is ready waits.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        sockets = {name: stack.enter_context(_listening()) for name in servers}
        config = folder / "nginx.conf"
        config.write_text(_config(folder, servers, sockets, around, tls))
        process = await asyncio.create_subprocess_exec(
            str(NGINX), "-p", str(folder), "-c", str(config), "-e", str(folder / "error.log"),
            env={"NGINX": "".join(f"{sock.fileno()};" for sock in sockets.values())},
            pass_fds=[sock.fileno() for sock in sockets.values()],
        )  # fmt: skip
        try:
            scheme = "http" if tls is None else "https"
            yield {name: f"{scheme}://127.0.0.1:{sock.getsockname()[1]}" for name, sock in sockets.items()}
            assert process.returncode is None, (folder / "error.log").read_text()
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


def certificate(folder: Path, *more: str) -> tuple[Path, Path]:
    """A certificate that nobody trusts, and its key; `more` are further options of openssl."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
               "2", "-subj", "/CN=freight.example.com", "-keyout", str(key), "-out", str(cert), *more]  # fmt: skip
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    except FileNotFoundError:
        pytest.skip("openssl is not installed: there is no certificate to serve with")
    return cert, key


def _listening() -> socket.socket:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    return sock


def _config(
    folder: Path,
    servers: Mapping[str, str],
    sockets: Mapping[str, socket.socket],
    around: str,
    tls: tuple[Path, Path] | None,
) -> str:
    # In the foreground, as our own user, and with nothing outside of the folder. (Without a master process, nginx never
    # accepts on a socket that is handed over.)
    user = ["user root;"] if os.geteuid() == 0 else []
    lines = [
        *user,
        "daemon off;",
        "worker_processes 1;",
        f"pid {folder}/nginx.pid;",
        "events {}",
        "http {",
        "access_log off;",
    ]
    lines += [f"{name}_temp_path {folder}/{name};" for name in _TEMPORARY]
    if tls is not None:
        lines += [f"ssl_certificate {tls[0]};", f"ssl_certificate_key {tls[1]};"]
    lines.append(around)
    for name, inside in servers.items():
        port = sockets[name].getsockname()[1]
        lines += ["server {", f"listen 127.0.0.1:{port}{' ssl' if tls else ''};", inside, "}"]
    return "\n".join([*lines, "}", ""])
