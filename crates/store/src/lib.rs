//! The seam to where objects come from: a directory of manifests
