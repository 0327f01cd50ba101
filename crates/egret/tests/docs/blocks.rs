//! The fenced blocks of the pages, and what is done with each.

use std::path::{Path, PathBuf};

/// Why a block of commands may stand on a page without a test that types it. Nothing else is a reason.
const NOT_RUN: [&str; 2] = ["needs a registry", "builds for minutes"];
/// Words that a command of these pages begins with: no drawing or sample does.
const PROGRAMS: [&str; 12] = [
    "$",
    "egret",
    "kubectl",
    "kubectl-egret",
    "helm",
    "make",
    "cargo",
    "skopeo",
    "alias",
    "export",
    "ln",
    "echo",
];

/// What is done with a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Commands, each after `$ `, and under each what it prints.
    Console,
    /// Commands, of which nothing is shown.
    Commands,
    /// Manifests that are applied.
    Manifests,
    /// Forms of our own commands, with names for what one fills in: the commands are asked for their help.
    Synopsis,
    /// Nobody types it: a drawing, a sample, a fragment.
    Text,
    /// Commands or manifests that are not run here, for a reason of the closed list.
    NotRun,
    /// What the test of this name types.
    RunBy(String),
}

/// A fenced block.
#[derive(Clone, Debug)]
pub struct Block {
    /// The page, from the root of the repository.
    pub page: String,
    /// The line of its fence, from 1.
    pub line: usize,
    /// What is done with it.
    pub kind: Kind,
    /// Its lines.
    pub lines: Vec<String>,
}

/// A command of a page, and what the page shows under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// As one types it; several lines where it goes on in the next.
    pub text: String,
    /// The lines shown; `None` where nothing is compared.
    pub shown: Option<Vec<String>>,
    /// Where it stands, as `page:line`.
    pub place: String,
}

/// The directory of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Every page, from the root of the repository, in order.
pub fn pages() -> Vec<String> {
    let mut pages = vec!["README.md".to_owned()];
    for directory in ["docs", "docs/dialects"] {
        let files =
            std::fs::read_dir(root().join(directory)).unwrap().map(|entry| entry.unwrap().file_name());
        let mut files: Vec<String> = files.map(|name| name.into_string().unwrap()).collect();
        files.retain(|name| name.ends_with(".md"));
        files.sort();
        pages.extend(files.into_iter().map(|name| format!("{directory}/{name}")));
    }
    pages
}

/// The blocks of a page. Whoever is in no class of [`Kind`] is told in the error.
pub fn blocks(page: &str) -> Result<Vec<Block>, String> {
    parse(page, &std::fs::read_to_string(root().join(page)).unwrap())
}

fn parse(page: &str, text: &str) -> Result<Vec<Block>, String> {
    let mut found = Vec::new();
    let mut before = "";
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let inside: Vec<String> =
                lines.by_ref().map(|(_, line)| line.to_owned()).take_while(|line| line != "```").collect();
            let kind = kind(language, before, &inside).map_err(|e| format!("{page}:{}: {e}", number + 1))?;
            found.push(Block { page: page.to_owned(), line: number + 1, kind, lines: inside });
        }
        before = line;
    }
    Ok(found)
}

fn kind(language: &str, before: &str, lines: &[String]) -> Result<Kind, String> {
    let mark = before.strip_prefix("<!-- ").and_then(|mark| mark.strip_suffix(" -->"));
    match (mark.and_then(|mark| mark.split_once(": ")), language) {
        (Some(("not run", why)), _) if NOT_RUN.contains(&why) => Ok(Kind::NotRun),
        (Some(("not run", why)), _) => Err(format!("{why:?} is no reason: one of {NOT_RUN:?} is")),
        (Some(("run by other test", name)), _) => Ok(Kind::RunBy(name.to_owned())),
        (_, "console") if lines.first().is_some_and(|line| line.starts_with("$ ")) => Ok(Kind::Console),
        (_, "console") => Err("a console begins with a command after `$ `".to_owned()),
        (_, "sh") => Ok(Kind::Commands),
        (_, "yaml") => Ok(Kind::Manifests),
        (_, "synopsis") => match lines.iter().find(|line| word(line) != "egret") {
            None => Ok(Kind::Synopsis),
            Some(line) => Err(format!("{line:?} is no form of one of our commands")),
        },
        (_, "" | "text") => match lines.iter().find(|line| PROGRAMS.contains(&word(line))) {
            None => Ok(Kind::Text),
            Some(line) => Err(format!(
                "{line:?} is a command that nobody runs: write the block as console or sh, or a mark before it, \
                 `<!-- not run: REASON -->` with one of {NOT_RUN:?}, or `<!-- run by other test: NAME -->`"
            )),
        },
        (_, other) => {
            Err(format!("{other:?} is no language here: write console, sh, yaml, synopsis or text"))
        }
    }
}

