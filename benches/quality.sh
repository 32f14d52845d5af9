#!/usr/bin/env bash
# Quality of `veridem dedupe` with no flag but --out: every folder below DATA that holds <source>.csv files and a truth.csv.
# Usage: benches/quality.sh DATA OUT
set -euo pipefail
data=$1
out=$2
cd "$(dirname "$0")/.."
cargo build --release --quiet
run="$out/$(date +%F)-$(nproc)-cores"
mkdir -p "$run"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
table="$run/quality.md"
{
    echo "# Quality without labels"
    echo
    echo "Command: \`benches/quality.sh DATA OUT\`, veridem $(target/release/veridem --version | cut -d' ' -f2), commit $(git rev-parse --short HEAD), $(nproc) cores, $(uname -m)."
    echo "Per set: \`veridem dedupe <set>/*.csv --out OUT\`, then \`veridem evaluate\` against truth.csv."
    echo
    echo "| set | records | pairs: precision | recall | F1 | B-cubed F1 | seconds | peak memory MB |"
    echo "| --- | --- | --- | --- | --- | --- | --- | --- |"
} >"$table"
for set in "$data"/*/; do
    name=$(basename "$set")
    [ -f "$set/truth.csv" ] || continue
    files=$(find "$set" -name '*.csv' ! -name truth.csv | sort)
    # shellcheck disable=SC2086
    target/release/veridem dedupe $files --out "$work/$name" --json >"$work/$name.summary" 2>/dev/null
    target/release/veridem evaluate --clusters "$work/$name/clusters.csv" --truth "$set/truth.csv" --json >"$run/$name.evaluation.json"
    cp "$work/$name/summary.json" "$run/$name.summary.json"
    python3 - "$name" "$run" >>"$table" <<'PY'
import json, sys
name, run = sys.argv[1:]
summary = json.load(open(f"{run}/{name}.summary.json"))
found = json.load(open(f"{run}/{name}.evaluation.json"))
pairs, b_cubed = found["pairwise"], found["b_cubed"]
print(f"| {name} | {summary['records']:,} | {pairs['precision']:.4f} | {pairs['recall']:.4f} | {pairs['f1']:.4f} | {b_cubed['f1']:.4f} | {summary['seconds']['total']:.2f} | {summary['peak_rss_bytes'] / 1e6:.0f} |")
PY
done
cat "$table"
