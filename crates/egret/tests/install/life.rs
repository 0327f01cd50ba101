//! A cluster lets everything in, and has nothing left of it afterwards.

use serde_json::{Value, json};

use crate::chart::{objects, root};
use crate::check;
use crate::cluster::Cluster;

const POOL: &str = r#"{"apiVersion": "egret.dev/v1alpha1", "kind": "EgressPool", "metadata": {"name": "pool"},
    "spec": {"ranges": [{"cidr": "192.0.2.0/28"}]}}"#;

/// The pods of the installation, as the workloads' controllers make them.
fn pods(cluster: &Cluster) -> Value {
    cluster.until("two controllers, and an agent of each node", || {
        let text = cluster.kubectl(&["get", "pods", "-n", "egret-system", "-o", "json"]);
        let pods: Value = serde_json::from_str(&text).unwrap();
        let count = |component: &str| {
            let is = |pod: &&Value| pod["metadata"]["labels"]["app.kubernetes.io/component"] == component;
            pods["items"].as_array().unwrap().iter().filter(is).count()
        };
        match (count("controller"), count("agent")) {
            (2, 2) => Ok(pods.clone()),
            counts => Err(format!(
                "{counts:?}\n{}",
                cluster.kubectl(&["get", "events", "-n", "egret-system", "-o", "custom-columns=:.message"])
            )),
        }
    })
}

/// A pod of a workload's template, in another namespace.
fn pod_of(objects: &[Value], kind: &str, namespace: &str) -> String {
    let workload = objects.iter().find(|object| object["kind"] == kind).unwrap();
    let metadata = json!({"name": "tried", "namespace": namespace});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": workload["spec"]["template"]["spec"]})
        .to_string()
}

#[test]
fn the_one_file_is_let_in_and_nothing_is_left_when_it_is_deleted() {
    let cluster = Cluster::start("one-file");
    let before = cluster.objects();
    check::a_cluster_is_fit_once_its_nodes_have_addresses(&cluster);
    let file = root().join("deploy/egret.yaml").display().to_string();
    cluster.kubectl(&["apply", "--server-side", "-f", &file]);
    cluster.kubectl(&[
        "wait",
        "--for=condition=Established",
        "--timeout=60s",
        "crd",
        "-l",
        "app.kubernetes.io/name=egret",
    ]);
    let pods = pods(&cluster);
    for pod in pods["items"].as_array().unwrap() {
        let token =
            pod["spec"]["volumes"].as_array().unwrap().iter().any(|volume| volume.get("projected").is_some());
        assert!(token, "a pod has a token by which it is known: {pod:#}");
    }
    // As the page for users has it.
    let page = std::fs::read_to_string(root().join("docs/first-policy.md")).unwrap();
    let (_, first) = page.split_once("<<EOF\n").unwrap();
    cluster.apply(first.split_once("\nEOF").unwrap().0);
    let made = cluster.kubectl(&["get", "egresspools,egresspolicies", "-A", "-o", "name"]);
    assert_eq!(made.lines().count(), 2, "{made}");
    check::planted_faults_of_an_installation_are_found_by_name(&cluster);
    let again = cluster.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", &file]);
    assert!(again.lines().all(|line| line.ends_with("serverside-applied")), "{again}");
    cluster.kubectl(&["delete", "-f", &file, "--timeout=60s"]);
    cluster.until_only(&before);
}

#[test]
fn the_controller_is_let_in_where_pods_are_restricted_and_an_agent_where_they_are_privileged() {
    let cluster = Cluster::start("pod-security");
    let made = objects(&[]);
    for (level, kind, refused) in [
        ("restricted", "Deployment", &[][..]),
        ("baseline", "DaemonSet", &["host namespaces (hostNetwork=true)", "hostPath volumes", "NET_ADMIN"]),
        ("privileged", "DaemonSet", &[]),
    ] {
        let labels = json!({"pod-security.kubernetes.io/enforce": level});
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": level, "labels": labels}});
        cluster.apply(&namespace.to_string());
        for account in ["egret-controller", "egret-agent"] {
            let metadata = json!({"name": account, "namespace": level});
            cluster.apply(
                &json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}).to_string(),
            );
        }
        let tried =
            cluster.server.kubectl(&["create", "--dry-run=server", "-f", "-"], &pod_of(&made, kind, level));
        match (tried, refused) {
            (Ok(_), []) => {}
            (Ok(_), _) => panic!("{level} lets {kind} in: the namespace need not be privileged"),
            (Err(error), []) => panic!("{kind} in {level}: {error:#}"),
            (Err(error), words) => {
                let error = format!("{error:#}");
                assert!(words.iter().all(|word| error.contains(word)), "{kind} in {level}: {error}");
            }
        }
    }
}

#[test]
fn helm_installs_upgrades_and_uninstalls_and_definitions_stay_until_they_are_deleted() {
    let cluster = Cluster::start("helm");
    let before = cluster.objects();
    let chart = root().join("deploy/chart/egret").display().to_string();
    let release = ["egret", &chart, "--namespace", "egret-system"];
    let helm = |arguments: &[&str]| cluster.server.helm(arguments).unwrap();
    let told = helm(
        &[&["install", "--create-namespace", "--set", "dialects.antrea.crds=true"], &release[..]].concat(),
    );
    assert!(told.contains("kubectl get egressnodes"), "{told}");
    pods(&cluster);
    let crds = cluster.kubectl(&["get", "crd", "-o", "name"]);
    assert!(crds.contains("/egresses.crd.antrea.io") && !crds.contains("deckhouse"), "{crds}");
    cluster.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"]);
    cluster.apply(POOL);

    let told =
        helm(&[&["upgrade", "--reuse-values", "--set", "agent.uninstall=true"], &release[..]].concat());
    assert!(told.contains("rollout status daemonset/egret-agent"), "{told}");
    let agent = ["get", "daemonset", "egret-agent", "-n", "egret-system", "-o", "jsonpath={..args}"];
    assert!(cluster.kubectl(&agent).contains("--uninstall"));
    helm(&["uninstall", "egret", "--namespace", "egret-system", "--wait"]);
    assert_eq!(cluster.kubectl(&["get", "egresspools", "-o", "name"]).trim(), "egresspool.egret.dev/pool");

    // Installed again over what was kept, and for good.
    helm(&[&["install", "--set", "dialects.antrea.crds=true"], &release[..]].concat());
    helm(&["uninstall", "egret", "--namespace", "egret-system", "--wait"]);
    cluster.kubectl(&["delete", "crd", "-l", "app.kubernetes.io/name=egret", "--timeout=60s"]);
    cluster.kubectl(&["delete", "namespace", "egret-system", "--timeout=60s"]);
    cluster.until_only(&before);
}
