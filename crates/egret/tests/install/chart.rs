//! What helm makes of the chart.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use egret_lab::kubernetes::helm;
use serde_json::Value;

/// The project's directory.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn template(settings: &[&str]) -> Output {
    let mut command = Command::new(helm().unwrap());
    command.args(["template", "egret"]).arg(root().join("deploy/chart/egret")).args(["-n", "egret-system"]);
    for setting in settings {
        command.args(["--set-json", setting]);
    }
    command.output().unwrap()
}

/// The objects that the chart makes with these values.
pub fn objects(settings: &[&str]) -> Vec<Value> {
    let output = template(settings);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    egret_store::objects_in(&text).into_iter().map(Result::unwrap).collect()
}

#[test]
fn the_one_file_is_made_of_the_chart_and_the_definitions_of_the_program() {
    let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("manifests-{}", std::process::id()));
    drop(std::fs::remove_dir_all(&made));
    std::fs::create_dir_all(&made).unwrap();
    let run = Command::new(root().join("scripts/manifests"))
        .arg(&made)
        .env("EGRET", env!("CARGO_BIN_EXE_egret"))
        .env("HELM", helm().unwrap())
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    for file in ["egret.yaml", "chart/egret/files/crds.yaml"] {
        let [is, should] =
            [root().join("deploy"), made.clone()].map(|d| std::fs::read_to_string(d.join(file)).unwrap());
        let differs = is.lines().zip(should.lines()).position(|(is, should)| is != should);
        assert!(is == should, "deploy/{file} is out of date from line {differs:?} on: run `make manifests`");
    }
    std::fs::remove_dir_all(&made).unwrap();
}

