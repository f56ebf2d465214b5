#!/usr/bin/env bash
# `make run`: an example scheduler and the daemon on this checkout, with a workload to look at.
# Everything lies in state/ (what riklet keeps) and .run/ (what a reboot may take).
set -euo pipefail
cd "$(dirname "$0")/.."
MAKE_GOAL=run tools/preflight.sh

scene=run state=state run=.run bin=${CARGO_TARGET_DIR:-target}/debug
# shellcheck source=tools/scene.sh
. tools/scene.sh
mkdir -p "$state" "$run"
one_at_a_time "$run/make-run.lock"
end_leftovers
if rk status >/dev/null 2>&1; then
    fail "a daemon that make run did not start runs on state/ (pid $(cat state/lock))." \
        "stop that one first"
fi
tools/make-image.sh "$run/image" 8>&-
render_workloads
: >"$run/riklet.log"

leave() {
    local code=$?
    trap - EXIT
    trap '' INT TERM HUP
    end_daemon
    end_scheduler
    if [ "$code" != 0 ]; then
        printf '\nrun: failed, so daemon and scheduler are stopped. To begin anew: make clean-run\n' >&2
        exit "$code"
    fi
    cat <<END

Stopped the daemon and the scheduler. The containers live on: SIGTERM to a node agent is for
upgrades. Now, with the daemon dead:

  $bin/riklet state log --state-dir $state       what happened, line by line
  $bin/riklet explain hello --state-dir $state   why hello is as it is
  less $state/README.md                            what each file is
  make run                                        the containers are adopted, same pids
  make clean-run                                  ends them and forgets everything
END
}
trap leave EXIT
trap 'exit 0' INT TERM HUP

say "The scheduler, then the daemon"
start_scheduler
echo "scheduler on 127.0.0.1:$port (pid $scheduler_pid), its log: $run/scheduler.log"
start_daemon
echo "riklet, state in $state/ (pid $daemon_pid), its log: $run/riklet.log"

say "The scheduler places examples/workloads/hello.json (with the local image) as 'hello'"
order create "$run/workloads/hello.json" hello
wait_for 60 "hello to be Running" running hello
show ps

say "Its log"
wait_for 10 "hello to print three lines" has_logged hello 3
show logs --tail 3 hello

say "Its metrics, and the node's, as the scheduler has them"
metrics='.event == "instance" and .instance == "hello" and (.metrics.containers | length > 0)'
wait_for 20 "metrics of hello" has_received "$metrics"
received "$metrics" | tail -n 1 | jq -r '.metrics.containers[] |
    "\(.name): cpu \(.cpu.usage_ns / 1e6 | round) ms so far, memory \(.memory.usage / 1024 | round) KiB, \(.pids) processes"'
received '.event == "node"' | tail -n 1 | jq -r '.metrics |
    "the node: cpu \(.cpu.free | round) % of \(.cpu.total) cores free, memory \(.memory.free / 1048576 | round) of \(.memory.total / 1048576 | round) MiB free\(.disks[] | ", \(.disk_name) \(.free / 1073741824 | round) of \(.total / 1073741824 | round) GiB free")"'

cat <<END

It runs. In another shell of this directory:

  alias riklet="$bin/riklet"; export RIKLET_SOCKET=$socket RIKLET_STATE_DIR=$state
  riklet ps | describe hello | logs -f hello | explain hello | status | events -f
  echo create $run/workloads/web.json web > $run/scheduler.in    the scheduler places another
  echo destroy hello > $run/scheduler.in                        and takes one away
  riklet apply -f $run/workloads/web-probes.yaml                so can you, without it
  cp $run/workloads/static.yaml $run/manifests/                 and so does a file that is there
  kill -9 \$(cut -d' ' -f1 $run/riklet.pid)                     riklet dies; hello doesn't

Ctrl-C stops the daemon and the scheduler.
END

# Is make still there, and has it not been told to end? A SIGINT to make alone (not to the
# terminal's whole group) reaches no recipe: make takes its handler for it down (bit 2 of the
# caught signals) and waits for this script.
parent_catches_int() {
    local caught
    caught=$(awk '/^SigCgt:/ { print $2 }' "/proc/$PPID/status" 2>/dev/null)
    [ $((16#${caught: -8} & 2)) != 0 ]
}
wanted() { [ -d "/proc/$PPID" ] && { [ "$caught_int" = no ] || parent_catches_int; }; }
caught_int=no
if [ "$(cat "/proc/$PPID/comm")" = make ] && parent_catches_int; then caught_int=yes; fi

# Until Ctrl-C, or until the daemon ends by itself.
while alive "$daemon_pid"; do
    wanted || exit 0
    sleep 0.3
done
daemon_pid=''
printf '\nThe daemon has ended; make run again adopts what it ran.\n'
if [ -s "$run/riklet.log" ]; then
    echo "Its last words, from $run/riklet.log:"
    tail -n 5 "$run/riklet.log"
fi
