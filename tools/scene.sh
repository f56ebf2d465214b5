# shellcheck shell=bash
# What run.sh and demo.sh share: starting and ending a scheduler and a daemon, and waiting.
# Sourced with these set: scene (for messages), state, run (directories), bin (the built
# programs' directory). File descriptor 8 is the scene's lock; no child gets it.
#
# Must never happen here: a wait without a bound, or a signal to a process not started here.
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
# shellcheck source=tools/processes.sh
. tools/processes.sh
socket=$run/riklet.sock
# A setting of the caller's shell would point the clients elsewhere; and riklet takes an unknown
# RIKLET_ variable for a misspelt setting.
unset "${!RIKLET_@}"
scheduler_pid='' daemon_pid=''

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
fail() {
    printf '\n%s: %s\n' "$scene" "$1" >&2
    [ $# = 1 ] || printf '  %s\n' "${@:2}" >&2
    for log in "$run/riklet.log" "$run/scheduler.log"; do
        [ -n "$scheduler_pid" ] && [ -s "$log" ] || continue
        printf '  the end of %s:\n' "$log" >&2
        tail -n 15 "$log" | sed 's/^/    /' >&2
    done
    exit 1
}

# one_at_a_time FILE: holds the scene's lock until this script ends, however it ends.
one_at_a_time() {
    mkdir -p "$(dirname "$1")"
    exec 8>"$1"
    flock -n 8 || fail "another make $scene runs in this checkout." "end that one first"
}

# The example workloads with the local image in the place of the registry's, and their directory.
render_workloads() {
    local image file
    image=oci:$(realpath "$run")/image:latest
    mkdir -p "$run/workloads"
    for file in examples/workloads/*.{json,yaml}; do
        sed "s|busybox:1.36|$image|" "$file" >"$run/workloads/${file##*/}"
    done
}

# A client command of riklet against this scene's daemon.
rk() { RIKLET_STATE_DIR=$state RIKLET_SOCKET=$socket "$bin/riklet" "$@" 8>&-; }

# Shows a command as a reader would type it, then runs it.
show() {
    printf '\n$ riklet %s\n' "$*"
    rk "$@"
}

# wait_for SECONDS WHAT COMMAND...: until the command succeeds.
wait_for() {
    local seconds=$1 what=$2 until
    shift 2
    until=$((SECONDS + seconds))
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$until" ] || fail "waited $seconds s in vain for: $what"
        [ -z "$daemon_pid" ] || alive "$daemon_pid" || fail "the daemon ended while waiting for: $what"
        sleep 0.1
    done
}

# Has an instance's log at least so many lines?
has_logged() { [ "$(rk logs "$1" | wc -l)" -ge "$2" ]; }

# What `ps` says of an instance: field INSTANCE JQ_PATH.
field() { rk ps -o json | jq -r --arg id "$1" ".[] | select(.instance == \$id) | $2"; }
is() { [ "$(field "$1" "$2")" = "$3" ]; }
running() { is "$1" .state Running; }
absent() { [ "$(rk ps -o json | jq -r --arg id "$1" '[.[] | select(.instance == $id)] | length')" = 0 ]; }

port_answers() { (: <"/dev/tcp/127.0.0.1/$1"); }
free_port() {
    local port=$1
    while port_answers "$port" 2>/dev/null; do port=$((port + 1)); done
    printf '%s' "$port"
}

# The example scheduler; its commands go into $run/scheduler.in, all that it receives and sends
# is in $run/record.jsonl.
start_scheduler() {
    port=$(free_port 4995)
    rm -f "$run/scheduler.in"
    mkfifo "$run/scheduler.in"
    # Held open both ways, so that the scheduler never sees the end of its input.
    exec 7<>"$run/scheduler.in"
    # A session of its own: Ctrl-C is for this script, which ends things in order.
    setsid "$bin/examples/scheduler" --listen "127.0.0.1:$port" --record "$run/record.jsonl" \
        <&7 >"$run/scheduler.log" 2>&1 7>&- 8>&- &
    scheduler_pid=$!
    # Without a job bash has nothing to say about its end.
    disown
    record_process "$run/scheduler.pid" "$scheduler_pid"
    wait_for 10 "the scheduler to listen on port $port" port_answers "$port"
}
order() { printf '%s\n' "$*" >&7; }
# received JQ_CONDITION: what the scheduler has received so far, one JSON object a line.
received() { jq -c "select($1)" "$run/record.jsonl"; }
has_received() { [ -n "$(received "$1")" ]; }

start_daemon() {
    mkdir -p "$run/manifests"
    setsid "$bin/riklet" run --config tools/run.toml --node-name node-1 \
        --scheduler "http://127.0.0.1:$port" --state-dir "$state" --run-dir "$run" \
        --socket "$socket" --manifests-dir "$run/manifests" \
        >>"$run/riklet.log" 2>&1 </dev/null 7>&- 8>&- &
    daemon_pid=$!
    disown
    record_process "$run/riklet.pid" "$daemon_pid"
    wait_for 20 "the daemon to answer on $socket" rk status
}

end_daemon() {
    end_process "$daemon_pid" "${1:-TERM}"
    daemon_pid=''
    rm -f "$run/riklet.pid"
}
end_scheduler() {
    end_process "$scheduler_pid"
    scheduler_pid=''
    rm -f "$run/scheduler.pid"
}
# What a killed make run or make demo left alive.
end_leftovers() {
    end_recorded "$run/riklet.pid"
    end_recorded "$run/scheduler.pid"
}