fn word(line: &str) -> &str {
    line.split_whitespace().next().unwrap_or_default()
}

impl Block {
    /// Its commands. Of manifests, the one that applies them.
    pub fn commands(&self) -> Vec<Command> {
        let place = |index: usize| format!("{}:{}", self.page, self.line + 1 + index);
        if self.kind == Kind::Manifests {
            let text = format!("kubectl apply --server-side -f - <<'EOF'\n{}\nEOF", self.lines.join("\n"));
            return vec![Command { text, shown: None, place: place(0) }];
        }
        let console = self.kind == Kind::Console;
        let mut found: Vec<Command> = Vec::new();
        let mut open = false;
        for (index, line) in self.lines.iter().enumerate() {
            let begun = if console { line.strip_prefix("$ ") } else { Some(line.as_str()) };
            match (begun, found.last_mut()) {
                (_, Some(last)) if open => {
                    last.text += &format!("\n{line}");
                    open = goes_on(&last.text);
                }
                (Some(""), _) => {}
                (Some(text), _) => {
                    open = goes_on(text);
                    let shown = console.then(Vec::new);
                    found.push(Command { text: text.to_owned(), shown, place: place(index) });
                }
                (None, last) => last.and_then(|last| last.shown.as_mut()).unwrap().push(line.clone()),
            }
        }
        found
    }
}

/// The command is not whole yet: its line ends in a backslash, or the document that it is given has not ended.
fn goes_on(text: &str) -> bool {
    match text.contains("<<EOF") {
        true => !text.ends_with("\nEOF"),
        false => text.ends_with('\\'),
    }
}

#[test]
fn commands_are_told_from_what_they_print() {
    let page = "a\n```console\n$ one \\\n  more\nprinted\n\nprinted\n$ two <<EOF\n$ input\nEOF\n```\n```sh\nthree\n```\n";
    let found = parse("page", page).unwrap();
    let commands: Vec<Command> = found.iter().flat_map(Block::commands).collect();
    let texts: Vec<&str> = commands.iter().map(|command| command.text.as_str()).collect();
    assert_eq!(texts, ["one \\\n  more", "two <<EOF\n$ input\nEOF", "three"]);
    assert_eq!(commands[0].shown.as_deref().unwrap(), ["printed", "", "printed"]);
    assert_eq!((commands[1].shown.as_deref(), commands[2].shown.as_deref()), (Some(&[][..]), None));
    assert_eq!(commands[2].place, "page:13");
}

#[test]
fn a_block_of_commands_that_nobody_runs_is_refused() {
    let of = |mark: &str, fence: &str| {
        parse("page", &format!("{mark}\n{fence}\nmake image\n```\n")).map(|blocks| blocks[0].kind.clone())
    };
    assert_eq!(of("", "```sh"), Ok(Kind::Commands));
    assert_eq!(of("<!-- not run: needs a registry -->", "```sh"), Ok(Kind::NotRun));
    assert_eq!(of("<!-- run by other test: it -->", "```"), Ok(Kind::RunBy("it".to_owned())));
    for (mark, fence) in [("", "```"), ("", "```text"), ("", "```bash"), ("<!-- not run: lazy -->", "```sh")]
    {
        assert!(of(mark, fence).is_err(), "{mark} {fence}");
    }
}
