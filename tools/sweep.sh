#!/usr/bin/env bash
# Removes what killed test runs left on this machine, by evidence: whatever a test makes hangs on
# a directory /tmp/riklet-test-<pid>-<random>, and <pid> is the test process that made it. The
# directory is swept only if that process is gone (a live process that began after the directory
# was made is somebody else with a reused pid). A test that makes things of "others" calls them by
# its pid: namespaces rk-foreign<pid>, foreign-<pid> and rkt<pid>, interfaces fv<pid>, vrkt<pid>
# and rkt<pid>, chains CNI-foreign<pid>, rules with the comment foreign-<pid>, and what CNI made for
# the network rkt<pid>, all in the nat table. What bears no such mark is never touched: other cgroups /riklet-* and namespaces rk-* are
# listed under --list, no more.
# Usage: tools/sweep.sh [--list]
set -uo pipefail
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
cd "$(dirname "$0")/.."
base=${TMPDIR:-/tmp}
list=0
[ "${1:-}" = --list ] && list=1

# Does the process that made the directory still live?
maker_lives() {
    local dir=$1 pid=$2 ticks boot began made
    [ -d "/proc/$pid" ] || return 1
    ticks=$(awk '{ sub(/.*\) /, ""); print $20 }' "/proc/$pid/stat" 2>/dev/null) || return 1
    boot=$(awk '/^btime/ { print $2 }' /proc/stat)
    began=$((boot + ticks / $(getconf CLK_TCK)))
    made=$(stat -c %W "$dir")
    [ "$made" -gt 0 ] || made=$(stat -c %Z "$dir")
    # Two seconds of slack: btime is rounded.
    [ "$began" -le $((made + 2)) ]
}

# Ends the processes that name the directory in their arguments, or stand in it: daemons,
# monitors, registries, schedulers of that test. (Processes of containers go by their cgroups.)
end_processes() {
    local dir=$1 pid
    {
        grep -laF -- "$dir/" /proc/[0-9]*/cmdline
        find /proc/[0-9]*/cwd -maxdepth 0 \( -lname "$dir" -o -lname "$dir/*" \)
    } 2>/dev/null | cut -d/ -f3 | sort -u | while read -r pid; do
        # (grep itself is among them, and has ended by now.)
        kill -KILL "$pid" 2>/dev/null && printf 'sweep: ended process %s\n' "$pid"
    done
}

sweep_dir() {
    local dir=$1 journal state run
    # A test may have died while it kept a disk still; whoever writes to it can't even be killed.
    awk -v a="$dir/" 'index($5, a) == 1 && / - ext4 / { print $5 }' /proc/self/mountinfo |
        while read -r mount; do fsfreeze --unfreeze "$(printf '%b' "$mount")" 2>/dev/null; done
    end_processes "$dir"
    # A journal that a test made unwritable.
    find "$dir" -maxdepth 4 -type d -name journal -exec chattr -f -R -i {} + 2>/dev/null || true
    # Every state dir in it has a journal/ or pods/; the run dir is looked for beside it.
    while read -r state; do
        for run in "$state/run" "$(dirname "$state")"/{run,.run} "$dir/run" "$state"; do
            [ -d "$run" ] && tools/teardown.sh "$state" "$run"
        done
    done < <(find "$dir" -maxdepth 4 -type d \( -name journal -o -name pods \) \
        -printf '%h\n' 2>/dev/null | sort -u)
    awk -v a="$dir/" 'index($5, a) == 1 { print $5 }' /proc/self/mountinfo | sort -r |
        while read -r mount; do umount -l "$(printf '%b' "$mount")"; done
    # A loop device goes with its mount; this is one that was never mounted, or is by others.
    losetup --list --noheadings --raw --output NAME,BACK-FILE 2>/dev/null |
        awk -v a="$dir/" 'index($2, a) == 1 { print $1 }' |
        while read -r device; do losetup -d "$device" 2>/dev/null; done
    rm -rf --one-file-system "$dir" && printf 'sweep: removed %s\n' "$dir"
}