#[test]
fn values_that_cannot_be_are_refused_by_their_names() {
    for (setting, words) in [
        (r#"agent.steering="fast""#, ["agent/steering", "one of 'auto', 'overlay', 'link'"]),
        (r#"agent.unknownPods="drop""#, ["agent/unknownPods", "'hold', 'pass'"]),
        (r"agent.maxFlows=10", ["agent/maxFlows", "minimum"]),
        (r#"agent.listen={"address":"node","port":1}"#, ["agent/listen/address", "pattern"]),
        (r"agent.listen.port=99999", ["agent/listen/port", "maximum"]),
        (r#"agent.pinDirectory="/tmp/egret""#, ["agent/pinDirectory", "pattern"]),
        (r#"agent.extraCapabilities=["ALL"]"#, ["agent/extraCapabilities/0", "not"]),
        (r#"inside=["10.96.0.0"]"#, ["inside/0", "pattern"]),
        (r#"inside=["fd00::/129"]"#, ["inside/0", "pattern"]),
        (r"controller.replicas=0", ["controller/replicas", "minimum"]),
        (r#"controller.statusAddress=":9918""#, ["controller/statusAddress", "pattern"]),
        (r#"image.digest="latest""#, ["image/digest", "pattern"]),
        (r"agents={}", ["additional properties", "agents"]),
        (r"agent.tolerate=[]", ["additional properties", "tolerate"]),
        (r"dialects.cilium={}", ["additional properties", "cilium"]),
        (r#"dialects.antrea.mode="maybe""#, ["dialects/antrea/mode", "one of"]),
        (r#"dialects.kube-vip.configMap="Kube Vip""#, ["dialects/kube-vip/configMap", "pattern"]),
    ] {
        let output = template(&[setting]);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{setting} is taken");
        for word in words {
            assert!(told.contains(word), "{setting}: {word:?} is not in {told}");
        }
    }
}

/// The long options that a command of the program has.
fn options(command: &str) -> BTreeSet<String> {
    let help = Command::new(env!("CARGO_BIN_EXE_egret")).args([command, "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let option = |line: &str| {
        let (_, rest) = line.trim_start().split_once("--")?;
        line.trim_start()
            .starts_with('-')
            .then(|| rest.split([' ', '=', '[']).next().unwrap_or_default().to_owned())
    };
    help.lines().filter_map(option).filter(|option| option != "help").collect()
}

/// What a workload's container is told.
fn arguments(objects: &[Value], kind: &str) -> Vec<String> {
    let object = objects.iter().find(|object| object["kind"] == kind).unwrap();
    let arguments = &object["spec"]["template"]["spec"]["containers"][0]["args"];
    serde_json::from_value(arguments.clone()).unwrap()
}

#[test]
fn every_option_of_the_programs_can_be_set_by_a_value() {
    let made = objects(&[r#"inside=["10.96.0.0/12","fd00:10:96::/112"]"#, "agent.uninstall=true"]);
    for (command, kind) in [("agent", "DaemonSet"), ("controller", "Deployment")] {
        let told: BTreeSet<String> = arguments(&made, kind)
            .iter()
            .filter_map(|argument| Some(argument.strip_prefix("--")?.split('=').next()?.to_owned()))
            .collect();
        let mut known = options(command);
        assert!(known.contains("store") && known.contains("inside"), "{known:?}");
        // A pod finds the API server by itself.
        known.remove("kubeconfig");
        assert_eq!(told, known, "{command}");
    }
}

#[test]
fn the_programs_take_what_the_chart_tells_them() {
    let made = objects(&[
        r#"inside=["10.96.0.0/12"]"#,
        r#"agent.steering="overlay""#,
        r#"agent.unknownPods="pass""#,
        r#"agent.attach="clsact""#,
        r#"agent.listen={"address":"::1","port":9000}"#,
        r#"log={"format":"json","level":"debug"}"#,
        "agent.maxFlows=2097152",
        r#"dialects.antrea.mode="observe""#,
        "dialects.kube-vip.mode=false",
    ]);
    for kind in ["DaemonSet", "Deployment"] {
        let arguments = arguments(&made, kind);
        // Without a cluster both end at once, and say that this is no pod: everything before was understood.
        let output = Command::new(env!("CARGO_BIN_EXE_egret"))
            .args(arguments.iter().filter(|argument| !argument.starts_with("--store")))
            .arg("--store=/proc/no-such-place")
            .arg("--kubeconfig=/none")
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains("--kubeconfig: a directory has none"), "{arguments:?}: {told}");
    }
}

/// A container's environment as kubelet makes it of a ConfigMap; `Err` with the key that is missing.
fn environment(container: &Value, map: &str, data: &[(&str, &str)]) -> Result<Vec<(String, String)>, String> {
    let mut made = Vec::new();
    for variable in container["env"].as_array().unwrap() {
        let Some(reference) = variable.pointer("/valueFrom/configMapKeyRef") else { continue };
        assert_eq!(reference["name"], map, "{variable}");
        let key = reference["key"].as_str().unwrap();
        match data.iter().find(|(name, _)| *name == key) {
            Some((_, value)) => {
                made.push((variable["name"].as_str().unwrap().to_owned(), (*value).to_owned()))
            }
            None if reference["optional"] == true => {}
            None => return Err(key.to_owned()),
        }
    }
    Ok(made)
}

/// K7, K8: by kube-vip's own names; what cannot be read is told by its name, and what is missing starts nothing.
#[test]
fn kube_vips_names_are_read_from_a_config_map() {
    let usual = objects(&[]);
    let made = objects(&[r#"dialects.kube-vip.configMap="kube-vip-env""#]);
    for kind in ["DaemonSet", "Deployment"] {
        let container = |objects: &[Value]| {
            let object = objects.iter().find(|object| object["kind"] == kind).unwrap();
            object["spec"]["template"]["spec"]["containers"][0].clone()
        };
        let names = |data: &[(&str, &str)]| environment(&container(&made), "kube-vip-env", data);
        assert_eq!(environment(&container(&usual), "", &[]), Ok(Vec::new()), "{kind}: without one, nothing");
        assert_eq!(names(&[("egress_podcidr", "10.0.0.0/16")]), Err("egress_servicecidr".to_owned()));
        // What is told of the last one shows that those before it were understood.
        let data = [
            ("egress_podcidr", "10.0.0.0/16,fd00:10::/48"),
            ("egress_servicecidr", "10.96.0.0/12,x"),
            ("egress_withnftables", "true"),
        ];
        let output = Command::new(env!("CARGO_BIN_EXE_egret"))
            .args(arguments(&made, kind))
            .envs(names(&data).unwrap())
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && told.contains("egress_servicecidr: \"x\" is no network"),
            "{told}"
        );
    }
}
