"""docs/security.md names code and tests that exist, and README leads to it."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "security.md").read_text()


def test_every_module_and_test_that_is_named_exists():
    named = re.findall(r"`([a-z_/]+\.(?:py|txt|toml|md))`( `[A-Za-z_]+`)?", TEXT)
    assert len(named) > 30
    for path, name in named:
        places = [ROOT / folder / path for folder in ("", "flexportd", "tests")]
        (found,) = [place for place in places if place.is_file()]
        if name:
            assert name.strip(" `") in found.read_text(), (path, name)
    for folder in re.findall(r"`([a-z_/]+/)`", TEXT):
        assert any((ROOT / root / folder).is_dir() for root in ("", "flexportd")), folder


def test_every_setting_that_is_named_exists():
    known = (ROOT / "docs" / "configuration.md").read_text()
    for name in ("public_url", "trusted_proxies", "require_key", "event_retention", "allowed_networks", "tls_cert"):
        assert f"`{name}`" in TEXT or f" {name}" in TEXT
        assert f"`{name}`" in known


def test_the_readme_leads_there():
    assert "](docs/security.md)" in (ROOT / "README.md").read_text()
