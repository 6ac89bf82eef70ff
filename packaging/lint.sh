#!/bin/sh
# All checks that need no running program. Every one runs, and the end says how many failed.
set -u
bin=${BIN:-.venv/bin}
failed=0

check() {
    name=$1
    shift
    if out=$("$@" 2>&1); then
        echo "ok      $name"
    else
        echo "FAILED  $name"
        echo "$out"
        failed=$((failed + 1))
    fi
}

check "ruff: lint" "$bin/ruff" check .
check "ruff: format" "$bin/ruff" format --check .
check "mypy --strict" "$bin/mypy"
check "import rules" "$bin/lint-imports"
check "generated files are current" sh packaging/generate.sh --check

if [ "$failed" -gt 0 ]; then
    echo "$failed of the checks failed"
    exit 1
fi
