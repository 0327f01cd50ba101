//! Running the system's own tools: ip, nft, iptables.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Runs a command to its end and returns what it printed.
///
/// # Errors
/// When it cannot be started or fails; the error has the command and its own words.
pub fn run(argv: &[&str]) -> Result<String> {
    run_with_input(argv, "")
}

/// Runs a command to its end with `input` on its standard input.
///
/// # Errors
/// As [`run`].
pub fn run_with_input(argv: &[&str], input: &str) -> Result<String> {
    let (program, arguments) = argv.split_first().context("an empty command")?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| {
            format!("{program}: cannot be started; install it (the lab needs ip, nft, iptables, nsenter)")
        })?;
    if let Some(mut stdin) = child.stdin.take() {
        // A tool that fails early closes its input: its exit status and words say more than a broken pipe.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        bail!("{}: {} {}{}", argv.join(" "), output.status, words.trim(), quote(input, &words));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The line of a batch that a tool complained about (`Command failed -:12`).
fn quote(input: &str, words: &str) -> String {
    let number = words.rsplit("-:").next().and_then(|n| n.trim().parse::<usize>().ok());
    match number.and_then(|n| input.lines().nth(n.checked_sub(1)?)) {
        Some(line) => format!(" ({line})"),
        None => String::new(),
    }
}

/// Runs lines of `ip` in the namespace of the caller.
///
/// # Errors
/// The first line that fails.
pub fn ip_batch(lines: &[String]) -> Result<()> {
    match lines {
        [] => Ok(()),
        lines => run_with_input(&["ip", "-batch", "-"], &join(lines)).map(drop),
    }
}

/// Runs lines of `ip` in a network namespace.
///
/// # Errors
/// The first line that fails.
pub fn ip_batch_in(netns: &str, lines: &[String]) -> Result<()> {
    match lines {
        [] => Ok(()),
        lines => run_with_input(&["ip", "-n", netns, "-batch", "-"], &join(lines)).map(drop),
    }
}

/// Runs a command in a network namespace, everything else (mounts too) as the caller has it.
///
/// # Errors
/// As [`run`].
pub fn run_in(netns: &str, argv: &[&str], input: &str) -> Result<String> {
    let enter = format!("--net=/run/netns/{netns}");
    let mut command = vec!["nsenter", &enter];
    command.extend(argv);
    run_with_input(&command, input)
}

fn join(lines: &[String]) -> String {
    lines.iter().fold(String::new(), |text, line| text + line + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_has_the_tools_words_and_the_line() {
        assert_eq!(quote("one\ntwo\n", "Error: what?\nCommand failed -:2"), " (two)");
        assert_eq!(quote("one\n", "no line named"), "");
        let error = run(&["false"]).unwrap_err().to_string();
        assert!(error.starts_with("false: exit status: 1"), "{error}");
        assert!(run(&["no-such-tool"]).unwrap_err().to_string().contains("install it"));
    }
}
