#!/usr/bin/env bash
# Writes docs/reliability.md from the rows that the runs wrote (docs/reliability/*.json).
set -euo pipefail
cd "$(dirname "$0")/.."
{
    cat <<'PAGE'
# Reliability: what is promised, how it was attacked, what was counted

Written by `tools/reliability.sh` from what runs have counted (`docs/reliability/*.json`, a file a
proof), never by hand. `make prove` runs the long form of each; the same tests run in `make test`
with smaller counts, and a row says which of the two it is of. A proof with a violation fails both.

| promise | method | counted | violations | form | test |
|---|---|---|---|---|---|
PAGE
    for row in docs/reliability/*.json; do
        jq -r '"| \(.promise) | \(.method) | \(.counts | to_entries | map("\(.key): \(.value)") | join("<br>")) | \(.violations) | \(.form) | `\(.test)` |"' "$row"
    done
} >docs/reliability.md.new
mv docs/reliability.md.new docs/reliability.md
echo "docs/reliability.md: $(ls docs/reliability/*.json | wc -l) proofs"
