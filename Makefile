# make demo   the main job on real packets: a cluster in network namespaces, a gateway killed, connections counted
#             make demo STORE=kubernetes: the same on a real API server, which is built first (the first time, some minutes)
#             make demo DIALECT=antrea|deckhouse|loxilb|kube-vip|all: the example of that system's documentation, as it stands
# make test   formatter, lints, unit, golden, property, kernel vector and lab tests
# make fuzz   more of the kernel's programs against their model, and more hostile frames (STEPS and FRAMES say how many)
# make sequences   100,000 random sequences of what a user of one namespace may write (make test does 10,000): nothing of others changes
# make kubernetes   the lab's Kubernetes control plane, for `egret lab up --store kubernetes`; kept in target/kubernetes
# make manifests   deploy/egret.yaml and the chart's definitions, after the chart or a resource has changed
# make image   a container image as an OCI layout in out/image
# make mutants   bugs planted in the kernel's programs: each must fail a test
# make size   what one agent needs beside 5,000 nodes and 100,000 pods in a real API server (NODES and PODS say how many)
# make bench  ratios against plain routing and against the rule sets of other systems
# All need root and Debian; each installs what it lacks.

export CARGO_TERM_COLOR ?= auto

.PHONY: demo test fuzz sequences mutants size bench lint manifests image kubernetes tools

STORE ?= directory
DIALECT ?=

demo: tools $(filter kubernetes,$(STORE))
	cargo build --locked --bin egret
	target/debug/egret lab --name demo demo --store $(STORE) $(addprefix --dialect ,$(DIALECT))

test: tools lint kubernetes
	cargo test --locked --workspace

STEPS ?= 20000000
FRAMES ?= 20000000

# Another seed each time. A failure names the seed of its world: EGRET_WORLD runs that again, and what was wrong
# becomes a case in crates/datapath/tests/model/kept.rs.
fuzz: tools
	EGRET_MODEL_STEPS=$(STEPS) EGRET_FUZZ_FRAMES=$(FRAMES) EGRET_SEED=$${EGRET_SEED:-$$(date +%s)} \
		cargo test --locked -p egret-datapath --test model -- --nocapture

sequences: tools
	EGRET_SEQUENCES=100000 EGRET_SEED=$${EGRET_SEED:-$$(date +%s)} \
		cargo test --locked -p egret-plan --test plan -- sequences_of_a_namespaces_writes --nocapture

mutants: tools
	scripts/mutants

NODES ?= 5000
PODS ?= 100000

# As it is shipped: a build for tests is larger than all it holds. It takes some minutes, most of them to make the pods.
size: tools kubernetes
	EGRET_NODES=$(NODES) EGRET_PODS=$(PODS) cargo test --locked --release -p egret --test size -- --nocapture

lint: tools
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings

bench: tools
	cargo build --locked --release --bin egret --bin egret-bench
	target/release/egret-bench run

image: tools
	@scripts/image

manifests: tools kubernetes
	cargo build --locked --bin egret
	scripts/manifests

kubernetes: tools
	@scripts/kubernetes

tools:
	@scripts/tools