# make test makes all temporary directories below one of its own: it may have been killed, while
# a test that it began still runs.
inner_lives() {
    local inner
    for inner in "$1"/riklet-test-*; do
        if maker_lives "$inner" "$(maker_of "$inner")"; then return 0; fi
    done
    return 1
}
maker_of() { sed -E 's|.*/riklet-test-([0-9]+)-.*|\1|' <<<"$1/"; }

shopt -s nullglob
for dir in "$base"/riklet-test-*; do
    pid=$(maker_of "$dir")
    case $pid in '' | *[!0-9]*) continue ;; esac
    [ -O "$dir" ] || continue
    if maker_lives "$dir" "$pid" || inner_lives "$dir"; then
        [ "$list" = 0 ] || printf 'live (process %s): %s\n' "$pid" "$dir"
    elif [ "$list" = 1 ]; then
        printf 'to sweep: %s\n' "$dir"
    else
        sweep_dir "$dir"
    fi
done

# take WHAT COMMAND…: takes one thing away, or lists it.
take() {
    local what=$1
    shift
    if [ "$list" = 1 ]; then
        printf 'to sweep: %s\n' "$what"
    elif "$@"; then
        printf 'sweep: removed %s\n' "$what"
    fi
}
without_netns() { umount -l "$1" 2>/dev/null; rm -f "$1"; }
without_chain() { iptables -w -t nat -F "$1" && iptables -w -t nat -X "$1"; }
without_rule() { printf '*nat\n-D %s\nCOMMIT\n' "$1" | iptables-restore --noflush -w 5; }
made_by_the_dead() { [ -n "$1" ] && [ ! -d "/proc/$1" ]; }

for netns in /run/netns/{rk-foreign,foreign-,rkt}*; do
    pid=$(sed -nE 's#.*/(rk-foreign|foreign-|rkt)([0-9]+)$#\2#p' <<<"$netns")
    [ -n "$pid" ] && ! maker_lives "$netns" "$pid" && take "$netns" without_netns "$netns"
done
# Most go with their namespace, but only once the kernel gets to it.
for link in /sys/class/net/{fv,vrkt,rkt}*; do
    link=${link##*/}
    pid=$(sed -nE 's#^(fv|vrkt|rkt)([0-9]+)$#\2#p' <<<"$link")
    made_by_the_dead "$pid" && take "interface $link" ip link delete "$link" 2>/dev/null
done
if command -v iptables-save >/dev/null; then
    table=$(iptables-save -t nat 2>/dev/null | grep -E '^:CNI-foreign[0-9]+ |--comment foreign-[0-9]+ ')
    while read -r line; do
        case $line in
        :*)
            chain=${line%% *}
            chain=${chain#:}
            made_by_the_dead "${chain#CNI-foreign}" && take "chain $chain" without_chain "$chain"
            ;;
        '-A '*)
            pid=$(sed -nE 's#.*--comment foreign-([0-9]+) .*#\1#p' <<<"$line")
            made_by_the_dead "$pid" && take "rule ${line#-A }" without_rule "${line#-A }"
            ;;
        esac
    done <<<"$table"
    for network in $(iptables-save -t nat 2>/dev/null | grep -oE 'name: \\"rkt[0-9]+\\"' | grep -oE 'rkt[0-9]+' | sort -u); do
        made_by_the_dead "${network#rkt}" && take "rules of $network" tools/rules.sh "$network"
    done
fi
if [ "$list" = 1 ]; then
    find /sys/fs/cgroup -maxdepth 2 -type d -name 'riklet-*' -printf 'not ours to judge: %p\n' 2>/dev/null
    find /run/netns -maxdepth 1 -name 'rk-*' -printf 'not ours to judge: %p\n' 2>/dev/null
fi
exit 0
