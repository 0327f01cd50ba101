//! One vector: a packet, what the node holds, and everything that must come of it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use egret_datapath::layout::{VNI_PROBE, VNI_TO_POD, VNI_TO_WIRE};

use crate::describe;
use crate::kernel::{Kernel, Outcome};
use crate::names::{HOST, mac};
use crate::support::alone;
use crate::world::{Interfaces, World, addr};

/// Where a packet is met.
#[derive(Clone, Copy)]
pub struct Place {
    program: &'static str,
    link: fn(&Interfaces) -> u32,
}

pub const FROM_POD: Place = Place { program: "from_pod", link: |on| on.pod };
pub const FROM_OTHER_POD: Place = Place { program: "from_pod", link: |on| on.other_pod };
pub const FROM_SECOND: Place = Place { program: "from_second", link: |on| on.pod };
pub const FROM_PARENT: Place = Place { program: "from_parent", link: |on| on.pod };
pub const TO_POD: Place = Place { program: "to_pod", link: |on| on.pod };
pub const FROM_OVERLAY: Place = Place { program: "from_overlay", link: |on| on.overlay };
pub const TO_OVERLAY: Place = Place { program: "to_overlay", link: |on| on.overlay };
pub const A_PIECE: Place = Place { program: "piece", link: |on| on.wire };
pub const FROM_WIRE: Place = Place { program: "from_wire", link: |on| on.wire };
pub const FROM_OTHER_WIRE: Place = Place { program: "from_wire", link: |on| on.other_wire };
pub const FROM_UNDERLAY: Place = Place { program: "from_underlay", link: |on| on.underlay };

/// A vector. What is not said must not happen: no other counter moves, no other entry changes, the frame stays.
pub struct Case {
    name: &'static str,
    place: Place,
    came_by: Option<(IpAddr, u32)>,
    frame: Vec<u8>,
    given: Box<dyn Fn(&mut World) + Send>,
    verdict: &'static str,
    out: Option<String>,
    tunnel: Option<(IpAddr, u32)>,
    changes: Vec<String>,
    pieces: Vec<usize>,
    told: Option<Vec<String>>,
}

/// A vector, by what it says.
pub fn case(name: &'static str, place: Place, frame: impl Into<Vec<u8>>) -> Case {
    let mut frame = frame.into();
    // Packets are written as a pod sends them; what comes by a wire is sent to the wire.
    if place.program == "from_wire" && frame[..6] == HOST {
        frame[..6].copy_from_slice(&mac("wire"));
    }
    Case {
        name,
        place,
        came_by: None,
        frame,
        given: Box::new(|_| {}),
        verdict: "",
        out: None,
        tunnel: None,
        changes: Vec::new(),
        pieces: Vec::new(),
        told: None,
    }
}

fn tunnel(text: &str) -> (IpAddr, u32) {
    let (node, what) = text.split_once(' ').unwrap();
    let vni = match what {
        "to-wire" => VNI_TO_WIRE,
        "to-pod" => VNI_TO_POD,
        "probe" => VNI_PROBE,
        other => other.parse().unwrap(),
    };
    (addr(node), vni)
}

impl Case {
    /// Node and purpose of the tunnel that the packet came by: `10.0.0.4 to-wire`.
    pub fn came_by(mut self, text: &str) -> Self {
        self.came_by = Some(tunnel(text));
        self
    }

    /// What the node holds other than the standard one.
    pub fn given(mut self, change: impl Fn(&mut World) + Send + 'static) -> Self {
        self.given = Box::new(change);
        self
    }

    /// The one verdict that is counted.
    pub fn is(mut self, verdict: &'static str) -> Self {
        self.verdict = verdict;
        self
    }

    /// The frame as it leaves.
    pub fn leaves_as(mut self, frame: &str) -> Self {
        self.out = Some(frame.to_owned());
        self
    }

    /// It leaves as several packets of so many bytes; [`Case::leaves_as`] is what they are together.
    pub fn in_pieces(mut self, sizes: &[usize]) -> Self {
        self.pieces = sizes.to_vec();
        self
    }

    /// Node and purpose of the tunnel that it leaves by.
    pub fn by(mut self, text: &str) -> Self {
        self.tunnel = Some(tunnel(text));
        self
    }

    /// Entries that come (`+`) and go (`-`).
    pub fn and(mut self, changes: &[&str]) -> Self {
        self.changes = changes.iter().map(|line| (*line).to_owned()).collect();
        self
    }

    /// What is told of flows, where that is not plain from what comes and goes: a flow that comes was opened, one that goes
    /// was an orphan, and what a pod sent and is not sent on was refused. A packet whose addresses cannot be read is nobody's.
    pub fn tells(mut self, records: &[&str]) -> Self {
        self.told = Some(records.iter().map(|record| (*record).to_owned()).collect());
        self
    }

