# One line per habit. Anything longer lives in `xtask`.
set shell := ["bash", "-euo", "pipefail", "-c"]

# List the recipes.
default:
    @just --list --unsorted

# What must pass before a commit.
check: fmt-check lint test

# Everything the pipeline runs.
ci:
    .ci/run

fmt:
    cargo fmt --all

fmt-check:
    cargo fmt --all --check

lint:
    cargo clippy --workspace --all-targets --locked -- -D warnings

# House rules no lint knows: layers, file sizes, dead files, links, words.
tidy:
    cargo xtask tidy

# Every test of a plain clone. Narrower: cargo test -p iako-traffic outlier
test:
    cargo xtask test

# Accept changed expectations, then read the diff.
golden:
    UPDATE_EXPECT=1 cargo test --workspace --locked
    git diff --stat

# The pages under docs/ that are made from tables in the code.
gen:
    cargo xtask gen

gen-check:
    cargo xtask gen --check

doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

deny:
    cargo deny check

# Ten minutes of one target; see fuzz/README.md. Needs cargo-fuzz and a nightly compiler.
fuzz target:
    cd fuzz && cargo +nightly fuzz run {{target}} -- -max_total_time=600

# A whole mesh on this machine.
demo:
    cargo run --release -- demo
