#!/bin/bash
# Names the licence of every module in a binary, and fails if one is neither Apache, MIT, BSD, MPL nor ISC.
set -euo pipefail
GO=${GO:-go}
binary=${1:-bin/holdfast}
status=0
while read -r path version; do
	dir=$("$GO" list -m -f '{{.Dir}}' "$path@$version")
	file=$(find "$dir" -maxdepth 1 -type f \( -iname 'licen[sc]e*' -o -iname 'copying*' \) | sort | head -1)
	text=$([ -n "$file" ] && tr -s '[:space:]' ' ' <"$file" || true)
	case "$text" in
	*"Apache License"*) licence=Apache-2.0 ;;
	*"Mozilla Public License"*) licence=MPL-2.0 ;;
	*"Redistribution and use in source and binary forms"*) licence=BSD ;;
	*"Permission is hereby granted, free of charge"*) licence=MIT ;;
	*"Permission to use, copy, modify, and"*"distribute this software for any purpose"*) licence=ISC ;;
	*) licence=unknown status=1 ;;
	esac
	printf '%-10s %s %s\n' "$licence" "$path" "$version"
done < <("$GO" version -m "$binary" | awk '$1 == "dep" {print $2, $3}')
exit $status
