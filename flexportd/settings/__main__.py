"""`python -m flexportd.settings example|docs`: print the generated files, so that CI can compare them."""

import sys

from flexportd.settings import render_docs, render_example

_WRITERS = {"example": render_example, "docs": render_docs}

if len(sys.argv) != 2 or sys.argv[1] not in _WRITERS:
    sys.exit(f"usage: python -m flexportd.settings {'|'.join(_WRITERS)}")
sys.stdout.write(_WRITERS[sys.argv[1]]())
