#!/usr/bin/env bash
# `make demo`: the whole story without a keyboard, in under a minute; exits 0 only if each claim
# held. Lies in target/demo/, so it neither sees nor touches what make run has.
set -euo pipefail
cd "$(dirname "$0")/.."
MAKE_GOAL=demo tools/preflight.sh

scene=demo bin=${CARGO_TARGET_DIR:-target}/debug
place=$(realpath -m "${CARGO_TARGET_DIR:-target}")/demo
state=$place/state run=$place/run
# shellcheck source=tools/scene.sh
. tools/scene.sh
one_at_a_time "$(dirname "$place")/.demo.lock"

# What a killed demo left: its processes by what was recorded of them, the rest by the journal.
forget() {
    end_leftovers
    tools/teardown.sh "$state" "$run" 8>&- && rm -rf --one-file-system "$place"
}
forget
mkdir -p "$state" "$run"
leave() {
    local code=$?
    trap - EXIT
    trap '' INT TERM HUP
    end_daemon KILL
    end_scheduler
    if [ "$code" = 0 ]; then
        forget
    else
        echo "demo: failed; its files are in $place (the next make demo removes them)" >&2
        tools/teardown.sh "$state" "$run" 8>&- || true
    fi
    exit "$code"
}
trap leave EXIT
trap 'exit 130' INT TERM HUP
began=$SECONDS

expect() { # expect WHAT WANTED GOT
    [ "$2" = "$3" ] || fail "$1: expected '$2', got '$3'"
    printf '  \033[32mholds\033[0m: %s (%s)\n' "$1" "${3:-nothing}"
}
yes_if() { if "$@" >/dev/null 2>&1; then echo yes; else echo no; fi; }
pid_of() { field "$1" '.containers[0].pid'; }

# Everything of one incarnation that is on this machine, one thing a line, looked for without
# riklet: its processes by the cgroups of every hierarchy, its monitors by their arguments.
left_of() {
    local uid=$1 node
    node=$(grep -ahom1 '"node":"[^"]*"' "$state"/journal/*.jsonl | head -n 1 | cut -d'"' -f4)
    ip netns list | awk -v name="rk-$uid" '$1 == name { print "network namespace " $1 }'
    awk -v top="$state/pods/$uid/" 'index($5, top) == 1 { print "mount " $5 }' /proc/self/mountinfo
    # (A controller's own mount and its link in /sys/fs/cgroup are one.)
    awk '$3 == "cgroup" || $3 == "cgroup2" { print $2 }' /proc/self/mounts | sort -u |
        while read -r mount; do
            find "$mount/riklet-$node"/{pods,monitors} -maxdepth 1 -name "$uid*" \
                -printf 'cgroup %p\n' 2>/dev/null
        done || true
    { grep -laF -- "$uid-" /proc/[0-9]*/cmdline 2>/dev/null || true; } | cut -d/ -f3 |
        while read -r pid; do
            [ "$(cat "/proc/$pid/comm" 2>/dev/null)" != conmon ] || echo "monitor, process $pid"
        done
    runc --root "$run/runc" list -q | sed -n "s/^$uid-/container of runc &/p"
    find "$state/pods" "$state/exits" -mindepth 1 -name "$uid*" -printf 'file %p\n'
    find "$state/pods/by-id" -mindepth 1 -printf 'link %p\n' 2>/dev/null || true
}

say "1. Place: the scheduler sends a workload, riklet runs it"
# Its own image, at a path that no make run removes.
tools/make-image.sh "$run/image" 8>&-
render_workloads
start_scheduler
start_daemon
order create "$run/workloads/hello.json" hello
wait_for 60 "hello to be Running" running hello
show ps
uid=$(field hello .uid)
first=$(pid_of hello)
wait_for 10 "hello to print two lines" has_logged hello 2
show logs --tail 2 hello
expect "the scheduler has heard" CREATING,RUNNING "$(
    received '.event == "instance"' | jq -rs '[.[].status] | reduce .[] as $s ([]; if .[-1] == $s then . else . + [$s] end) | join(",")'
)"

say "2. SIGKILL the daemon: the container lives on"
echo "\$ kill -9 $daemon_pid"
printed=$(rk logs hello | wc -l)
end_daemon KILL
expect "a daemon answers" no "$(yes_if rk status)"
expect "the container's process is alive without riklet" yes "$(yes_if alive "$first")"
wait_for 10 "more of its output" has_logged hello $((printed + 1))
expect "and what it prints is kept" yes "$(yes_if has_logged hello $((printed + 1)))"

say "3. Start it again: adopted, not restarted"
before=$(wc -l <"$run/record.jsonl")
start_daemon
wait_for 20 "hello to be Running" running hello
wait_for 20 "the scheduler to hear of hello" eval \
    "tail -n +$((before + 1)) $(printf %q "$run")/record.jsonl | grep -q '\"event\":\"instance\"'"
show ps
expect "same pid" "$first" "$(pid_of hello)"
expect "no restart" 0 "$(field hello .restarts)"
expect "all that the scheduler has heard since" RUNNING "$(
    tail -n +$((before + 1)) "$run/record.jsonl" |
        jq -r 'select(.event == "instance") | .status' | sort -u | paste -sd,
)"
expect "still to be done" 0 "$(rk plan -o json | jq '.instances | length')"

say "4. Kill the container: restarted"
# By its pid, which ps has just shown to be that of our container.
echo "\$ kill -9 $first"
kill -KILL "$first"
wait_for 20 "hello to have restarted" is hello .restarts 1
wait_for 20 "hello to be Running" running hello
show ps
second=$(pid_of hello)
expect "another process" yes "$(yes_if [ "$second" != "$first" ])"

say "5. Remove state/db, while the daemon is dead: rebuilt from the journal"
echo "\$ kill -9 $daemon_pid; rm -rf state/db"
end_daemon KILL
rm -rf "$state/db"
start_daemon
wait_for 20 "hello to be Running" running hello
wait_for 20 "the store to be rebuilt" test -f "$state/db/db"
expect "same pid" "$second" "$(pid_of hello)"
expect "the journal says so" yes "$(yes_if grep -q StoreRebuilt "$state"/journal/*.jsonl)"
show state verify

say "6. Destroy: nothing is left"
echo "of hello there is now, looked for without riklet:"
left_of "$uid" | sed "s|$place/||; s|/sys/fs/cgroup/[^/]*|(of each hierarchy) |; s/^/  /" | uniq
expect "something of it to be found" yes "$(yes_if [ "$(left_of "$uid" | wc -l)" -ge 5 ])"
order destroy hello
wait_for 45 "hello to be gone" absent hello
wait_for 20 "the scheduler to hear of its end" has_received '.event == "instance" and .status == "TERMINATED"'
expect "Terminated, so many times" 1 "$(received '.event == "instance" and .status == "TERMINATED"' | wc -l)"
expect "its process is gone" yes "$(yes_if not_alive "$second")"
expect "left of it" "" "$(left_of "$uid")"

say "7. And it can say what happened"
show explain hello
expect "rules of the wire broken" 0 "$(received '.event == "violation"' | wc -l)"

end_daemon
say "All of it held, in $((SECONDS - began)) s."
