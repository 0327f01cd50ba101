//! What the pages tell to type is typed, in a lab.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command as Process, Stdio};

use egret_lab::kubernetes::program;

use crate::blocks::{Block, Command, Kind, blocks, pages};
use crate::session::Session;
use crate::tables::sources;

/// It brings up the lab with an API server in which all others are typed as well.
const FIRST: &str = "docs/first-policy.md";
/// They install Egret into a cluster, and take it out again.
pub const INSTALLATION: [&str; 2] = ["docs/install.md", "docs/upgrade.md"];

const NAME: &str = "docs";

/// The programs that pages type: ours, which takes every lab of a page for the one of this test, and the kubectl that was built.
pub fn programs(session: &Session) {
    let egret = env!("CARGO_BIN_EXE_egret");
    let own_lab = format!("[ \"$1\" != lab ] || {{ shift; set -- lab --name {NAME} \"$@\"; }}");
    session.program("egret", &format!("{own_lab}\nexec {egret} \"$@\""));
    session.program("kubectl", &format!("exec {} kubectl \"$@\"", program().unwrap().display()));
}

/// A lab that ends with the test, however that ends.
struct Lab;

impl Drop for Lab {
    fn drop(&mut self) {
        let mut down = Process::new(env!("CARGO_BIN_EXE_egret"));
        down.args(["lab", "--name", NAME, "down"]).stderr(Stdio::null());
        if !down.status().unwrap().success() {
            eprintln!("lab {NAME}: it cannot be taken down");
        }
    }
}

fn typed(page: &str) -> Vec<Block> {
    let typed = |block: &Block| matches!(block.kind, Kind::Console | Kind::Commands | Kind::Manifests);
    blocks(page).unwrap().into_iter().filter(typed).collect()
}

/// What nobody sees on a page, and is typed around it.
fn silent(text: String, page: &str) -> Command {
    Command { text, shown: None, place: format!("around {page}") }
}

/// The commands of a page on an API server, which is as empty afterwards as it was before.
fn commands_of(page: &str, blocks: &[Block]) -> Vec<Command> {
    let manifests =
        blocks.iter().filter(|block| block.kind == Kind::Manifests).flat_map(|block| &block.lines);
    let named = manifests.filter_map(|line| line.split_once("namespace: "));
    let namespaces: BTreeSet<&str> =
        named.map(|(_, rest)| rest.split([' ', ',', '}']).next().unwrap_or_default()).collect();
    let made = namespaces.iter().map(|name| format!("kubectl create namespace {name}"));
    let mut all: Vec<Command> = made.map(|text| silent(text, page)).collect();
    all.extend(blocks.iter().flat_map(Block::commands));
    all.push(silent(
        "kubectl delete egresspolicies,clusteregresspolicies,egresspools --all -A".to_owned(),
        page,
    ));
    all
}

/// What the program says if it does not know the command of this form.
fn unknown(page: &str, form: &str) -> Option<String> {
    let plain = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    let words = form.split_whitespace().skip(1).take_while(plain);
    let told = Process::new(env!("CARGO_BIN_EXE_egret")).args(words).arg("--help").output().unwrap();
    let wrong = format!("{page}: {form}: {}", String::from_utf8_lossy(&told.stderr));
    (!told.status.success()).then_some(wrong)
}

#[test]
fn every_block_of_the_pages_is_typed_or_says_why_not() {
    let mut text = String::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."), &mut text);
    let mut wrong = Vec::new();
    let (mut typed, mut not_run) = (0, 0);
    for page in pages() {
        match blocks(&page) {
            Err(error) => wrong.push(error),
            Ok(blocks) => {
                for Block { page, line, kind, lines } in blocks {
                    match kind {
                        Kind::Console | Kind::Commands | Kind::Manifests => typed += 1,
                        Kind::NotRun => not_run += 1,
                        Kind::RunBy(name) if !text.contains(&format!("fn {name}(")) => {
                            wrong.push(format!("{page}:{line}: there is no test {name}"));
                        }
                        Kind::Synopsis => wrong.extend(lines.iter().filter_map(|line| unknown(&page, line))),
                        Kind::RunBy(_) | Kind::Text => {}
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(typed > 2 * not_run, "{typed} blocks are typed, {not_run} are not");
}

#[test]
fn what_the_pages_tell_to_type_does_what_they_show() {
    let lab = Lab;
    let mut session = Session::new(NAME);
    programs(&session);
    session.replace("/run/egret/lab/lab/", format!("/run/egret/lab/{NAME}/"));
    let mut all = commands_of(FIRST, &typed(FIRST));
    for page in pages().iter().filter(|page| *page != FIRST && !INSTALLATION.contains(&page.as_str())) {
        let mut blocks = typed(page);
        blocks.retain(|block| page != README || block.kind == Kind::Manifests);
        if !blocks.is_empty() {
            all.extend(commands_of(page, &blocks));
        }
    }
    session.type_all(&all);
    drop(lab);
    // It makes a lab of its own.
    let _lab = Lab;
    let mut blocks = typed(README);
    blocks.retain(|block| block.kind != Kind::Manifests);
    session.type_all(&blocks.iter().flat_map(Block::commands).collect::<Vec<_>>());
}

const README: &str = "README.md";
