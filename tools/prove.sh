#!/usr/bin/env bash
# `make prove`: the long form of every proof, and docs/reliability.md from what the runs counted.
# Usage: tools/prove.sh [FILTER]   (a nextest filter; a part run updates only the rows it ran)
set -euo pipefail
cd "$(dirname "$0")/.."
tools/setup.sh test
tools/preflight.sh
rows=docs/reliability
mkdir -p "$rows"
ground=$(mktemp -d "${TMPDIR:-/tmp}/riklet-test-$$-XXXX")
trap 'rmdir "$ground" 2>/dev/null || echo "left for a look, and for make sweep: $ground"' EXIT
filter=${1:-'binary(simulation) | binary(storm) | binary(churn) | binary(flatness) | binary(adoption) | binary(reboot) | binary(power) | binary(damage) | binary(disks) | binary(scenarios) | binary(pods) | binary(recovery) | (binary(images) & test(/^s2/))'}
code=0
RIKLET_PROVE=1 RIKLET_PROOFS=$PWD/$rows TMPDIR=$ground \
    cargo nextest run --locked --features testing --profile prove -E "$filter" || code=$?
# A part run says nothing of them.
[ $# -gt 0 ] || RIKLET_PROOFS=$PWD/$rows tools/mutants.sh || code=$?
tools/reliability.sh
exit "$code"
