"""The generated files are what the settings say, and the example can be used."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from flexportd.errors import ConfigError
from flexportd.settings import (
    Settings,
    load,
    render_docs,
    render_example,
    render_initial,
    schema,
)
from flexportd.settings.notify import CHANNEL_MODELS
from flexportd.settings.schema import KeySpec, channel_specs, key_specs, rule_specs, secret_files, section_models

ROOT = Path(__file__).parents[2]
SECRET = "0123456789abcdef-fresh"


def keys() -> dict[str, KeySpec]:
    return dict(key_specs())


def test_the_committed_example_is_the_rendered_one():
    assert (ROOT / "flexportd.toml.example").read_text("utf-8") == render_example()


def test_the_committed_reference_is_the_rendered_one():
    assert (ROOT / "docs/configuration.md").read_text("utf-8") == render_docs()


@pytest.mark.parametrize(("word", "render"), [("example", render_example), ("docs", render_docs)])
def test_the_module_prints_both(word, render):
    done = subprocess.run(
        [sys.executable, "-m", "flexportd.settings", word], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout == render()


@pytest.mark.parametrize("words", [[], ["neither"], ["docs", "example"]])
def test_the_module_names_its_words_when_asked_for_another(words):
    done = subprocess.run(
        [sys.executable, "-m", "flexportd.settings", *words], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode != 0
    assert "usage: python -m flexportd.settings example|docs" in done.stderr


def test_every_section_and_key_is_described_in_one_sentence():
    for model in section_models().values():
        assert model.__doc__.endswith(".")
        assert "\n" not in model.__doc__
    for dotted, key in keys().items():
        assert key.description.endswith("."), dotted
        assert key.type_text, dotted
        assert key.default_text, dotted


def test_the_sections_and_keys_are_those_of_the_model():
    assert list(section_models()) == list(Settings.model_fields)
    assert list(dict.fromkeys(key.section for key in keys().values())) == list(Settings.model_fields)


def test_the_keys_that_reload_exist():
    listed = {f"{section}.{name}" for section, names in schema._RELOADABLE.items() for name in names}
    assert set(keys()) >= listed
    assert all(any(name.startswith(table) for name in keys()) for table in schema._RELOADABLE_TABLES)
    reloadable = {name for name, key in keys().items() if key.reloadable}
    assert {"cache.ttl.shipment", "sync.overlap", "storage.event_retention", "documents.types"} <= reloadable
    assert {"server.listen", "cache.size_limit", "flexport.api_key", "storage.data_dir"}.isdisjoint(reloadable)


def test_only_secrets_are_marked_secret():
    assert {name for name, key in keys().items() if key.value_type.secret} == {
        "flexport.api_key",
        "flexport.client_secret",
        "flexport.proxy",
        "webhook.secrets",
    }


@pytest.mark.parametrize("text", [render_example(), render_docs()], ids=["example", "docs"])
def test_both_show_every_key_with_its_sentence_and_default(text):
    flat = re.sub(r"\s*\n# ", " ", text)
    for dotted, key in keys().items():
        assert key.description in flat, dotted
        assert key.default_text in flat, dotted


def test_types_are_told_with_their_bounds():
    found = keys()
    assert found["queue.workers"].type_text == "whole number from 1 to 64"
    assert found["webhook.max_body"].type_text == "size from 1KiB to 256MiB"
    assert found["sync.overlap"].type_text == "duration from 0s to 1d"
    assert found["cache.ttl.shipment"].type_text == "duration"
    assert found["webhook.max_pending"].type_text == "whole number, 1 or more"
    assert found["flexport.timeout"].type_text == "duration above 0s"
    assert found["dashboard.title"].type_text == "text of at most 80 characters"
    assert found["log.level"].type_text == "one of debug, info, warning, error"
    assert found["flexport.api_version"].type_text == "only 2"
    assert found["storage.history_retention"].type_text == 'duration above 0s, or "forever"'


def test_only_what_must_be_set_is_set_in_the_example():
    tables = tomllib.loads(render_example())
    assert {name: list(table) for name, table in tables.items() if table} == {"webhook": ["secrets"]}


def test_the_placeholder_of_the_example_is_no_secret(tmp_path):
    """A secret that stands in a public file would let anybody sign webhooks."""
    file = tmp_path / "flexportd.toml"
    file.write_text(render_example())
    with pytest.raises(
        ConfigError, match=r"\[webhook\] secrets: item 1: found \*\*\*; expected at least 16 characters"
    ):
        load(file, {"HOME": str(tmp_path)})


TOGETHER = {
    "flexport.client_id": 'client_secret = "x"',
    "flexport.client_secret": 'client_id = "x"',
    "server.tls_cert": 'tls_key = "/x"',
    "server.tls_key": 'tls_cert = "/x"',
    "storage.data_dir": 'cache_dir = "/elsewhere"',
}


@pytest.mark.parametrize("dotted", key_specs())
def test_each_commented_key_of_the_example_loads_when_its_mark_is_removed(dotted, tmp_path):
    section, _, name = dotted.partition(".")
    block = render_example().partition(f"\n[{section}]\n")[2]
    line = re.search(rf"^#?({name} = .*)$", block, re.MULTILINE)[1].replace("CHANGE-ME", SECRET)
    file = tmp_path / "flexportd.toml"
    file.write_text(f"[{section}]\n{line}\n{TOGETHER.get(dotted, '')}\n")
    loaded = load(file, {"HOME": str(tmp_path)})
    assert loaded.origins[dotted].endswith(":2")


@pytest.mark.parametrize("dotted", [name for name, entry in key_specs().items() if "sample" not in entry.extra])
def test_each_commented_default_is_the_default(dotted, tmp_path):
    section, _, name = dotted.partition(".")
    block = render_example().partition(f"\n[{section}]\n")[2]
    file = tmp_path / "flexportd.toml"
    file.write_text(f"[{section}]\n" + re.search(rf"^#({name} = .*)$", block, re.MULTILINE)[1])
    environ = {"HOME": str(tmp_path)}
    (tmp_path / "empty.toml").touch()
    assert load(file, environ).settings == load(tmp_path / "empty.toml", environ).settings


@pytest.mark.parametrize(
    ("kind", "name"), [("email", "team"), ("slack", "ops"), ("webhook", "erp"), ("apprise", "phone")]
)
def test_each_sample_of_a_channel_loads_when_its_marks_are_removed(kind, name, tmp_path):
    block = render_example().partition(f"\n#[notify.channels.{name}]\n")[2].partition("\n# A ")[0]
    lines = {found[1]: found[0] for found in re.findall(r"^#(([a-z_]+) = .*)$", block, re.MULTILINE)}
    secrets = [spec.name for spec in channel_specs(kind).values() if spec.value_type.secret]
    assert set(lines) == {*channel_specs(kind), *(f"{key}_file" for key in secrets)}
    lines = {key: line for key, line in lines.items() if not key.endswith("_file")}
    if kind == "slack":
        del lines["webhook_url"]
    text = "\n".join(lines.values()).replace("whsec_...", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    file = tmp_path / "flexportd.toml"
    file.write_text(f"[notify.channels.{name}]\n{text}\n")
    assert load(file, {"HOME": str(tmp_path)}).settings.notify.channels[name].type == kind


def test_the_sample_of_a_rule_loads_when_its_marks_are_removed(tmp_path):
    block = render_example().partition("\n#[[notify.rules]]\n")[2].partition("\n[")[0]
    lines = re.findall(r"^#([a-z_]+ = .*)$", block, re.MULTILINE)
    assert [line.partition(" ")[0] for line in lines] == list(rule_specs())
    file = tmp_path / "flexportd.toml"
    file.write_text("\n".join(["[[notify.rules]]", *lines]))
    assert load(file, {"HOME": str(tmp_path)}).settings.notify.rules[0].name == "ETA slips"


@pytest.mark.parametrize("text", [render_example(), render_docs()], ids=["example", "docs"])
def test_both_show_every_key_of_channels_and_rules(text):
    flat = re.sub(r"\s*\n# ", " ", text)
    for spec in (*(spec for kind in CHANNEL_MODELS for spec in channel_specs(kind).values()), *rule_specs().values()):
        assert spec.description.endswith(".")
        assert spec.name == "type" or spec.description in flat, spec.dotted
        assert spec.default_text in flat, spec.dotted


def test_an_initial_file_loads_with_the_values_it_was_given(tmp_path):
    values = {
        "webhook.secrets": SECRET,
        "webhook.allowed_networks": "10.0.0.0/8, 192.0.2.7",
        "webhook.max_body": "1MiB",
        "server.listen": "0.0.0.0:9000",
        "queue.workers": "8",
        "dashboard.enabled": "false",
        "dashboard.title": 'Freight "North" \\ \x7f'.rstrip("\x7f"),
        "flexport.requests_per_second": "2.5",
        "storage.data_dir": "data",
        "storage.cache_dir": "cache",
    }
    file = tmp_path / "flexportd.toml"
    file.write_text(render_initial(values))
    settings = load(file, {"HOME": str(tmp_path)}).settings
    assert [secret.get_secret_value() for secret in settings.webhook.secrets] == [SECRET]
    assert len(settings.webhook.allowed_networks) == 2
    assert settings.webhook.max_body == 2**20
    assert str(settings.server.listen[0]) == "0.0.0.0:9000"
    assert settings.queue.workers == 8
    assert not settings.dashboard.enabled
    assert settings.dashboard.title == 'Freight "North" \\ '
    assert settings.flexport.requests_per_second == 2.5
    assert settings.storage.data_dir == tmp_path / "data"


def test_an_initial_file_without_values_loads_and_sets_nothing(tmp_path):
    file = tmp_path / "flexportd.toml"
    file.write_text(render_initial({}))
    loaded = load(file, {"HOME": str(tmp_path)})
    assert not any("flexportd.toml" in origin for origin in loaded.origins.values())


def test_an_initial_file_can_name_the_file_of_a_secret(tmp_path):
    (tmp_path / "secrets").write_text(SECRET)
    file = tmp_path / "flexportd.toml"
    file.write_text(render_initial({"webhook.secrets_file": "secrets"}))
    assert load(file, {}).origins["webhook.secrets"] == f"file {tmp_path / 'secrets'}"


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"queue.laese": "5m"}, r"queue\.laese: unknown key; did you mean queue\.lease\?"),
        ({"queue.lease": "5"}, r'queue\.lease: found "5"; expected a duration such as "5s"'),
        ({"webhook.secrets": "tooshort"}, r"webhook\.secrets: .* found \*\*\*"),
    ],
)
def test_an_initial_file_with_a_value_that_does_not_fit_is_refused(values, problem):
    with pytest.raises(ConfigError, match=problem) as caught:
        render_initial(values)
    assert "tooshort" not in str(caught.value)


def test_the_reference_tells_of_every_secret_and_profile():
    text = render_docs()
    for dotted in secret_files().values():
        assert f"`{dotted}`" in text
    assert "http://127.0.0.1:9100" in text
    assert "https://api.flexport.com" in text
