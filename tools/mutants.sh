#!/usr/bin/env bash
# Breaks the code on purpose, one promise at a time, and shows that a test catches each.
# Usage: tools/mutants.sh [NAME...]     (tests/mutants/NAME.patch; all of them without a name)
#
# A patch begins with two lines of ours, then a unified diff:
#   what: the step that is left out, or done wrong
#   caught by: the arguments of `cargo test --locked --features testing`
# A mutant counts as caught only if the code still builds and that very test, which passes on the
# unbroken code in this same run, fails. Works on a copy; the checkout isn't touched.
set -uo pipefail
cd "$(dirname "$0")/.."
top=$PWD
export CARGO_TARGET_DIR=$top/target/mutants
# Always the same place, so that cargo builds little.
copy=$CARGO_TARGET_DIR/checkout
log=$CARGO_TARGET_DIR/log
mkdir -p "$CARGO_TARGET_DIR"
exec 9>"$CARGO_TARGET_DIR/lock"
flock -n 9 || { echo "mutants: another run is at work in $CARGO_TARGET_DIR" >&2; exit 1; }
rm -rf "$copy"
mkdir "$copy"
git archive HEAD | tar -x -C "$copy"
# cargo goes by times: an old one would hide a change that was taken back.
find "$copy" -name '*.rs' -exec touch {} +
trap 'exit 130' INT TERM HUP

names=("$@")
[ ${#names[@]} -gt 0 ] || names=($(cd tests/mutants && ls ./*.patch | sed 's|^\./||; s|\.patch$||'))

# The copy lies within the checkout, which git must not take for what is to be changed.
apply() {
    GIT_CEILING_DIRECTORIES=$CARGO_TARGET_DIR git -C "$copy" apply "$@" || return
    local file
    for file in $(sed -n 's|^+++ b/||p' "${!#}"); do
        touch "$copy/$file"
    done
}
run() { # run ARGS...: 0 the tests pass, 1 they fail, 2 it doesn't build, or no test ran
    (
        cd "$copy" || exit 2
        local build=()
        for word in "$@"; do
            case $word in --) break ;; *) build+=("$word") ;; esac
        done
        # A filter is not for the build.
        cargo test --quiet --locked --features testing --no-run "${build[@]}" >"$log" 2>&1 || exit 2
        timeout 900 env -u RIKLET_PROOFS cargo test --locked --features testing "$@" >"$log" 2>&1 && {
            grep -q '^test result: ok\. [1-9]' "$log" || exit 2
            exit 0
        }
        grep -q '^test result: FAILED' "$log" || [ "$?" = 124 ] || exit 2
        exit 1
    )
}

declare -A sound
failed=0 caught=0
printf '%-34s %-8s %5s  %s\n' MUTANT RESULT TIME 'CAUGHT BY'
for name in "${names[@]}"; do
    patch=$top/tests/mutants/$name.patch
    test=$(sed -n 's/^caught by: //p' "$patch")
    read -ra words <<<"$test"
    began=$SECONDS
    if [ -z "${sound[$test]:-}" ]; then
        run "${words[@]}"
        sound[$test]=$?
        [ "${sound[$test]}" = 0 ] || tail -20 "$log" >&2
    fi
    result=missed
    if [ "${sound[$test]}" != 0 ]; then
        result=unsound
    elif ! apply "$patch" 2>"$log"; then
        result='no patch'
    else
        run "${words[@]}"
        case $? in
        1) result=caught ;;
        2) result='no build' && tail -20 "$log" >&2 ;;
        esac
        apply -R "$patch" || exit 1
    fi
    if [ "$result" = caught ]; then caught=$((caught + 1)); else failed=$((failed + 1)); fi
    printf '%-34s %-8s %4ss  %s\n' "$name" "$result" "$((SECONDS - began))" "$test"
done
echo "mutants: $caught caught, $failed not"
if [ -n "${RIKLET_PROOFS:-}" ] && [ $# = 0 ]; then
    printf '{"promise":"%s","method":"%s","counts":{"mutants":%d,"caught":%d},"violations":%d,"form":"long","test":"%s"}\n' \
        "Each sync, each wait and each rule of the core is held by a test" \
        "each is taken out of the code in turn, and its test has to fail" \
        "${#names[@]}" "$caught" "$failed" "tools/mutants.sh" >"$RIKLET_PROOFS/mutants.json"
fi
[ "$failed" = 0 ]
