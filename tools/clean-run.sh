#!/usr/bin/env bash
# Ends what `make run` left running and forgets it: containers, then state/ and .run/.
set -euo pipefail
cd "$(dirname "$0")/.."

# Ends a process that make run started: its pid and its start time have to be those that were
# written down then, for a pid may belong to somebody else by now.
end() {
    local file=$1 pid started now
    [ -e "$file" ] || return 0
    read -r pid started <"$file"
    now=$(awk '{ sub(/.*\) /, ""); print $20 }' "/proc/$pid/stat" 2>/dev/null || true)
    if [ -n "$now" ] && [ "$now" = "$started" ]; then
        kill -TERM "$pid"
        for _ in $(seq 100); do
            [ -d "/proc/$pid" ] || break
            sleep 0.1
        done
    fi
    rm -f "$file"
}

if [ "$(id -u)" != 0 ] && { [ -e .run ] || [ -d state/journal ]; }; then exec sudo "$0"; fi
end .run/riklet.pid
end .run/scheduler.pid
tools/teardown.sh state .run
find state -mindepth 1 -maxdepth 1 ! -name README.md -exec rm -rf --one-file-system {} +
rm -rf --one-file-system .run
echo "clean: nothing of make run is left (state/ is empty, .run/ is gone)"
