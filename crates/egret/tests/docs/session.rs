//! A terminal in which the commands of pages are typed, one after the other.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};
use std::time::Instant;

use crate::blocks::{Command, root};
use crate::shown::is_shown;

/// Begins a line that tells where the output of a command begins or ends.
const MARK: char = '\u{1e}';

/// A terminal.
pub struct Session {
    /// A directory of its own, with the programs that are typed; removed with it.
    directory: PathBuf,
    environment: Vec<(String, String)>,
    /// What the pages call it, and what it is called here.
    replaced: Vec<(String, String)>,
}

impl Session {
    pub fn new(name: &str) -> Self {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&directory));
        std::fs::create_dir_all(&directory).unwrap();
        Self { directory, environment: Vec::new(), replaced: Vec::new() }
    }

    /// A program of this name, as this text of a shell.
    pub fn program(&self, name: &str, text: &str) {
        let path = self.directory.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(path, executable).unwrap();
    }

    /// A path of the session's own.
    pub fn place(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }

    pub fn environment(&mut self, name: &str, value: String) {
        self.environment.push((name.to_owned(), value));
    }

    /// What the pages write in one way is typed in another.
    pub fn replace(&mut self, theirs: &str, ours: String) {
        self.replaced.push((theirs.to_owned(), ours));
    }

    /// Types the commands. Each must succeed and print what is shown, or all that is wrong is told.
    ///
    /// The shell reads them as its input, as it would from a person: a command that opens another shell is followed by what is
    /// typed into that.
    #[track_caller]
    pub fn type_all(&self, commands: &[Command]) {
        let mut text = "exec 2>&1; shopt -s expand_aliases\n".to_owned();
        for (number, Command { text: command, .. }) in commands.iter().enumerate() {
            let command =
                self.replaced.iter().fold(command.clone(), |text, (from, to)| text.replace(from, to));
            // A comment after the command is not part of the mark.
            text += &format!("printf '{MARK}%s\\n' {number}\n{command}\nprintf '\\n{MARK}%s\\n' $?\n");
        }
        let script = self.directory.join("typed");
        std::fs::write(&script, &text).unwrap();
        let mut path = self.directory.clone().into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap());
        let begun = Instant::now();
        // Nothing on these pages takes so long; what hangs is ended with all that it started.
        let output = Process::new("timeout")
            .args(["--kill-after=5", "120", "bash"])
            .current_dir(root())
            .env("PATH", path)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(std::fs::File::open(&script).unwrap())
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let wrong = wrong(commands, &printed);
        let mut log = std::io::stdout();
        writeln!(log, "{} commands in {:.1} s", commands.len(), begun.elapsed().as_secs_f64()).unwrap();
        assert!(wrong.is_empty(), "{}\n{} of {} commands", wrong.join("\n"), wrong.len(), commands.len());
    }
}

/// What went otherwise than the page says.
fn wrong(commands: &[Command], printed: &str) -> Vec<String> {
    let mut told = printed.split(MARK).skip(1);
    let mut wrong = Vec::new();
    for Command { text, shown, place } in commands {
        let (Some(output), Some(end)) = (told.next(), told.next()) else {
            wrong.push(format!("{place}: the shell ended, or hung, before or in: {text}"));
            break;
        };
        let output = output.split_once('\n').map_or("", |(_, output)| output);
        let code = end.lines().next().unwrap_or_default();
        if code != "0" {
            wrong.push(format!("{place}: {text}\nends with {code} and prints:\n{output}"));
        } else if let Some(shown) = shown.as_ref().filter(|shown| !is_shown(shown, output)) {
            let shown = shown.join("\n");
            wrong.push(format!("{place}: {text}\nprints:\n{output}\nbut the page shows:\n{shown}\n"));
        }
    }
    wrong
}

impl Drop for Session {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.directory));
    }
}

#[test]
fn a_command_that_fails_or_prints_something_else_is_told_with_its_place() {
    let session = Session::new("session");
    let command = |text: &str, shown: Option<&[&str]>| Command {
        text: text.to_owned(),
        shown: shown.map(|lines| lines.iter().map(|line| (*line).to_owned()).collect()),
        place: format!("page of {text}"),
    };
    session.type_all(&[
        command("x=there    # a comment", Some(&[])),
        command("echo $x", Some(&["there"])),
        command("exec bash", None),
        command("echo \"${x:-gone}\"", Some(&["gone"])),
    ]);
    let told = |commands: &[Command]| {
        let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| session.type_all(commands)));
        *told.unwrap_err().downcast::<String>().unwrap()
    };
    assert!(told(&[command("echo one", Some(&["two"]))]).contains("page of echo one"));
    assert!(told(&[command("false", None), command("true", None)]).contains("1 of 2 commands"));
    assert!(told(&[command("exit", None), command("true", None)]).contains("the shell ended"));
}
