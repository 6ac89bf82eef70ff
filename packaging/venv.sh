#!/bin/sh
# Installs flexportd into a virtual environment, at the pinned versions: venv.sh [FOLDER [EXTRA]].
# The extra `dev` adds the development tools.
set -eu
venv=${1:-.venv}
extra=${2:+[$2]}
python=${PYTHON:-python3}

if ! "$python" -c '' >/dev/null 2>&1; then
    echo "flexportd needs Python 3.11 or newer, and '$python' does not run: install it, or run make PYTHON=/path/to/python3" >&2
    exit 1
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "flexportd needs Python 3.11 or newer; $python is $("$python" -c 'import platform; print(platform.python_version())'): run make PYTHON=/path/to/python3.11" >&2
    exit 1
fi
if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
    echo "Python's venv module is missing: run 'apt-get install python3-venv' (or your system's package for it) and try again." >&2
    exit 1
fi
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
echo "Installing flexportd$extra into $venv ..."
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --constraint packaging/constraints.txt --editable ".$extra"
