# make demo   the main job on real packets: a cluster in network namespaces, a gateway killed, connections counted
# make test   formatter, lints, unit, golden, property, kernel vector and lab tests
# make bench  ratios against plain routing and against the rule sets of other systems
# All need root and Debian; each installs what it lacks.

export CARGO_TERM_COLOR ?= auto

.PHONY: demo test bench lint crds tools

demo: tools
	cargo build --locked --bin egret
	target/debug/egret lab --name demo demo

test: tools lint
	cargo test --locked --workspace

lint: tools
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings

bench: tools
	cargo build --locked --release --bin egret --bin egret-bench
	target/release/egret-bench run

crds: tools
	cargo run --locked --bin egret -- crds > deploy/crds.yaml

tools:
	@scripts/tools
