#!/usr/bin/env bash
# Installs what is missing, prints it, and says how to mend what it can't.
# Usage: tools/setup.sh run|test      (`test` also wants what only the tests use)
# Idempotent: with everything there it takes no root, no network, and changes nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

# program:package pairs. A program is looked for, not a package, so that one from elsewhere
# (a hand-built runc, say) counts.
RUN=(
    runc:runc                  # the container runtime
    conmon:conmon              # the container monitor
    skopeo:skopeo              # fetches images
    umoci:umoci                # unpacks images
    iptables:iptables          # what CNI's plugins make masquerading and host ports of
    /usr/lib/cni/bridge:containernetworking-plugins   # bridge, addresses, host ports
    ip:iproute2                # to look at network namespaces by hand
    jq:jq                      # how make demo, and you, read JSON
)
TEST=(
    docker-registry:docker-registry   # a real registry on loopback for the pull tests
    openssl:openssl                   # its certificate
    strace:strace                     # counts the daemon's syncs and forks
)

say() { printf 'setup: %s\n' "$*"; }
fail() {
    printf 'setup: %s\n' "$1" >&2
    printf '  mend: %s\n' "${@:2}" >&2
    exit 1
}

# Programs in /usr/sbin are not on every user's PATH.
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

check_rust() {
    command -v cargo >/dev/null && command -v rustc >/dev/null ||
        fail "Rust is not installed (no cargo on PATH)." \
            "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh, then open a new shell"
    local wanted have
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    have=$(rustc --version | cut -d' ' -f2)
    if [ "$(printf '%s\n%s\n' "$wanted" "${have%%-*}" | sort -V | head -n1)" != "$wanted" ]; then
        fail "Rust $have is too old: riklet needs $wanted." "rustup update stable"
    fi
    [ "$mode" = test ] || return 0
    cargo fmt --version >/dev/null 2>&1 ||
        fail "rustfmt is not installed (make test checks the format)." "rustup component add rustfmt"
    cargo clippy --version >/dev/null 2>&1 ||
        fail "clippy is not installed (make test runs it)." "rustup component add clippy"
}

busybox_is_static() {
    local busybox
    busybox=$(command -v busybox) || return 1
    # A static program names no interpreter.
    ! LC_ALL=C grep -aq '/lib[0-9a-z]*/ld-' "$busybox"
}

missing_packages() {
    local pair
    for pair in "$@"; do
        command -v "${pair%%:*}" >/dev/null || printf '%s\n' "${pair##*:}"
    done
    # gcc alone can't link: the C library's start files are in a package of their own.
    printf 'int main(void){return 0;}' | cc -x c - -o /dev/null 2>/dev/null ||
        printf '%s\n' gcc libc6-dev
    # The example image is made of it, and a container has no libraries of its own.
    busybox_is_static || printf 'busybox-static\n'
}

install_packages() {
    local packages=("$@") as_root=()
    command -v apt-get >/dev/null ||
        fail "missing: ${packages[*]}, and this is neither Debian nor Ubuntu (no apt-get)." \
            "install them with your distribution's package tool, then run make again"
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null ||
            fail "missing: ${packages[*]}, and installing them takes root." \
                "as root: apt-get install -y --no-install-recommends ${packages[*]}"
        as_root=(sudo)
    fi
    say "installing: ${packages[*]}"
    # Debian's docker-registry would come up as a service on port 5000 of every address: the
    # documented way to keep a package from starting anything is a policy-rc.d that says 101.
    local policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
        "${as_root[@]}" chmod 755 "$policy"
        # shellcheck disable=SC2064  # expanded now on purpose
        trap "${as_root[*]} rm -f $policy" EXIT
    fi
    local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq)
    "${apt[@]}" install -y --no-install-recommends "${packages[@]}" >/dev/null 2>&1 || {
        say "the package lists are old or empty: apt-get update"
        "${apt[@]}" update || fail "apt-get update failed." "look at the network, or at /etc/apt"
        "${apt[@]}" install -y --no-install-recommends "${packages[@]}" >/dev/null ||
            fail "apt-get could not install: ${packages[*]}" \
                "on Ubuntu: add-apt-repository universe, then run make again"
    }
}

mode=${1:-}
case $mode in
run) wanted=("${RUN[@]}") ;;
test) wanted=("${RUN[@]}" "${TEST[@]}") ;;
*) fail "usage: tools/setup.sh run|test" "make setup" ;;
esac

check_rust
mapfile -t packages < <(missing_packages "${wanted[@]}" | sort -u)
if [ "${#packages[@]}" -gt 0 ]; then
    install_packages "${packages[@]}"
    mapfile -t still < <(missing_packages "${wanted[@]}")
    [ "${#still[@]}" -eq 0 ] || fail "installed, and yet not found: ${still[*]}" \
        "see where apt put them: dpkg -L ${still[*]}"
    say "installed: ${packages[*]}"
else
    say "nothing to install"
fi