    fn must_be_told(&self) -> Vec<String> {
        if let Some(told) = &self.told {
            return told.clone();
        }
        let flow = |line: &String, sign: &str, event: &str| {
            let words: Vec<&str> = line.strip_prefix(sign)?.strip_prefix(" flow ")?.split(' ').collect();
            // What the flow is in is not its identity.
            let other = if sign == "+" { "-" } else { "+" };
            let same = format!("{other} flow {} {} ", words[0], words[1]);
            let stays = self.changes.iter().any(|line| line.starts_with(&same));
            (!stays).then(|| format!("{event} {}", words[..4].join(" ")))
        };
        let opened = self.changes.iter().filter_map(|line| flow(line, "+", "opened"));
        let ended = self.changes.iter().filter_map(|line| flow(line, "-", "orphaned"));
        let everyday = matches!(self.verdict, "TOLD_TTL" | "TOLD_TOO_BIG");
        let refused = self.verdict.starts_with("DROP") || self.verdict.starts_with("TOLD");
        let of_pod = matches!(self.place.program, "from_pod" | "from_second");
        let refused = (refused && of_pod && !everyday).then(|| format!("refused {}", self.verdict));
        ended.chain(opened).chain(refused).collect()
    }

    /// The verdict that the case expects.
    pub fn verdict(&self) -> &'static str {
        self.verdict
    }

    fn failures(&self, kernel: &mut Kernel) -> Option<String> {
        let mut world = World::standard(kernel.on);
        (self.given)(&mut world);
        kernel.fill(&world);
        let link = (self.place.link)(&kernel.on);
        let outcome = kernel.run(self.place.program, link, self.came_by, &self.frame);
        let after = kernel.read(&world);
        let mut wrong = self.wrong(&outcome, &world.state(), &after.state());
        let told: Vec<String> = kernel.told().iter().map(describe::event).collect();
        if told != self.must_be_told() {
            wrong.push(format!("records\n      are     {told:?}\n      must be {:?}", self.must_be_told()));
        }
        (!wrong.is_empty()).then(|| {
            let state = after.state().into_iter().collect::<Vec<_>>().join("\n    ");
            format!(
                "{}\n  {} {}\n  {}\n  the maps after:\n    {state}\n  {world:#?}\n",
                self.name,
                self.place.program,
                describe::frame(&self.frame),
                wrong.join("\n  ")
            )
        })
    }

    fn wrong(&self, outcome: &Outcome, before: &BTreeSet<String>, after: &BTreeSet<String>) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut compare = |what: &str, is: String, must_be: String| {
            if is != must_be {
                wrong.push(format!("{what}\n      is      {is}\n      must be {must_be}"));
            }
        };
        let counted: Vec<String> = outcome.counters.iter().map(|(name, n)| format!("{name} {n}")).collect();
        let expected = if self.verdict.is_empty() { String::new() } else { format!("{} 1", self.verdict) };
        compare("counters", counted.join(", "), expected);
        compare("answer to the kernel", answer(outcome.verdict).to_owned(), self.answer().to_owned());
        let same = describe::frame(&self.frame);
        let is = describe::frame(&outcome.frame);
        match &self.out {
            Some(out) => compare("frame", is, out.clone()),
            // Dropped packets may be half changed; nobody sees them.
            None if self.answer() == "drop" => {}
            None if outcome.frame == self.frame => {}
            None => compare(
                "frame",
                format!("{is} {:02x?}", outcome.frame),
                format!("{same} {:02x?}", self.frame),
            ),
        }
        let by = |tunnel: Option<(IpAddr, u32)>| {
            tunnel.map_or("none".to_owned(), |(node, vni)| format!("{node} {vni:#x}"))
        };
        if self.answer() != "drop" {
            compare("tunnel", by(outcome.tunnel), by(self.tunnel));
        }
        compare("pieces", format!("{:?}", outcome.pieces), format!("{:?}", self.pieces));
        let come = after.difference(before).map(|line| format!("+ {line}"));
        let gone = before.difference(after).map(|line| format!("- {line}"));
        let changes: BTreeSet<String> = come.chain(gone).collect();
        let expected: BTreeSet<String> = self.changes.iter().cloned().collect();
        let lines = |set: BTreeSet<String>| set.into_iter().collect::<Vec<_>>().join("\n              ");
        compare("changes", lines(changes), lines(expected));
        wrong
    }

    /// What the kernel must hear for the verdict.
    fn answer(&self) -> &'static str {
        match self.verdict.split_once('_').map_or("", |(first, _)| first) {
            "DROP" => "drop",
            "" if self.place.program == "piece" => "redirect",
            "PASS" | "" => "next",
            _ if self.verdict == "SENT_PROBE" => "next",
            _ => "redirect",
        }
    }
}

fn answer(code: u32) -> &'static str {
    match code as i32 {
        -1 => "next",
        2 => "drop",
        7 => "redirect",
        _ => "something else",
    }
}

/// Runs all cases in a namespace of their own, and tells all that fail.
pub fn run(cases: Vec<Case>) {
    alone(move |bpf: &Path| {
        let mut kernel = Kernel::load(bpf);
        let failures: Vec<String> = cases.iter().filter_map(|case| case.failures(&mut kernel)).collect();
        assert!(
            failures.is_empty(),
            "{} of {} vectors:\n\n{}",
            failures.len(),
            cases.len(),
            failures.join("\n")
        );
    });
}
