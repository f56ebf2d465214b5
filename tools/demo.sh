#!/usr/bin/env bash
# `make demo`: the whole story without a keyboard, in under a minute; exits 0 only if each claim
# held. Lies in target/demo/, so it neither sees nor touches what make run has.
set -euo pipefail
cd "$(dirname "$0")/.."
MAKE_GOAL=demo tools/preflight.sh

scene=demo bin=${CARGO_TARGET_DIR:-target}/debug
place=$(realpath -m "${CARGO_TARGET_DIR:-target}")/demo
state=$place/state run=$place/run
exec 8>"$(dirname "$place")/.demo.lock"
flock -n 8 || { echo "demo: another make demo runs in this checkout" >&2; exit 1; }

# What a killed demo left: its processes hold the lock no more, its containers live.
forget() {
    tools/teardown.sh "$state" "$run" 8>&- && rm -rf --one-file-system "$place"
}
forget
mkdir -p "$state" "$run"
# shellcheck source=tools/scene.sh
. tools/scene.sh
leave() {
    local code=$?
    trap - EXIT INT TERM
    end_daemon KILL
    end_scheduler
    if [ "$code" = 0 ]; then
        forget
    else
        echo "demo: failed; its files are in $place (the next make demo removes them)" >&2
        tools/teardown.sh "$state" "$run" || true
    fi
    exit "$code"
}
trap leave EXIT
trap 'exit 130' INT TERM
began=$SECONDS

expect() { # expect WHAT WANTED GOT
    [ "$2" = "$3" ] || fail "$1: expected '$2', got '$3'"
    printf '  holds: %s (%s)\n' "$1" "$3"
}
pid_of() { field "$1" '.containers[0].pid'; }

say "1. Place: the scheduler sends a workload, riklet runs it"
# Its own image, at a path that no make run removes.
tools/make-image.sh "$run/image"
render_workloads
start_scheduler
start_daemon
order create "$run/workloads/hello.json" hello
wait_for 60 "hello to be Running" running hello
show ps
first=$(pid_of hello)
wait_for 10 "hello to print two lines" has_logged hello 2
show logs --tail 2 hello

say "2. SIGKILL the daemon: the container lives on"
end_daemon KILL
expect "the container's process is alive without riklet" yes "$(alive "$first" && echo yes || echo no)"

say "3. Start it again: adopted, not restarted"
start_daemon
wait_for 20 "hello to be Running" running hello
show ps
expect "same pid" "$first" "$(pid_of hello)"
expect "no restart" 0 "$(field hello .restarts)"

say "4. Kill the container: restarted"
# By its pid, which ps has just shown to be that of our container.
kill -KILL "$first"
wait_for 20 "hello to have restarted" is hello .restarts 1
wait_for 20 "hello to be Running" running hello
show ps
second=$(pid_of hello)
expect "another process" yes "$([ "$second" != "$first" ] && echo yes || echo no)"

say "5. Remove state/db, while the daemon is dead: rebuilt from the journal"
end_daemon KILL
rm -rf "$state/db"
start_daemon
wait_for 20 "hello to be Running" running hello
wait_for 20 "the store to be rebuilt" test -d "$state/db"
expect "same pid" "$second" "$(pid_of hello)"
show state verify

say "6. Destroy: nothing is left"
order destroy hello
wait_for 45 "hello to be gone" absent hello
wait_for 10 "its process to be gone" not_alive "$second"
expect "runtime's containers" 0 "$(runc --root "$run/runc" list -q | wc -l)"
expect "mounts below the state dir" 0 "$(grep -c " $state/" /proc/self/mountinfo || true)"
expect "pods left" 0 "$(find "$state/pods" -mindepth 1 -maxdepth 1 ! -name by-id | wc -l)"
show leaks

say "7. And it can say what happened"
show explain hello

end_daemon
say "All of it held, in $((SECONDS - began)) s."
