# What CI checks, one recipe a check.

default: check

# Everything that .ci/run runs.
check: test fmt clippy doc deny bench-compile

# What is shipped: with every kind of sink, consumer and object storage.
release:
    cargo build --release --locked --all-features

test:
    cargo test --workspace --all-features

fmt:
    cargo fmt --all --check

clippy:
    cargo clippy --workspace --all-targets --all-features -- -D warnings
    cargo clippy --workspace --all-targets -- -D warnings

doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --all-features --no-deps

# Advisories need their database from the network: `just advisories` where it can be had.
deny:
    cargo deny --all-features check licenses bans sources

advisories:
    cargo deny --all-features check advisories

bench-compile:
    cargo bench --all-features --no-run --profile dev

# Quality of `dedupe` without flags on every set below a folder (<set>/*.csv and truth.csv).
quality DATA OUT="benches/runs":
    bash benches/quality.sh {{DATA}} {{OUT}}

load RECORDS="100000":
    cargo bench --bench load -- --records {{RECORDS}}
