//! A run: for each number of policies, all configurations are built side by side and measured in turn, round by round.

use crate::cluster::Cluster;
use crate::egret::{self, Egret};
use crate::load::clock::cpu_time;
use crate::machine::Head;
use crate::measure::figure;
use crate::measure::{self, Effort, Metric, Programs};
use crate::rows::Samples;
use crate::rules::{ALL, Configuration, Kind};
use crate::{cleanup, plan, report, rules};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// What to run.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Rounds: each runs all configurations once, in turn.
    #[arg(long, default_value_t = 5)]
    pub reps: usize,
    /// One or two minutes instead of ten: fewer rounds, shorter, only one policy.
    #[arg(long)]
    pub quick: bool,
    /// Only these configurations.
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<String>,
    /// Only these measurements.
    #[arg(long, value_delimiter = ',', value_enum)]
    pub metric: Vec<Metric>,
    /// Numbers of policies.
    #[arg(long, value_delimiter = ',', default_value = "1,100,1000")]
    pub policies: Vec<usize>,
    /// Milliseconds of one measurement.
    #[arg(long, default_value_t = 600)]
    pub time: u64,
    /// Datagrams per second while the gateway's cost is measured.
    #[arg(long, default_value_t = 30_000)]
    pub steady: u64,
    /// Connections per second while the cost of a connection is measured.
    #[arg(long, default_value_t = 3_000)]
    pub paced: u64,
    /// When something fails, wait for an interruption with everything still up.
    #[arg(long)]
    pub pause: bool,
    /// The program measured. Absent: `egret` beside this one.
    #[arg(long)]
    pub egret: Option<PathBuf>,
    /// Where the results go.
    #[arg(long, default_value = "out")]
    pub out: PathBuf,
}

impl Options {
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|wanted| wanted == name)
    }
}

/// One policy: everything. More: what a growing rule set would show.
const FULL: [Metric; 6] =
    [Metric::Tcp, Metric::Pps, Metric::Cps, Metric::Rtt, Metric::Gateway, Metric::Outside];
const SCALED: [Metric; 2] = [Metric::Pps, Metric::Cps];

/// Measures everything asked for and reports it.
pub fn run(options: &Options) -> Result<()> {
    ensure!(nix::unistd::geteuid().is_root(), "network namespaces need root: run this as root");
    let options = &settled(options)?;
    cleanup::leftovers();
    cleanup::on_signal()?;
    let head = Head::now(options);
    let mut samples = Samples::default();
    let result = measure_all(options, &mut samples);
    cleanup::remove(std::process::id() as i32);
    result?;
    samples.less_base(figure::WHOLE, rules::DIRECT, figure::OUTSIDE);
    let mut rows = samples.rows();
    let mut failed = Ok(());
    if options.wants(plan::NAME) && options.metric.is_empty() && !options.quick {
        eprintln!("plan time in a cluster of 5,000 nodes");
        match plan::measure() {
            Ok(planned) => rows.extend(planned),
            Err(error) => failed = Err(error),
        }
    }
    report::write(&options.out, &head, &rows)?;
    failed
}

/// One configuration, up and running.
struct Built {
    configuration: Configuration,
    cluster: Cluster,
    egret: Option<Egret>,
    programs: Programs,
}

impl Built {
    fn new(configuration: Configuration, policies: usize, options: &Options) -> Result<Self> {
        let cluster = Cluster::build(configuration.name, policies)?;
        (configuration.apply)(&cluster, policies)?;
        let egret = match (configuration.kind, &options.egret) {
            (Kind::Egret, Some(program)) => {
                Some(Egret::start(program, &cluster, configuration.name, policies)?)
            }
            _ => None,
        };
        Ok(Self { configuration, cluster, egret, programs: Programs::default() })
    }

    /// Figures of a way out with a wrong source would be worth nothing.
    fn check(&self) -> Result<()> {
        let mut seen = measure::seen(&self.cluster);
        for _ in 0..2 {
            if let Err(error) = &seen {
                eprintln!("{}: again: {error:#}", self.configuration.name);
                seen = measure::seen(&self.cluster);
            }
        }
        let seen = seen.context("no connection")?;
        let expected = self.configuration.source.address().to_string();
        ensure!(seen == expected, "the outside host sees {seen} instead of {expected}");
        Ok(())
    }

