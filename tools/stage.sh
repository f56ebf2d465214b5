#!/usr/bin/env bash
# Runs one stage of a goal and says how long it took.
# Usage: tools/stage.sh NAME COMMAND...     (appends "seconds NAME" to $STAGES, if that is set)
set -uo pipefail
name=$1
shift
printf '\n\033[1m== %s\033[0m  %s\n' "$name" "$*"
began=${EPOCHREALTIME/./}
"$@"
code=$?
took=$(((${EPOCHREALTIME/./} - began) / 100000))
took=$((took / 10)).$((took % 10))
outcome=took
[ "$code" = 0 ] || outcome="FAILED ($code) after"
printf '== %s %s %s s\n' "$name" "$outcome" "$took"
[ -z "${STAGES:-}" ] || printf '%8s s  %s\n' "$took" "$name" >>"$STAGES"
exit "$code"
