#!/usr/bin/env bash
# Can this machine run containers? Lists everything that is missing, each with its mend, and
# fails; with RIKLET_ALLOW_SKIP=1 it prints the list as a SKIPPED table and succeeds, and the
# tests that need what is missing skip themselves.
# Leaves nothing behind: every try is made in a mount namespace or removed again.
set -uo pipefail
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

missing=()   # "what | why it is needed | mend"
lacks() { missing+=("$1|$2|$3"); }

check_root() {
    [ "$(id -u)" = 0 ] && return 0
    lacks "root" "namespaces, mounts and cgroups of containers take it" \
        "sudo -E env \"PATH=\$PATH\" make ${MAKE_GOAL:-test}"
    return 1
}

check_namespaces() {
    local flag name
    for pair in m:mount p:pid n:network i:ipc u:uts C:cgroup; do
        flag=${pair%%:*} name=${pair##*:}
        unshare "-$flag" --fork true 2>/dev/null || lacks "$name namespaces" \
            "unshare -$flag failed: the kernel or an outer container forbids it" \
            "in docker or podman: run the outer container with --privileged"
    done
    # What is mounted here has to be seen by the next daemon: see docs/operations.md.
    if [ -r /proc/1/ns/mnt ] &&
        [ "$(readlink /proc/self/ns/mnt)" != "$(readlink /proc/1/ns/mnt)" ]; then
        lacks "the machine's mount namespace" \
            "this shell lies in a private one, so the next daemon would not see its mounts" \
            "start from an ordinary login shell, not from under unshare or a PrivateMounts unit"
    fi
}

check_overlayfs() {
    local dir
    dir=$(mktemp -d "${TMPDIR:-/tmp}/riklet-test-$$-preflight-XXXXXX") || return
    # On a tmpfs, for /tmp itself may lie on an overlay, which overlay can't lie on.
    # shellcheck disable=SC2016
    unshare -m sh -c '
        mount --make-rprivate / && mount -t tmpfs none "$1" && cd "$1" &&
        mkdir lower upper work merged &&
        mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work merged
    ' sh "$dir" 2>/dev/null || lacks "overlayfs" "containers' root filesystems lie on it" \
        "modprobe overlay"
    rmdir "$dir"
}

check_cgroups() {
    local mount writable=0 name="riklet-preflight-$$"
    while read -r mount; do
        if mkdir "$mount/$name" 2>/dev/null; then
            writable=1
            rmdir "$mount/$name"
        fi
    done < <(awk '$3 == "cgroup" || $3 == "cgroup2" { print $2 }' /proc/self/mounts)
    [ "$writable" = 1 ] || lacks "writable cgroups" "each container and each call gets one" \
        "in docker or podman: --privileged --cgroupns=host"
}

check_programs() {
    local program
    for program in runc conmon skopeo umoci; do
        command -v "$program" >/dev/null || lacks "$program" "riklet drives it" "make setup"
    done
}

check_programs
if check_root; then
    check_namespaces
    check_overlayfs
    check_cgroups
fi

print_missing() {
    local line what why mend
    for line in "${missing[@]}"; do
        IFS='|' read -r what why mend <<<"$line"
        printf '  %-22s %s\n  %-22s mend: %s\n' "$what" "$why" "" "$mend"
    done
}

[ "${#missing[@]}" -gt 0 ] || exit 0
if [ "${RIKLET_ALLOW_SKIP:-}" = 1 ]; then
    printf '\nSKIPPED (RIKLET_ALLOW_SKIP=1), with every test that needs one of these:\n'
    print_missing
    exit 0
fi
{
    printf '\npreflight: this machine can not run containers as it is. Missing:\n'
    print_missing
    printf '\nRIKLET_ALLOW_SKIP=1 make test runs what can run without it.\n'
} >&2
exit 1
