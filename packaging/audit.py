"""Hold the pinned versions against the published advisories, where these can be reached.

The advisories come from OSV (https://osv.dev), else from PyPI, by way of pip-audit in an environment of its own. Where
neither can be reached, that is reported and is no failure: CI must not depend on somebody else's server.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PINNED = HERE / "constraints.txt"
TOOL = "pip-audit==2.10.1"
SERVICES = ("osv", "pypi")
SECONDS = 90  # for each step

# Known, and why it does not concern us.
ACCEPTED = {
    "CVE-2025-69872": "diskcache reads pickles from its folder; flexportd/cache/disk_store.py keeps pickle away",
    "GHSA-w8v5-vhqr-4h9v": "the same",
}


def verdict(output: str) -> tuple[list[str], int] | None:
    """The vulnerabilities of a report and how many packages were looked up; None for what is no report."""
    try:
        packages: list[dict[str, Any]] = json.loads(output)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return None
    found, looked_up = [], 0
    for package in packages:
        if "skip_reason" in package:
            continue
        looked_up += 1
        for one in package["vulns"]:
            if not ACCEPTED.keys() & {one["id"], *one.get("aliases", ())}:
                fixed = ", ".join(one["fix_versions"]) or "no version yet"
                found.append(f"{package['name']} {package['version']}: {one['id']}, fixed in {fixed}")
    return (found, looked_up) if looked_up else None


def tool(folder: Path) -> Path | None:
    """The path of pip-audit, installed if need be; None where it cannot be had."""
    program = folder / "bin" / "pip-audit"
    if program.exists():
        return program
    install = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", TOOL]
    for command in ([sys.executable, "-m", "venv", str(folder)], install):
        if _run(command) is None:
            return None
    return program if program.exists() else None


def main() -> int:
    """0 unless a pinned version has a known vulnerability."""
    program = Path(sys.argv[2]) if len(sys.argv) > 2 else tool(Path(sys.argv[1]))
    for service in SERVICES if program is not None else ():
        command = [str(program), "--requirement", str(PINNED), "--no-deps", "--disable-pip", "--format", "json"]
        output = _run([*command, "--vulnerability-service", service, "--progress-spinner", "off", "--timeout", "10"])
        report = verdict(output or "")
        if report is None:
            continue
        found, looked_up = report
        print("\n".join(found) or f"ok: no known vulnerability in {looked_up} packages ({service})")
        return 1 if found else 0
    print("advisory data not reachable: skipped")
    return 0


def _run(command: list[str]) -> str | None:
    """What a command prints; None where it does not run or takes too long."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS).stdout  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None


if __name__ == "__main__":
    sys.exit(main())
