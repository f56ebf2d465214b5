#!/usr/bin/env bash
# cargo-deny where it is installed: licences, bans, sources, and the advisories where their
# database can be had.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v cargo-deny >/dev/null; then
    echo "cargo-deny: not installed, so licences and advisories are not checked" \
        "(cargo install --locked cargo-deny takes some minutes)"
    exit 0
fi
cargo deny --locked check bans licenses sources
if cargo deny --locked fetch >/dev/null 2>&1; then
    cargo deny --locked check advisories
else
    echo "cargo-deny: advisories skipped, their database can't be reached"
fi
