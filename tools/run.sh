#!/usr/bin/env bash
# `make run`: an example scheduler and the daemon on this checkout, with a workload to look at.
# Everything lies in state/ (what riklet keeps) and .run/ (what a reboot may take).
set -euo pipefail
cd "$(dirname "$0")/.."
MAKE_GOAL=run tools/preflight.sh

scene=run state=state run=.run bin=${CARGO_TARGET_DIR:-target}/debug
mkdir -p "$state" "$run"
# shellcheck source=tools/scene.sh
. tools/scene.sh
if rk status >/dev/null 2>&1; then
    fail "a daemon already runs here." "Ctrl-C it where make run was started, or: make clean-run"
fi
tools/make-image.sh "$run/image"
render_workloads
: >"$run/riklet.log"

leave() {
    trap - EXIT INT TERM
    end_daemon
    end_scheduler
    cat <<END

Stopped the daemon and the scheduler. The containers live on: SIGTERM to a node agent is for
upgrades. Now, with the daemon dead:

  $bin/riklet state log --state-dir $state      what happened, line by line
  $bin/riklet explain hello --state-dir $state  why hello is as it is
  less $state/README.md                          what each file is
  make run                                       the containers are adopted, same pids
  make clean-run                                 ends them and forgets everything
END
}
trap leave EXIT
trap 'exit 0' INT TERM

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

say "Its metrics, and the node's"
show top

cat <<END

It runs. In another shell:

  alias riklet="$bin/riklet"; export RIKLET_SOCKET=$socket RIKLET_STATE_DIR=$state
  riklet ps | describe hello | logs -f hello | exec hello -- ps | status | events -f
  echo create $run/workloads/web.json web > $run/scheduler.in      the scheduler places another
  cp $run/workloads/once.json $run/manifests/                    a file is a source too
  echo destroy hello > $run/scheduler.in                          and takes one away
  kill -9 $daemon_pid                                               riklet dies; hello doesn't

Ctrl-C stops the daemon and the scheduler.
END

# Until Ctrl-C, or until the daemon ends by itself.
while alive "$daemon_pid"; do wait "$daemon_pid" || true; done
if [ -e "$run/riklet.pid" ]; then
    daemon_pid=''
    echo
    echo "The daemon has ended. Its last words, from $run/riklet.log:"
    tail -n 5 "$run/riklet.log"
fi
