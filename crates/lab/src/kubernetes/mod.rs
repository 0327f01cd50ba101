//! A real Kubernetes control plane: `kube`, built by `make kubernetes`.

mod program;

pub use program::program;
