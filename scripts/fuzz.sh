#!/bin/bash
# Runs every fuzz test of the repository for FUZZTIME each, and stops at the first that finds something.
set -euo pipefail
GO=${GO:-go}
grep -rn --include='*_test.go' -o '^func Fuzz[A-Za-z0-9_]*' . | sort | while IFS=: read -r file _ text; do
	name=${text#func }
	echo "== $(dirname "$file") $name"
	"$GO" test -run '^$' -fuzz "^$name\$" -fuzztime "${FUZZTIME:-10s}" "$(dirname "$file")" </dev/null
done
