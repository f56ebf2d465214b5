#!/usr/bin/env bash
# `make test`: every stage in order, the first that fails ends it, and how long each took.
set -euo pipefail
cd "$(dirname "$0")/.."
read -ra features <<<"${FEATURES:---features testing}"
STAGES=$(mktemp "${TMPDIR:-/tmp}/riklet-test-$$-stages-XXXXXX")
export STAGES
# Whatever any test makes lies in here: so what it left can be told from what others have made,
# and tools/sweep.sh finds it if this is killed.
ground=$(mktemp -d "${TMPDIR:-/tmp}/riklet-test-$$-XXXX")
# The root of a container with ids of its own has to get through it.
chmod 711 "$ground"
finish() {
    local code=$?
    printf '\nmake test, stage by stage:\n'
    cat "$STAGES"
    rm -f "$STAGES"
    # What a failed test left is evidence by which the next sweep goes.
    rmdir "$ground" 2>/dev/null || echo "left for a look, and for make sweep: $ground"
    if [ "$code" = 0 ]; then
        printf 'make test: all passed, in %s s\n' "$SECONDS"
    else
        printf 'make test: FAILED in the last stage above, after %s s\n' "$SECONDS"
    fi
}
trap finish EXIT
trap 'exit 130' INT TERM HUP

stage() { tools/stage.sh "$@"; }
# What is built once needs no notes for the next build.
[ -z "${CI:-}" ] || export CARGO_INCREMENTAL=0
runner=${TEST_RUNNER:-nextest}
if [ "$runner" = nextest ] && ! command -v cargo-nextest >/dev/null; then
    echo "test: cargo-nextest is not installed, so cargo test runs the tests"
    runner=cargo
fi

stage set-up tools/setup.sh test
MAKE_GOAL=test stage preflight tools/preflight.sh
# Of a run that was killed; what is left by evidence only.
stage sweep tools/sweep.sh
make --no-print-directory lint doc
# Built in a stage of its own, so that the next one's time is that of the tests.
stage "build of tests" cargo test --locked "${features[@]}" --no-run
export TMPDIR=$ground
case $runner in
nextest)
    # The same profile and features, so nothing is built again.
    stage tests cargo nextest run --locked "${features[@]}" --no-tests=fail
    stage "examples in the documentation" cargo test --locked "${features[@]}" --doc
    ;;
cargo)
    stage "unit tests" cargo test --locked "${features[@]}" --no-fail-fast --lib --bins --examples
    # A program of tests after the other, and in each two tests at once: more of them only wait
    # for each other's disk and processors.
    stage "tests" cargo test --locked "${features[@]}" --no-fail-fast --test '*' -- --test-threads=2
    stage "examples in the documentation" cargo test --locked "${features[@]}" --doc
    ;;
*)
    echo "test: TEST_RUNNER is nextest or cargo, not $runner" >&2
    exit 2
    ;;
esac

# By no code of riklet's: files, mounts and processes of the tests.
nothing_is_left() {
    local left
    left=$(
        find "$ground" -mindepth 1 -maxdepth 2
        awk -v top="$ground/" 'index($5, top) == 1 { print "mount " $5 }' /proc/self/mountinfo
        { grep -laF -- "$ground/" /proc/[0-9]*/cmdline 2>/dev/null || true; } | cut -d/ -f3 |
            while read -r pid; do ps -o pid=,args= -p "$pid" || true; done
    )
    [ -z "$left" ] || { printf 'the tests left:\n%s\n' "$left"; return 1; }
    echo "the tests left no file, no mount and no process"
}
export -f nothing_is_left
export ground
stage "nothing is left" bash -c nothing_is_left
