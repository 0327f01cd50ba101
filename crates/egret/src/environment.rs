//! Names that kube-vip's manifests set in the environment of its containers: who moves over can leave them as they are.

use anyhow::{Context, Result};
use ipnet::IpNet;

/// Lists of networks inside the cluster.
const NETWORKS: [&str; 2] = ["egress_podcidr", "egress_servicecidr"];

/// The networks inside the cluster that the environment names, all of them. `egress_withnftables` chooses there between
/// two ways to do the same; here there is one, and every value of it is fine.
///
/// # Errors
/// An entry that is no network, with the name of its variable.
pub fn inside(variable: impl Fn(&str) -> Option<String>) -> Result<Vec<IpNet>> {
    let mut networks = Vec::new();
    for name in NETWORKS {
        let text = variable(name).unwrap_or_default();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let network: IpNet = entry.parse().with_context(|| {
                format!(
                    "environment {name}: {entry:?} is no network; write 10.96.0.0/12, several with commas"
                )
            })?;
            networks.push(network.trunc());
        }
    }
    Ok(networks)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// K7, K8: the names are kept, lists are lists, every entry counts, and a slip is told.
    #[test]
    fn kube_vips_names_in_the_environment_are_read() {
        let environment = |pods: &str, services: &str| {
            let (pods, services) = (pods.to_owned(), services.to_owned());
            move |name: &str| match name {
                "egress_podcidr" => Some(pods.clone()),
                "egress_servicecidr" => Some(services.clone()),
                "egress_withnftables" => Some("false".to_owned()),
                _ => None,
            }
        };
        let read = inside(environment("10.0.0.0/16, fd00:1::/56", "10.96.0.7/12")).unwrap();
        let texts: Vec<String> = read.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["10.0.0.0/16", "fd00:1::/56", "10.96.0.0/12"]);
        assert!(inside(|_| None).unwrap().is_empty());
        let error = inside(environment("10.0.0.0/16,x", "")).unwrap_err().to_string();
        assert!(error.contains("egress_podcidr") && error.contains("\"x\""), "{error}");
    }
}
