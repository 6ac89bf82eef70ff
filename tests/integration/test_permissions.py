"""Folders and files that others could read or replace: the daemon does not start on them, and says what to run."""

import os
import subprocess
import sys

import pytest

from flexportd.errors import ConfigError, StorageError
from flexportd.settings import Settings
from flexportd.storage.database import DataDir
from tests.under_test import start


async def refused(tmp_path, clock, **overrides):
    with pytest.raises(ConfigError) as caught:
        async with start(Settings.for_tests(tmp_path, **overrides), clock):
            pass
    return caught.value.problems


@pytest.fixture
async def stopped(tmp_path, clock):
    """The folders of a daemon that has run."""
    async with start(Settings.for_tests(tmp_path), clock):
        pass
    return tmp_path


@pytest.mark.parametrize("mode", [0o750, 0o755, 0o770, 0o777, 0o701, 0o720])
async def test_a_data_folder_that_others_can_enter_is_refused_with_the_command(stopped, clock, mode):
    data = stopped / "data"
    data.chmod(mode)
    (problem,) = await refused(stopped, clock)
    assert problem.startswith("[storage] data_dir: ")
    assert f"(mode {mode:04o}): run chmod 0700 {data}; in a systemd unit, set StateDirectoryMode=0700" in problem
    assert data.stat().st_mode & 0o777 == mode  # looked at, not changed
    data.chmod(0o700)
    async with start(Settings.for_tests(stopped), clock):
        pass


async def test_a_database_that_was_copied_back_into_a_private_folder_may_have_any_mode(stopped, clock):
    (stopped / "data" / "flexportd.db").chmod(0o644)
    (stopped / "data" / "archive").mkdir(mode=0o755)
    async with start(Settings.for_tests(stopped), clock):
        pass


async def test_everything_that_is_loose_is_told_at_once_and_by_config_check(stopped, clock):
    (stopped / "data").chmod(0o755)
    elsewhere = stopped / "elsewhere"
    elsewhere.mkdir(mode=0o755)
    (stopped / "data" / "archive").symlink_to(elsewhere)
    (stopped / "cache").chmod(0o777)
    (stopped / "cache" / "answers").chmod(0o755)
    found = await refused(stopped, clock)
    assert len(found) == 4
    assert any(f"run chmod 0755 {stopped / 'cache'}" in one for one in found)
    config = stopped / "flexportd.toml"
    config.write_text(
        f'[storage]\ndata_dir = "{stopped}/data"\ncache_dir = "{stopped}/cache"\ncontrol_socket = "{stopped}/c.sock"\n'
    )
    for command in (["config", "check"], ["serve"]):
        ended = subprocess.run(
            [sys.executable, "-m", "flexportd", "--config", str(config), *command],
            check=False, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert ended.returncode == 2, command
        for problem in found:
            assert problem in ended.stdout + ended.stderr
        assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("mode", [0o755, 0o711, 0o700])
async def test_a_cache_folder_that_others_can_list_holds_a_private_one(stopped, clock, mode):
    (stopped / "cache").chmod(mode)
    async with start(Settings.for_tests(stopped), clock):
        assert (stopped / "cache" / "answers").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o775, 0o757])
async def test_the_folder_of_the_control_socket_may_not_be_written_by_others(tmp_path, clock, mode):
    folder = tmp_path / "run"
    folder.mkdir()
    overrides = {"storage.control_socket": folder / "control.sock"}
    folder.chmod(mode)
    (problem,) = await refused(tmp_path, clock, **overrides)
    assert f"run chmod 0755 {folder}" in problem
    folder.chmod(0o755)
    async with start(Settings.for_tests(tmp_path, **overrides), clock):
        pass


@pytest.mark.parametrize("key", ["storage.data_dir", "storage.cache_dir", "storage.control_socket"])
async def test_a_folder_that_all_users_share_is_none_of_ours(tmp_path, clock, key):
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    value = folder / "control.sock" if key.endswith("socket") else folder
    (problem,) = await refused(tmp_path, clock, **{key: value})
    assert problem == f"[storage] {key.partition('.')[2]}: {folder} is shared by all users of this machine: choose a separate directory"  # fmt: skip


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
@pytest.mark.parametrize("name", ["data", "data/flexportd.db", "cache/answers"])
async def test_what_belongs_to_somebody_else_is_refused_with_both_names(stopped, clock, name):
    path = stopped / name
    os.chown(path, 12345, -1)
    (problem,) = await refused(stopped, clock)
    assert f"{path} belongs to 12345, but flexportd runs as root: run chown root {path}" in problem


# --- links ---


@pytest.mark.parametrize("name", ["flexportd.lock", "flexportd.db", "flexportd.db-wal", "token.json", "token.lock"])
async def test_a_link_in_the_place_of_a_file_is_not_followed(tmp_path, clock, name):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    victim.chmod(0o600)
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "data" / name).symlink_to(victim)
    (problem,) = await refused(tmp_path, clock)
    assert f"{tmp_path / 'data' / name} is a symbolic link, which is not followed" in problem
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("name", ["flexportd.lock", "flexportd.db"])
def test_a_link_that_appears_after_the_look_is_not_followed_either(tmp_path, name):
    victim = tmp_path / "victim"
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "data" / name).symlink_to(victim)
    with pytest.raises(StorageError, match="is a symbolic link, which is not followed"):
        DataDir(tmp_path / "data").lock()
    assert not victim.exists()


@pytest.mark.parametrize("name", ["data", "data/archive", "data/backups"])
async def test_a_folder_may_be_a_link_to_a_private_one_on_another_disk(tmp_path, clock, name):
    (tmp_path / "disk").mkdir(mode=0o700)
    (tmp_path / name).parent.mkdir(mode=0o700, exist_ok=True)
    (tmp_path / name).symlink_to(tmp_path / "disk")
    async with start(Settings.for_tests(tmp_path), clock):
        pass
    (tmp_path / "disk").chmod(0o755)
    assert len(await refused(tmp_path, clock)) == 1
