//! Compiles the kernel's programs, and takes the closed list of verdicts out of the header they share with us.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

fn main() {
    let bpf = PathBuf::from(env::var("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../../bpf");
    let out = PathBuf::from(env::var("OUT_DIR").unwrap_or_default());
    println!("cargo::rerun-if-changed={}", bpf.display());
    println!("cargo::rerun-if-env-changed=CLANG");
    compile(&bpf.join("egret.bpf.c"), &out.join("egret.bpf.o"));
    // The packet vectors run the programs between steps of their own.
    println!("cargo::rerun-if-changed=tests/vectors/tunnel.bpf.c");
    compile(Path::new("tests/vectors/tunnel.bpf.c"), &out.join("tunnel.bpf.o"));
    let header = read(&bpf.join("lib/reason.h"));
    let list = reasons(&header).unwrap_or_else(|why| fail(&format!("bpf/lib/reason.h: {why}")));
    if let Err(error) = fs::write(out.join("reasons.rs"), list) {
        fail(&format!("cannot write the list of verdicts: {error}"));
    }
}

fn compile(source: &Path, object: &Path) {
    let clang = clang();
    let mut command = Command::new(&clang);
    command.args(["-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wall", "-Werror", "-c"]);
    // The target bpf has no multiarch directory of its own, and <asm/types.h> lives there.
    for directory in ["/usr/include/x86_64-linux-gnu".to_owned(), multiarch()] {
        if Path::new(&directory).is_dir() {
            command.args(["-idirafter", &directory]);
        }
    }
    if !Path::new("/usr/include/bpf/bpf_helpers.h").exists() {
        fail("<bpf/bpf_helpers.h> is missing: install it with `apt-get install libbpf-dev`");
    }
    match command.arg("-o").arg(object).arg(source).output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => fail(&format!(
            "{clang} did not compile {}:\n{}",
            source.display(),
            String::from_utf8_lossy(&output.stderr)
        )),
        Err(error) => fail(&format!("cannot run {clang}: {error}")),
    }
}

fn clang() -> String {
    let named = env::var("CLANG").ok();
    let versions = (14..=19).rev().map(|version| format!("clang-{version}"));
    let candidates: Vec<String> =
        named.into_iter().chain(std::iter::once("clang".to_owned())).chain(versions).collect();
    let works = |name: &&String| {
        Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success())
    };
    match candidates.iter().find(works) {
        Some(name) => name.clone(),
        None => fail(
            "no clang found to compile the kernel's programs: install it with `apt-get install clang`, \
             or name it in the environment variable CLANG",
        ),
    }
}

fn multiarch() -> String {
    let triple = Command::new("gcc").arg("-print-multiarch").output().ok();
    let triple = triple.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    format!("/usr/include/{}", triple.filter(|t| !t.is_empty()).unwrap_or_else(|| "-".to_owned()))
}

/// The enumerators of `enum reason`, each with the comment behind it.
fn reasons(header: &str) -> Result<String, String> {
    let body = header.split_once("enum reason {").ok_or("no `enum reason`")?.1;
    let body = body.split_once("REASONS").ok_or("`enum reason` does not end in REASONS")?.0;
    let mut list = String::from(
        "/// Every verdict with what it means, in the kernel's order.\n\
         pub const REASONS: &[(&str, &str)] = &[\n",
    );
    for line in body.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("/*")) {
        let (name, comment) = line.split_once(',').ok_or(format!("one enumerator a line, not `{line}`"))?;
        let comment = comment.trim().trim_start_matches("/*").trim_end_matches("*/").trim();
        let plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        if !name.chars().all(plain) {
            return Err(format!("`{name}` is no plain name"));
        }
        let _ = writeln!(list, "    ({name:?}, {comment:?}),");
    }
    list.push_str("];\n");
    Ok(list)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| fail(&format!("cannot read {}: {error}", path.display())))
}

fn fail(message: &str) -> ! {
    for line in message.lines() {
        println!("cargo::error={line}");
    }
    eprintln!("{message}");
    exit(1);
}
