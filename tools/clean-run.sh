#!/usr/bin/env bash
# Ends what `make run` left running and forgets it: containers, then state/ and .run/.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tools/processes.sh
. tools/processes.sh

if [ "$(id -u)" != 0 ] && { [ -e .run ] || [ -d state/journal ]; }; then exec sudo "$0"; fi
end_recorded .run/riklet.pid
end_recorded .run/scheduler.pid
tools/teardown.sh state .run
find state -mindepth 1 -maxdepth 1 ! -name README.md -exec rm -rf --one-file-system {} +
rm -rf --one-file-system .run
echo "clean: nothing of make run is left (state/ is empty, .run/ is gone)"
