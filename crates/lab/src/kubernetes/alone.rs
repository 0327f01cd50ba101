//! An API server without a lab, on the loopback address, for as long as somebody holds it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::program;
use crate::tool;

/// An API server with its etcd. It ends with this value, or with the process that has it.
pub struct Alone {
    processes: Vec<Child>,
    directory: PathBuf,
}

impl Alone {
    /// Starts one that keeps everything in a directory, and goes on with what it finds there.
    ///
    /// # Errors
    /// When it ends before it is ready; the error has its log.
    pub fn start(directory: &Path, flags: &[&str]) -> Result<Self> {
        fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
        let mut started = Self { processes: Vec::new(), directory: directory.to_owned() };
        let mut command = Command::new(program()?);
        command.args(["apiserver", "--dir"]).arg(directory).arg("--").args(flags).stdout(Stdio::piped());
        started.spawn(command, "apiserver")?;
        let output = started.processes[0].stdout.take().context("a pipe from the API server")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let log = || fs::read_to_string(directory.join("apiserver.log")).unwrap_or_default();
        ensure!(serde_json::from_str::<Value>(&line).is_ok(), "the API server ended:\n{}", log());
        Ok(started)
    }

    /// Starts those controllers of Kubernetes that make pods of a DaemonSet and a Deployment, and clean up after them.
    ///
    /// # Errors
    /// When they cannot be started.
    pub fn start_controllers(&mut self) -> Result<()> {
        // Nobody's end is told to them, so they end with the thread that starts them.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(program()?);
        let kubeconfig = self.directory.join("controller-manager.kubeconfig");
        command.current_dir(&self.directory).arg("controller-manager");
        for flag in ["kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"] {
            command.arg(format!("--{flag}={}", kubeconfig.display()));
        }
        command.args([
            "--use-service-account-credentials",
            "--leader-elect=false",
            "--secure-port=0",
            "--service-account-private-key-file=sa.key",
            "--root-ca-file=ca.crt",
            "--cert-dir=controller-manager",
            "--flex-volume-plugin-dir=flex",
            "--controllers=namespace-controller,serviceaccount-controller,root-ca-certificate-publisher-controller,\
             garbage-collector-controller,deployment-controller,replicaset-controller,daemonset-controller,\
             disruption-controller,clusterrole-aggregation-controller",
        ]);
        self.spawn(command, "controller-manager")
    }

    /// Starts a process that is ended with this one. It ends by itself when its input is closed, if it cares.
    fn spawn(&mut self, mut command: Command, name: &str) -> Result<()> {
        let path = self.directory.join(format!("{name}.log"));
        let log = File::options().create(true).append(true).open(&path);
        let log = log.with_context(|| path.display().to_string())?;
        self.processes.push(command.stdin(Stdio::piped()).stderr(log).spawn().context(name.to_owned())?);
        Ok(())
    }

    /// How an administrator reaches it.
    pub fn kubeconfig(&self) -> PathBuf {
        self.directory.join("admin.kubeconfig")
    }

    /// Runs kubectl, and returns what it printed.
    ///
    /// # Errors
    /// What kubectl says.
    pub fn kubectl(&self, arguments: &[&str], input: &str) -> Result<String> {
        let program = program()?;
        let cache = format!("KUBECACHEDIR={}", self.directory.join("discovery").display());
        let kubeconfig = format!("--kubeconfig={}", self.kubeconfig().display());
        let kube = program.display().to_string();
        let mut words = vec!["env", &cache, &kube, "kubectl", &kubeconfig];
        words.extend(arguments);
        tool::run_with_input(&words, input).with_context(|| format!("kubectl {}", arguments.join(" ")))
    }

    /// Runs helm, and returns what it printed.
    ///
    /// # Errors
    /// What helm says, or that it has not been built.
    pub fn helm(&self, arguments: &[&str]) -> Result<String> {
        let home = self.directory.join("helm");
        let environment = [
            format!("KUBECONFIG={}", self.kubeconfig().display()),
            format!("HELM_CACHE_HOME={0}", home.display()),
            format!("HELM_CONFIG_HOME={0}", home.display()),
            format!("HELM_DATA_HOME={0}", home.display()),
        ];
        let helm = helm()?.display().to_string();
        let mut words = vec!["env"];
        words.extend(environment.iter().map(String::as_str));
        words.push(&helm);
        words.extend(arguments);
        tool::run_with_input(&words, "").with_context(|| format!("helm {}", arguments.join(" ")))
    }

    /// Ends it without a goodbye, as a power cut would.
    ///
    /// # Errors
    /// When it has ended already.
    pub fn kill(mut self) -> Result<()> {
        self.processes.iter_mut().try_for_each(Child::kill).context("it has ended already")
    }

    /// Closes its input, as the end of its starter would, and says how it ended.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn leave(mut self) -> Result<std::process::ExitStatus> {
        drop(self.processes[0].stdin.take());
        Ok(self.processes[0].wait()?)
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        for process in self.processes.iter_mut().rev() {
            // It may have ended.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Where helm is: beside the control plane's program.
///
/// # Errors
/// When it has not been built.
pub fn helm() -> Result<PathBuf> {
    let helm = program()?.with_file_name(OsStr::new("helm"));
    ensure!(helm.is_file(), "{}: helm is not built; `make kubernetes` builds it", helm.display());
    Ok(helm)
}
