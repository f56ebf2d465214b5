# shellcheck shell=bash
# Which process is ours, and its end. Sourced by what starts or ends a scheduler and a daemon.
#
# Must never happen here: a signal to a process that was not started by these scripts. A pid alone
# proves nothing, for it may belong to somebody else by now; so its start time is kept beside it.

alive() { [ -d "/proc/$1" ] && ! grep -qs '^State:\sZ' "/proc/$1/status"; }
not_alive() { ! alive "$1"; }

# Field 22 of /proc/PID/stat; the name in field 2 may hold anything, so count from its end.
start_time() { awk '{ sub(/.*\) /, ""); print $20 }' "/proc/$1/stat" 2>/dev/null || true; }

# record_process FILE PID
record_process() { printf '%s %s\n' "$2" "$(start_time "$2")" >"$1"; }

# end_process PID [SIGNAL]: and waits for its end, at most 15 s, then SIGKILL.
end_process() {
    local pid=$1 until=$((SECONDS + 15))
    [ -n "$pid" ] || return 0
    kill "-${2:-TERM}" "$pid" 2>/dev/null || return 0
    while alive "$pid"; do
        [ "$SECONDS" -lt "$until" ] || { kill -KILL "$pid" 2>/dev/null; break; }
        sleep 0.05
    done
}

# end_recorded FILE: the process that the file records, if it still is that one.
end_recorded() {
    local pid started
    [ -s "$1" ] || return 0
    read -r pid started <"$1"
    if [ -n "$started" ] && [ "$(start_time "$pid")" = "$started" ]; then end_process "$pid"; fi
    rm -f "$1"
}
