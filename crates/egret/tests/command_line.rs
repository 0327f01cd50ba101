//! The command line itself: names, help, exit codes, completions, and as a plugin of kubectl.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is a test's verdict")]

use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const EGRET: &str = env!("CARGO_BIN_EXE_egret");

fn run(arguments: &[&str]) -> Output {
    Command::new(EGRET).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A directory of this test with the program under the names that kubectl looks for, first in the path.
struct Plugin(PathBuf);

impl Plugin {
    fn new(test: &str) -> Self {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&directory));
        std::fs::create_dir_all(&directory).unwrap();
        for name in ["kubectl-egret", "kubectl_complete-egret"] {
            symlink(EGRET, directory.join(name)).unwrap();
        }
        Self(directory)
    }

    fn kubectl(&self, arguments: &[&str]) -> Output {
        let mut path = self.0.clone().into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap());
        Command::new(egret_lab::kubernetes::program().unwrap())
            .arg("kubectl")
            .args(arguments)
            .env("PATH", path)
            .env("KUBECONFIG", self.0.join("none"))
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

const WORLD: &str = r#"
apiVersion: v1
kind: Pod
metadata: { name: web, namespace: prod, labels: { app: web } }
spec: { nodeName: node-1, containers: [] }
status: { podIPs: [{ ip: 10.244.1.10 }] }
"#;