    /// Agents probe and sweep even if nothing happens: that is no connection's cost. After a start they announce their
    /// addresses twice; what they take when that is over is what counts.
    fn watch_idle(&mut self) -> Result<()> {
        const OVER: Duration = Duration::from_secs(1);
        let Some(egret) = &self.egret else { return Ok(()) };
        let pids = egret.agents();
        let mut idle = f64::MAX;
        for _ in 0..30 {
            let before = cpu_time(&pids)?;
            std::thread::sleep(OVER);
            let now = (cpu_time(&pids)? - before) as f64 / OVER.as_nanos() as f64;
            let settled = now > idle * 0.8 && now < idle * 1.25;
            idle = now;
            if settled || idle < 0.02 {
                break;
            }
        }
        self.programs = Programs { pids, idle };
        Ok(())
    }

    fn remove(self) {
        drop(self.egret);
        self.cluster.remove();
    }
}

fn settled(options: &Options) -> Result<Options> {
    let mut options = options.clone();
    if options.quick {
        options.reps = options.reps.min(2);
        options.time = options.time.min(300);
        options.policies = vec![1];
    }
    if options.egret.is_none() {
        options.egret = Some(std::env::current_exe()?.with_file_name("egret"));
    }
    for name in &options.only {
        let known: Vec<&str> = ALL.iter().map(|one| one.name).chain([plan::NAME]).collect();
        ensure!(
            known.contains(&name.as_str()),
            "--only {name}: no such configuration; there are {}",
            known.join(", ")
        );
    }
    ensure!(options.policies.iter().all(|count| (1..=1000).contains(count)), "--policies: 1 to 1000 each");
    Ok(options)
}

fn measure_all(options: &Options, samples: &mut Samples) -> Result<()> {
    for &policies in &options.policies {
        let configurations: Vec<Configuration> = ALL
            .iter()
            .filter(|one| options.wants(one.name) && (policies == 1 || one.scales))
            .copied()
            .collect();
        if configurations.is_empty() {
            continue;
        }
        let mut metrics = if policies == 1 { FULL.to_vec() } else { SCALED.to_vec() };
        if !options.metric.is_empty() {
            metrics = options.metric.clone();
        }
        eprintln!("{policies} {}: building {}", plural(policies), configurations.len());
        let mut built = Vec::new();
        for configuration in configurations {
            built.push(Built::new(configuration, policies, options).with_context(|| configuration.label)?);
        }
        for one in &mut built {
            let checked = one.check().with_context(|| one.configuration.label);
            if let (Err(error), true) = (&checked, options.pause) {
                eprintln!("egret-bench: {error:#}\nwaiting: interrupt to clean up");
                loop {
                    std::thread::park();
                }
            }
            checked?;
            one.watch_idle()?;
            if one.egret.is_some() {
                samples.add(one.configuration.name, figure::IDLE, policies, 0, one.programs.idle * 100.0);
            }
        }
        rounds(options, samples, &built, &metrics, policies);
        for one in built {
            if let Some(egret) = one.egret.as_ref().filter(|_| options.metric.is_empty()) {
                egret::record_memory(egret, &one.cluster, one.configuration.name, policies, samples)?;
            }
            one.remove();
        }
    }
    Ok(())
}

fn rounds(options: &Options, samples: &mut Samples, built: &[Built], metrics: &[Metric], policies: usize) {
    let effort = Effort { time: options.time, steady: options.steady, paced: options.paced };
    for round in 0..options.reps {
        eprintln!("{policies} {}: round {} of {}", plural(policies), round + 1, options.reps);
        for &metric in metrics {
            for one in built
                .iter()
                .filter(|one| one.configuration.name != rules::DIRECT || metric == Metric::Outside)
            {
                for (figure, value) in attempt(one, metric, effort) {
                    samples.add(one.configuration.name, figure, policies, round, value);
                }
            }
        }
    }
}

/// A machine that is busy with something else may spoil one measurement: it is made again, and left out if it fails
/// each time.
fn attempt(one: &Built, metric: Metric, effort: Effort) -> BTreeMap<&'static str, f64> {
    for _ in 0..3 {
        match measure::measure(&one.cluster, metric, effort, &one.programs) {
            Ok(figures) => return figures,
            Err(error) => eprintln!("{}: {metric:?}: again: {error:#}", one.configuration.name),
        }
    }
    BTreeMap::new()
}

fn plural(policies: usize) -> &'static str {
    if policies == 1 { "policy" } else { "policies" }
}
