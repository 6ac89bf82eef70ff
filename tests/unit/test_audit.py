"""The dependency audit: what it makes of reports, and of none."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VULNERABLE = {"id": "CVE-2026-1", "aliases": [], "fix_versions": ["2.0"], "description": "x"}
ACCEPTED = {"id": "PYSEC-2026-1", "aliases": ["CVE-2025-69872"], "fix_versions": [], "description": "x"}


def package(*vulns, **more):
    return {"name": "diskcache", "version": "1.0", "vulns": list(vulns), **more}


@pytest.mark.parametrize(
    ("reports", "code", "said"),
    [
        ({"osv": [package(VULNERABLE)]}, 1, "diskcache 1.0: CVE-2026-1, fixed in 2.0"),
        ({"osv": [package(ACCEPTED)]}, 0, "ok: no known vulnerability in 1 packages (osv)"),
        ({"osv": [package()], "pypi": [package(VULNERABLE)]}, 0, "ok: no known vulnerability in 1 packages (osv)"),
        ({"pypi": [package(VULNERABLE)]}, 1, "CVE-2026-1"),
        ({"pypi": [{"name": "x", "skip_reason": "not found"}]}, 0, "advisory data not reachable: skipped"),
        ({}, 0, "advisory data not reachable: skipped"),
    ],
)
def test_what_the_audit_says_and_ends_with(tmp_path, reports, code, said):
    program = tmp_path / "pip-audit"
    program.write_text(
        f"#!{sys.executable}\nimport json, sys\nreports = {reports!r}\n"
        "service = sys.argv[sys.argv.index('--vulnerability-service') + 1]\n"
        "if service not in reports: sys.exit('no network')\n"
        "print(json.dumps({'dependencies': reports[service]})); sys.exit(1)\n"
    )
    program.chmod(0o755)
    command = [sys.executable, str(ROOT / "packaging" / "audit.py"), "unused", str(program)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stderr) == (code, "")
    assert said in ended.stdout


def test_without_the_tool_it_is_skipped():
    command = [sys.executable, str(ROOT / "packaging" / "audit.py"), "unused", "/nowhere/pip-audit"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stdout) == (0, "advisory data not reachable: skipped\n")


def test_each_pinned_version_is_one_that_the_project_allows():
    """The lower bounds stand above what is known to be vulnerable, and the pinned versions above them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = dict(
        line.lower().replace("_", "-").split("==")
        for line in (ROOT / "packaging" / "constraints.txt").read_text().splitlines()
        if "==" in line
    )
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    for requirement in wanted:
        name, least = re.match(r"([A-Za-z0-9._-]+)>=([0-9.]+)", requirement).groups()
        have = pinned[name.lower().replace("_", "-")]
        assert [int(part) for part in re.findall(r"\d+", have)[:3]] >= [int(part) for part in least.split(".")], name
    bounds = {requirement.partition(">=")[0]: json.dumps(requirement) for requirement in wanted}
    assert "icalendar>=7.2.2" in bounds["icalendar"]  # GHSA-cv84-9p8j-fj68, GHSA-qjcq-q7h7-r74v
    assert "click>=8.3.3" in bounds["click"]  # CVE-2026-7246
    assert "idna>=3.15" in bounds["idna"]  # CVE-2026-45409
