#!/usr/bin/env bash
# Removes everything that the node of one state dir left on this machine: processes, cgroups,
# mounts, network namespaces and bridge, rules of the firewall, the runtime's state. The files of the state dir itself stay.
# Usage: tools/teardown.sh STATE_DIR RUN_DIR
#
# Goes by evidence only. The node uid is read from the journal's segment headers and from the run
# dir's owner, the uids from journal and pods/: no name is guessed, and a cgroup or namespace of another node is not touched.
# Idempotent. Refuses while a daemon holds the state dir.
set -uo pipefail
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

state=$(realpath -m "${1:?usage: tools/teardown.sh STATE_DIR RUN_DIR}")
run=$(realpath -m "${2:?usage: tools/teardown.sh STATE_DIR RUN_DIR}")
failed=0
complain() {
    printf 'teardown: %s\n' "$*" >&2
    failed=1
}

# A killed daemon holds its locks until the last of its threads is gone, and until a child that it
# was just making has become another program: a holder that no longer lives is waited for.
dead() {
    local state
    state=$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null)
    [ -z "$state" ] || [ "$state" = Z ] || [ "$state" = X ]
}
for lock in "$state/lock" "$run/lock"; do
    [ -e "$lock" ] || continue
    until flock -n "$lock" true; do
        holder=$(head -c 80 "$lock")
        if ! dead "$holder" || ((SECONDS >= 10)); then
            printf 'teardown: a daemon holds %s (%s); stop it first\n' "$lock" "$holder" >&2
            exit 1
        fi
        sleep 0.05
    done
done

# Drawn names are 10 digits of Crockford's base32 (src/model/ids.rs).
drawn='[0-9a-hjkmnp-tv-z]\{10\}'
nodes() {
    {
        cat "$state"/journal/* 2>/dev/null | grep -a '"kind":"segment_header"' |
            grep -ao "\"node\":\"$drawn\"" | cut -d'"' -f4
        grep -x "$drawn" "$run/owner" 2>/dev/null
    } | sort -u
}
uids() {
    {
        cat "$state"/journal/* 2>/dev/null | grep -ao "\"uid\":\"$drawn\"" | cut -d'"' -f4
        find "$state/pods" -mindepth 1 -maxdepth 1 -type d -printf '%f\n' 2>/dev/null |
            grep -x "$drawn"
    } | sort -u
}

# Ends every process below some cgroups (one group's directories in each hierarchy) and removes
# them. All hierarchies are looked at in each round: a process that one of them has frozen dies
# only once that one thaws it.
end_cgroups() {
    local top pid procs tries left
    for tries in $(seq 100); do
        procs=$(
            for top in "$@"; do
                [ -d "$top" ] || continue
                [ ! -e "$top/cgroup.kill" ] || echo 1 >"$top/cgroup.kill"
                find "$top" -name freezer.state -exec sh -c 'echo THAWED >"$1"' sh {} \;
                find "$top" -name cgroup.freeze -exec sh -c 'echo 0 >"$1"' sh {} \;
                find "$top" -name cgroup.procs -exec cat {} +
            done 2>/dev/null | sort -u
        )
        for pid in $procs; do
            [ "$pid" -le 1 ] || kill -KILL "$pid" 2>/dev/null
        done
        left=''
        for top in "$@"; do
            [ -d "$top" ] || continue
            find "$top" -depth -type d -exec rmdir {} \; 2>/dev/null
            [ ! -d "$top" ] || left=$top
        done
        [ -n "$left" ] || return
        [ "$tries" = 100 ] || sleep 0.05
    done
    complain "$left does not go away; its processes: ${procs//$'\n'/ }"
}

for node in $(nodes); do
    tops=()
    while read -r mount; do
        tops+=("$mount/riklet-$node")
    done < <(awk '$3 == "cgroup" || $3 == "cgroup2" { print $2 }' /proc/self/mounts)
    end_cgroups "${tops[@]}"
done

# The deepest first; octal escapes of mountinfo are undone by printf.
while read -r mount; do
    mount=$(printf '%b' "$mount")
    umount -l "$mount" 2>/dev/null || complain "can't unmount $mount"
done < <(awk -v a="$state/" -v b="$run/" \
    'index($5, a) == 1 || index($5, b) == 1 { print $5 }' /proc/self/mountinfo | sort -r)

for uid in $(uids); do
    netns=/run/netns/rk-$uid
    [ -e "$netns" ] || continue
    umount -l "$netns" 2>/dev/null
    rm -f "$netns" || complain "can't remove $netns"
done

# The node's own network: its rules and its bridge.
for node in $(nodes); do
    [ -e "$state/network" ] || [ -e "/sys/class/net/rk-$node" ] || continue
    "$(dirname "$0")/rules.sh" "riklet-$node" || complain "can't remove the rules of riklet-$node"
    [ ! -e "/sys/class/net/rk-$node" ] || ip link delete "rk-$node" ||
        complain "can't remove the bridge rk-$node"
done

# The runtime's and the monitors' state; nothing of it is worth keeping without its processes.
rm -rf "$run/runc" "$run/p" "$run/ns" "$run/roots" "$run/cni"
exit $failed
