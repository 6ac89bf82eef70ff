#!/bin/sh
# Writes the generated files; with --check, only says which are not current.
set -eu
bin=${BIN:-.venv/bin}
check=${1:-}
stale=0

generate() {
    file=$1
    shift
    made=$(mktemp)
    "$@" >"$made"
    if [ "$check" = "--check" ]; then
        if ! cmp -s "$made" "$file"; then
            echo "$file is not current: run 'make docs'"
            stale=1
        fi
        rm -f "$made"
    else
        cat "$made" >"$file"
        rm -f "$made"
    fi
}

generate flexportd.toml.example "$bin/python" -m flexportd.settings example
generate flexportd/cli/resource_specs.json "$bin/python" -m flexportd.expose.api.resources
generate docs/api.md "$bin/python" -m flexportd.expose.openapi.docs_tables docs/api.md
generate docs/configuration.md "$bin/python" -m flexportd.settings docs
generate docs/cli.md "$bin/python" -m flexportd.cli.docs
generate docs/schema.md "$bin/python" -m flexportd.storage.schema_docs
generate flexportd/storage/migrations/schema.sql "$bin/python" -m flexportd.storage.schema_docs script
exit $stale
