//! Where objects come from, as people write it on the command line.

use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A store: a directory, or an API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A directory of manifests.
    Directory(PathBuf),
    /// A Kubernetes API server.
    Kubernetes {
        /// The kubeconfig file; absent: as pods of the cluster find the server.
        kubeconfig: Option<PathBuf>,
    },
}

/// The word for an API server.
const KUBERNETES: &str = "kubernetes";

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            KUBERNETES => Ok(Source::Kubernetes { kubeconfig: None }),
            "" => Err(format!("is empty: write `{KUBERNETES}`, or a directory")),
            // A slip of the pen must not make a directory that nobody looks into.
            _ if text.contains('/') || Path::new(text).is_dir() => Ok(Source::Directory(text.into())),
            _ => Err(format!(
                "neither `{KUBERNETES}` nor a directory that exists: write ./{text} to have a directory of that name made"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_an_api_server_or_a_directory_and_a_slip_is_neither() {
        assert_eq!("kubernetes".parse(), Ok(Source::Kubernetes { kubeconfig: None }));
        for directory in ["/a", "./kubernetes", "."] {
            assert_eq!(directory.parse(), Ok(Source::Directory(directory.into())), "{directory}");
        }
        let slip = "kubernets".parse::<Source>().unwrap_err();
        assert!(slip.contains("./kubernets"), "{slip}");
        assert!("".parse::<Source>().is_err());
    }
}
