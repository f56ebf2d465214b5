#!/bin/bash
# Fuzzes the parser of definitions with libFuzzer, on stable Rust: tools/fuzz.sh [SECONDS].
# The corpus begins with the example Pods; what is found lies in fuzz/artifacts/.
set -euo pipefail
cd "$(dirname "$0")/../fuzz"
mkdir -p corpus/definition artifacts
cp ../tests/definitions/pods/*.yaml ../examples/workloads/*.{json,yaml} corpus/definition/
# libFuzzer's coverage without cargo-fuzz's nightly flags: LLVM's own pass, asked for by name.
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Ccodegen-units=1"
cargo build --release --target "$(rustc -vV | sed -n 's/^host: //p')" --target-dir target
exec target/*/release/definition corpus/definition -artifact_prefix=artifacts/ \
    -dict=definition.dict -max_len=8192 -rss_limit_mb=512 -timeout=10 -max_total_time="${1:-60}" \
    -print_final_stats=1
