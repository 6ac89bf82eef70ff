"""`init` and `config`: the first file, and whether it can be used."""

import json
import os
import ssl
import subprocess
from pathlib import Path

import pytest

from flexportd.cli.main import run
from flexportd.daemon.app import open_daemon
from flexportd.settings import load


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    return tmp_path


def _secret(path: str = "flexportd.toml") -> str:
    (secret,) = load(Path(path)).settings.webhook.secrets
    return secret.get_secret_value()


def test_the_first_configuration_is_private_and_loads(capsys):
    assert run(["init", "--data-dir", "data", "--listen", "127.0.0.1:9999"]) == 0
    loaded = load(Path("flexportd.toml"))
    assert Path("flexportd.toml").stat().st_mode & 0o777 == 0o600
    assert loaded.settings.storage.data_dir == Path("data").absolute()
    assert str(loaded.settings.server.listen[0]) == "127.0.0.1:9999"
    assert len(_secret()) >= 43
    text = capsys.readouterr().out
    assert _secret() not in text
    for step in (
        "[flexport] api_key",
        "[server] public_url",
        "/webhooks/flexport",
        "flexportd config check",
        "flexportd serve",
        "webhook send --example",
    ):
        assert step in text


def test_each_configuration_has_its_own_secret_shown_only_on_demand(capsys):
    run(["init", "--output", "a.toml", "--show-secret"])
    assert _secret("a.toml") in capsys.readouterr().out
    run(["init", "--output", "b.toml"])
    assert _secret("a.toml") != _secret("b.toml")
    assert "flexportd --config b.toml serve" in capsys.readouterr().out


def test_a_file_is_replaced_only_by_force(capsys):
    Path("flexportd.toml").write_text("mine", encoding="utf-8")
    assert run(["init"]) == 2
    assert "already exists" in capsys.readouterr().err
    assert Path("flexportd.toml").read_text(encoding="utf-8") == "mine"
    assert run(["init", "--force"]) == 0
    assert _secret()
    assert os.listdir() == ["flexportd.toml"]


def test_a_link_stays_a_link():
    Path("real.toml").write_text("", encoding="utf-8")
    Path("flexportd.toml").symlink_to("real.toml")
    assert run(["init"]) == 2
    assert run(["init", "--force"]) == 0
    assert Path("flexportd.toml").is_symlink()
    assert _secret("real.toml")


def test_a_named_configuration_is_the_one_that_is_written():
    assert run(["--config", "other.toml", "init"]) == 0
    assert _secret("other.toml")


@pytest.mark.parametrize(
    ("given", "code"), [(["--output", "no/such/x.toml"], 1), (["--listen", "8080"], 2), (["--output", "."], 2)]
)
def test_what_cannot_be_written_is_told(capsys, given, code):
    assert run(["init", *given]) == code
    assert capsys.readouterr().err.startswith("flexportd: ")
    assert os.listdir() == []


def test_check_says_ok_with_the_path_and_what_to_know(capsys):
    assert run(["config", "check"]) == 0
    assert "no configuration file found" in capsys.readouterr().out
    run(["init", "--data-dir", "data"])
    Path("flexportd.toml").chmod(0o644)
    capsys.readouterr()
    assert run(["config", "check"]) == 0
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first == f"OK: {Path('flexportd.toml').absolute()}"
    assert "chmod 600" in second
    assert not Path("data").exists()


def test_check_finds_what_would_keep_the_daemon_from_starting(capsys):
    Path("file").write_text("", encoding="utf-8")
    Path("cert.pem").write_text("no certificate", encoding="utf-8")
    Path("flexportd.toml").write_text(
        '[server]\nlisten = ["127.0.0.1:1", "unix:/etc/passwd"]\ntls_cert = "cert.pem"\ntls_key = "missing.pem"\n'
        '[storage]\ndata_dir = "file/data"\ncache_dir = "cache"\ncontrol_socket = "file"\n',
        encoding="utf-8",
    )
    assert run(["config", "check"]) == 2
    text = capsys.readouterr().err
    for problem in ("data_dir", "control_socket", "[server] listen", "tls_key"):
        assert f"{problem}: " in text
    assert text.count("flexportd: ") == 4


