"""The `flexportd` command (temporary)."""

import sys
from pathlib import Path


def main() -> None:
    from flexportd.settings import load
    from flexportd import serve

    p = Path(sys.argv[2])
    sys.exit(serve.run(load(p), p))