#[test]
fn kubectl_finds_the_program_as_its_plugin_and_completes_its_words() {
    let plugin = Plugin::new("plugin");
    let listed = plugin.kubectl(&["plugin", "list"]);
    assert!(said(&listed).contains("/kubectl-egret"), "{}", said(&listed));

    std::fs::write(plugin.0.join("world.yaml"), WORLD).unwrap();
    let store = plugin.0.display().to_string();
    let told = plugin.kubectl(&["egret", "explain", "pod", "prod/web", "--store", &store]);
    assert!(told.status.success() && said(&told).contains("the ordinary way"), "{}", said(&told));

    let wrong = plugin.kubectl(&["egret", "explain", "pod"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(said(&wrong).contains("kubectl egret explain pod"), "{}", said(&wrong));

    // As a pod of no cluster and without a kubeconfig there is no API server to ask.
    let nowhere = plugin.kubectl(&["egret", "check", "cluster", "--kubeconfig", "/none"]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(said(&nowhere).contains("--kubeconfig /none"), "{}", said(&nowhere));

    let completed = plugin.kubectl(&["__complete", "egret", "check", "in"]);
    assert!(said(&completed).contains("installation\t"), "{}", said(&completed));
}

#[test]
fn shells_take_the_completions_under_both_names() {
    let plugin = Plugin::new("completions");
    for (program, name) in
        [(PathBuf::from(EGRET), "egret"), (plugin.0.join("kubectl-egret"), "kubectl-egret")]
    {
        for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
            let output = Command::new(&program).args(["completions", shell]).output().unwrap();
            let script = String::from_utf8(output.stdout).unwrap();
            for word in [name, "check", "installation", "explain"] {
                assert!(output.status.success() && script.contains(word), "{shell}: {word}: {script}");
            }
        }
    }
    // Bash itself says what comes after `egret check`.
    let script = String::from_utf8(run(&["completions", "bash"]).stdout).unwrap();
    let ask = "COMP_WORDS=(egret check ''); COMP_CWORD=2; _egret egret '' check; echo \"${COMPREPLY[@]}\"";
    let mut bash = Command::new("bash").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    write!(bash.stdin.take().unwrap(), "{script}\n{ask}\n").unwrap();
    let answer = bash.wait_with_output().unwrap();
    let answer = String::from_utf8(answer.stdout).unwrap();
    for word in ["node", "cluster", "installation"] {
        assert!(answer.split_whitespace().any(|found| found == word), "{answer}");
    }
}

#[test]
fn answers_are_for_people_or_for_programs_and_have_no_colours_where_there_is_no_terminal() {
    let plugin = Plugin::new("answers");
    std::fs::write(plugin.0.join("world.yaml"), WORLD).unwrap();
    let store = plugin.0.display().to_string();
    let explain = |output: &str| {
        let output =
            run(&["explain", "pod", "prod/web", "198.51.100.9:443", "--store", &store, "-o", output]);
        assert!(output.status.success(), "{}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let json: serde_json::Value = serde_json::from_str(&explain("json")).unwrap();
    assert_eq!(
        (&json["pod"], &json["expected"]["source"]),
        (&"prod/web".into(), &"ordinary".into()),
        "{json:#}"
    );
    let yaml: serde_json::Value = serde_saphyr::from_str(&explain("yaml")).unwrap();
    assert_eq!(json, yaml);
    assert!(explain("text").contains("=> the ordinary way"));

    let check = run(&["check", "node", "--pin-dir", "/proc/none/egret"]);
    assert_eq!(check.status.code(), Some(1), "{}", said(&check));
    assert!(
        said(&check).contains("failure  BPF file system") && !said(&check).contains('\x1b'),
        "{}",
        said(&check)
    );
}

#[test]
fn exit_codes_are_told_by_the_help_and_by_the_page() {
    let help = said(&run(&["--help"]));
    let (_, codes) = help.split_once("Exit codes:\n").unwrap_or_else(|| panic!("{help}"));
    assert!(said(&run(&["check", "--help"])).contains(codes.trim()), "of check");
    for asking in ["who", "flows"] {
        assert!(said(&run(&[asking, "--help"])).contains(codes.trim()), "of {asking}");
    }
    let page = include_str!("../../../docs/install.md");
    for (code, meaning) in [
        (0, "done"),
        (1, "it failed"),
        (2, "the command line is wrong"),
        (3, "`flows` and `who` printed what is known"),
    ] {
        assert!(codes.contains(&format!("  {code}  {meaning}")), "{codes}");
        assert!(page.contains(&format!("| {code} | {meaning}")), "docs/install.md: exit code {code}");
    }
    for (arguments, code) in
        [(&["--version"][..], 0), (&["--no-such-option"], 2), (&["check"], 2), (&["crds"], 0)]
    {
        assert_eq!(run(arguments).status.code(), Some(code), "{arguments:?}");
    }
}

/// What an agent wrote: a flow that ended, one whose end it did not write, what was refused, and a line cut off by a crash.
const LOG: &str = r#"{"time":"2026-11-22T01:00:00Z","log":"began","count":0}
{"time":"2026-11-22T01:00:01Z","event":"opened","protocol":"TCP","pod":"prod/web","from":"10.244.1.10:41000","egress":"10.10.0.11:33072","to":"198.51.100.9:443","policy":"EgressPolicy prod/web"}
{"time":"2026-11-22T01:00:09.5Z","event":"closed","protocol":"TCP","from":"10.244.1.10:41000","egress":"10.10.0.11:33072","to":"198.51.100.9:443","opened":"2026-11-22T01:00:01Z","last":"2026-11-22T01:00:07Z"}
{"time":"2026-11-22T01:01:00Z","event":"opened","protocol":"UDP","pod":"prod/dns","from":"10.244.1.11:5353","egress":"10.10.0.11:33073","to":"198.51.100.9:53"}
{"time":"2026-11-22T01:02:00Z","event":"refused","protocol":"TCP","pod":"prod/web","from":"10.244.1.10:41001","to":"203.0.113.9:25","reason":"DROP_NO_GATEWAY","packets":7}
{"time":"2026-11-22T01:02:01Z","log":"lost","count":12}
{"time":"2026-11-22T01:03"#;

#[test]
fn flows_of_a_node_are_read_from_its_log_without_agent_and_without_api_server() {
    let plugin = Plugin::new("flows");
    let log = plugin.0.join("log");
    let ask = |more: &[&str]| {
        let place = [
            format!("--flow-log={}", log.display()),
            format!("--pin-dir={}", plugin.0.join("none").display()),
        ];
        let place = place.iter().map(String::as_str);
        let words: Vec<&str> =
            ["flows", "--local"].into_iter().chain(place).chain(more.iter().copied()).collect();
        run(&words)
    };
    let none = ask(&[]);
    assert_eq!(none.status.code(), Some(1), "{}", said(&none));
    assert!(
        said(&none).contains("there is no log of flows") && said(&none).contains("--flow-log"),
        "{}",
        said(&none)
    );

    std::fs::create_dir_all(&log).unwrap();
    std::fs::write(log.join("000000000007.jsonl"), LOG).unwrap();
    let states = |more: &[&str]| -> Vec<(String, String)> {
        let output = ask(&[more, &["--since", "2026-11-22T00:00:00Z", "-o", "json"]].concat());
        assert!(output.status.success(), "{}", said(&output));
        let flows: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        flows.iter().map(|flow| (text(&flow["pod"]), text(&flow["state"]))).collect()
    };
    let is = |pod: &str, state: &str| (pod.to_owned(), state.to_owned());
    // Without the kernel's tables nobody can say that it has ended.
    let all = [is("prod/web", "closed"), is("prod/dns", "open"), is("prod/web", "refused")];
    assert_eq!(states(&[]), all);
    assert_eq!(states(&["--pod", "prod/"]), all);
    assert_eq!(states(&["--pod", "prod/dns"]), all[1..2]);
    assert_eq!(states(&["--address", "10.10.0.11:33072"]), all[..1]);
    assert_eq!(states(&["--to", "198.51.100.0/24:53"]), all[1..2]);
    assert_eq!(states(&["--to", "203.0.113.0/24"]), all[2..]);

    let text = ask(&["--since", "2026-11-22T00:00:00Z"]);
    for words in [
        "2026-11-22T01:00:09Z",
        "10.10.0.11:33072",
        "DROP_NO_GATEWAY x7",
        "12 records before",
        "is not known",
    ] {
        assert!(said(&text).contains(words), "{words}: {}", said(&text));
    }
    let wide = ask(&["--since", "2026-11-22T00:00:00Z", "-o", "wide"]);
    assert!(said(&wide).contains("EgressPolicy prod/web"), "{}", said(&wide));
    assert_eq!(ask(&["--to", "nowhere"]).status.code(), Some(2));
}