def test_check_notes_an_address_that_this_machine_lacks_and_refuses_where_there_is_no_other(capsys):
    for listen, code in ('["192.0.2.1:8080", "127.0.0.1:8080"]', 0), ('["192.0.2.1:8080", "[2001:db8::1]:1"]', 2):
        Path("flexportd.toml").write_text(
            f'[server]\nlisten = {listen}\n[storage]\ndata_dir = "data"\n', encoding="utf-8"
        )
        assert run(["config", "check"]) == code
        out, err = capsys.readouterr()
        assert "[server] listen 192.0.2.1:8080: this machine does not have the address 192.0.2.1" in (
            err if code else out
        )
    assert "[server] listen [2001:db8::1]:1: this machine does not have the address 2001:db8::1 or no IPv6" in err


def test_check_finds_writes_that_cannot_be_sent_and_an_approval_that_protects_nothing(capsys):
    writes = '[storage]\ndata_dir = "data"\n[writes]\nenabled = true\napproval = ["bookings"]\n'
    with_key = f'{writes}[flexport]\napi_key = "key-of-an-account-at-flexport"\n'
    for text, code, words in (
        (writes, 2, "[writes] enabled is true, but nothing can be written without Flexport API credentials"),
        (with_key, 0, "Note: [writes] approval of bookings protects nothing without keys"),
        (f"{with_key}[api]\nrequire_key = true\n", 0, ""),
    ):
        Path("flexportd.toml").write_text(text, encoding="utf-8")
        assert run(["config", "check"]) == code
        out, err = capsys.readouterr()
        assert words in (err if code else out)
    assert "approval" not in out


@pytest.mark.parametrize("listen", ["[::ffff:127.0.0.1]:0", "[0:0::1]:0", "LOCALHOST:0", "unix:new/folder/web.sock"])
async def test_what_passes_the_check_also_starts(folder, clock, capsys, listen):
    listen = listen.replace("unix:", f"unix:{folder}/")
    Path("flexportd.toml").write_text(
        f'[server]\nlisten = "{listen}"\n[storage]\ndata_dir = "data"\n', encoding="utf-8"
    )
    assert run(["config", "check"]) == 0
    async with open_daemon(load(Path("flexportd.toml")).settings, clock) as daemon:
        assert daemon.addresses


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_check_finds_a_folder_that_cannot_be_made(capsys):
    Path("closed").mkdir(0o500)
    Path("flexportd.toml").write_text('[storage]\ndata_dir = "closed/data"\n', encoding="utf-8")
    assert run(["config", "check"]) == 2
    assert "no write permission" in capsys.readouterr().err


def test_check_tries_certificate_and_key_together(capsys):
    for name in ("a", "b"):
        made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                "-subj", "/CN=x", "-keyout", f"{name}.key", "-out", f"{name}.pem"]  # fmt: skip
        subprocess.run(made, capture_output=True, check=True)
    for key, code in (("a.key", 0), ("b.key", 2)):
        Path("flexportd.toml").write_text(
            f'[server]\ntls_cert = "a.pem"\ntls_key = "{key}"\n[storage]\ndata_dir = "data"\n', encoding="utf-8"
        )
        assert run(["config", "check"]) == code
    assert "do not work together" in capsys.readouterr().err
    assert ssl.OPENSSL_VERSION


def test_show_tells_every_value_but_no_secret(capsys):
    run(["init", "--data-dir", "data"])
    secret = _secret()
    capsys.readouterr()
    assert run(["config", "show", "--origin"]) == 0
    text = capsys.readouterr().out
    assert secret not in text
    assert "***" in text
    assert "flexportd.toml:" in text
    assert "ORIGIN" in text
    assert run(["config", "show", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["path"] == str(Path("flexportd.toml").absolute())
    assert {"key": "queue.workers", "value": "4", "origin": "default"} in document["data"]


def test_a_check_names_what_is_not_set_yet(capsys):
    Path("flexportd.toml").write_text("", encoding="utf-8")
    Path("flexportd.toml").chmod(0o600)
    assert run(["config", "check"]) == 0
    text = capsys.readouterr().out
    for key in ("[webhook] secrets", "[flexport] api_key", "[server] public_url"):
        assert f"{key} " in text or f"set {key}" in text
    Path("flexportd.toml").write_text(
        '[webhook]\nsecrets = ["kq8Zr2mX1vT9pLw4"]\n[flexport]\napi_key = "a-key-of-flexport-1"\n'
        '[server]\npublic_url = "https://freight.example.com"\n[storage]\ndata_dir = "data"\n',
        encoding="utf-8",
    )
    assert run(["config", "check"]) == 0
    assert capsys.readouterr().out == f"OK: {Path('flexportd.toml').absolute()}\n"
