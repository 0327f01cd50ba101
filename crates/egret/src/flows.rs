//! `egret flows`: which flows began and ended when, and what was refused.

pub mod answer;
mod local;
mod table;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use egret_flows::{Destination, End, Filter, Flow};
use jiff::Timestamp;

use self::answer::{Answer, Asked, Reach};
use self::local::Place;
use crate::arguments::Question;
use crate::output::Form;
use crate::reach::{Agents, Said, Where};
use crate::time;

/// Arguments of `egret flows`.
#[derive(Debug, Args)]
pub struct FlowsArguments {
    /// Goes on and shows what happens from now on, or since then
    #[arg(short, long)]
    follow: bool,
    /// Of this pod; NAMESPACE/ for all of a namespace
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pod: Option<String>,
    /// That have this egress address, or this address of a pod
    #[arg(long, value_name = "ADDRESS[:PORT]")]
    address: Option<End>,
    /// To there
    #[arg(long, value_name = "CIDR[:PORT]")]
    to: Option<Destination>,
    /// Of pods of this node only; can be repeated
    #[arg(long, value_name = "NAME")]
    node: Vec<String>,
    /// Those that are open, and those that ended or were refused since then: 10m, or a time [default: 10m]
    #[arg(long, value_name = "WHEN", value_parser = time::moment)]
    since: Option<Timestamp>,
    /// Which nodes can be asked, and how
    #[command(flatten)]
    place: Where,
    /// Reads the log of the node that this runs on, as its administrator: no API server is asked
    #[arg(long)]
    local: bool,
    /// With --local: the agent's --flow-log
    #[arg(long, value_name = "DIR", default_value = "/var/lib/egret/flows")]
    flow_log: PathBuf,
    /// With --local: the agent's --pin-dir
    #[arg(long, value_name = "DIR", default_value = "/sys/fs/bpf/egret")]
    pin_dir: PathBuf,
    /// With --local: one JSON object a line, for the program that asks many nodes
    #[arg(long, hide = true, requires = "local")]
    lines: bool,
    /// Which store, and how to print
    #[command(flatten)]
    question: Question,
}

/// How far back flows are shown, unless something else is asked for.
const USUAL: Duration = Duration::from_secs(600);
/// Some node did not answer.
pub const PARTLY: u8 = 3;

/// Shows flows. Fails softly if a node does not answer.
///
/// # Errors
/// When nobody can be asked.
pub fn run(arguments: FlowsArguments) -> Result<ExitCode> {
    let FlowsArguments {
        follow,
        pod,
        address,
        to,
        node,
        since,
        place,
        local,
        flow_log,
        pin_dir,
        lines,
        question,
    } = arguments;
    let filter = Filter { pod, address, to };
    let since = if follow { since } else { since.or_else(|| time::before(USUAL)) };
    let asked = Asked { filter, since, follow };
    let form = question.output;
    if local {
        let place = Place { flow_log, pin_dir };
        if lines {
            return local::answer(&asked, &place, &mut local::Lines::default()).map(|()| ExitCode::SUCCESS);
        }
        let mut shown = Shown::new(form, follow);
        local::answer(&asked, &place, &mut |answer: Answer| shown.see("", answer))?;
        return shown.end(&BTreeMap::new());
    }
    let mut shown = Shown::new(form, follow);
    let silent = crate::reach::on_runtime(async {
        let agents = Agents::find(&place, &question.store, &node).await?;
        ask(agents, &asked, |node, answer| shown.see(node, answer)).await
    })?;
    shown.end(&silent)
}

/// Asks agents. Returns those that did not answer, with the reason.
///
/// # Errors
/// When what was told cannot be passed on.
pub async fn ask(
    agents: Agents,
    asked: &Asked,
    mut see: impl FnMut(&str, Answer) -> Result<()>,
) -> Result<BTreeMap<String, String>> {
    let mut silent = BTreeMap::new();
    let mut broken = None;
    let hear = |said| {
        match said {
            Said::Line { node, line } => match serde_json::from_str(&line) {
                Ok(answer) => broken = see(&node, answer).err(),
                Err(error) => drop(silent.insert(node, format!("it answered {line:?}: {error}"))),
            },
            Said::Ended { node, why: Some(why) } => drop(silent.insert(node, why)),
            Said::Ended { .. } => (),
        }
        broken.is_none()
    };
    agents.ask(&asked.words(), !asked.follow, hear).await;
    broken.map_or(Ok(silent), Err)
}

/// Names the nodes that did not answer, and returns what the program ends with.
pub fn conclude(silent: &BTreeMap<String, String>) -> ExitCode {
    for (node, why) in silent {
        eprintln!("egret: what node {node} has is not known: {why}");
    }
    if silent.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(PARTLY) }
}

/// What was told so far, and what is shown of it.
struct Shown {
    form: Form,
    follow: bool,
    begun: bool,
    flows: Vec<Flow>,
    reach: BTreeMap<String, Reach>,
}

impl Shown {
    fn new(form: Form, follow: bool) -> Self {
        Self { form, follow, begun: false, flows: Vec::new(), reach: BTreeMap::new() }
    }

    fn see(&mut self, node: &str, answer: Answer) -> Result<()> {
        match answer {
            Answer::Flow(flow) => self.flows.push(Flow { node: node.to_owned(), ..*flow }),
            Answer::End(reach) => drop(self.reach.insert(node.to_owned(), reach)),
            Answer::Event(line) if self.follow => {
                let mut out = std::io::stdout().lock();
                let text = match self.form {
                    Form::Json => serde_json::to_string(&answer::Told { node, line: &line })?,
                    Form::Yaml => {
                        format!("---\n{}", serde_saphyr::to_string(&answer::Told { node, line: &line })?)
                    }
                    Form::Text | Form::Wide => table::event(node, &line, self.form == Form::Wide),
                };
                if !std::mem::replace(&mut self.begun, true) && matches!(self.form, Form::Text | Form::Wide) {
                    writeln!(out, "{}", table::event_header(self.form == Form::Wide))
                        .context("standard output")?;
                }
                writeln!(out, "{}", text.trim_end()).context("standard output")?;
                out.flush().context("standard output")?;
            }
            Answer::Event(_) => (),
        }
        Ok(())
    }

    fn end(mut self, silent: &BTreeMap<String, String>) -> Result<ExitCode> {
        if !self.follow {
            self.flows.sort_by_key(|flow| flow.opened.or(flow.ended));
            let flows = &self.flows;
            self.form.print(flows, |wide| table::flows(flows, wide))?;
            for (node, reach) in &self.reach {
                for word in reach.words() {
                    eprintln!(
                        "egret: {}{word}",
                        if node.is_empty() { String::new() } else { format!("node {node}: ") }
                    );
                }
            }
        }
        Ok(conclude(silent))
    }
}
