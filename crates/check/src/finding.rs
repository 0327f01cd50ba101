//! What was looked at, and how it is.

use std::fmt::Write as _;

use serde::Serialize;

/// How something is.
#[derive(Serialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it must be.
    Ok,
    /// Egret works, but not all of it, or not as well; or it could not be looked at.
    Warning,
    /// Egret does not work.
    Failure,
}

impl Verdict {
    /// The verdict in one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Failure => "failure",
        }
    }
}

/// One thing that was looked at.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What was looked at.
    pub looked_at: String,
    /// How it is.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do about it; absent if nothing has to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cure: Option<String>,
}

impl Finding {
    /// All is well.
    pub fn ok(looked_at: impl Into<String>, found: impl Into<String>) -> Self {
        Finding { looked_at: looked_at.into(), verdict: Verdict::Ok, found: found.into(), cure: None }
    }

    /// It works, but.
    pub fn warning(looked_at: impl Into<String>, found: impl Into<String>, cure: impl Into<String>) -> Self {
        Finding { verdict: Verdict::Warning, cure: Some(cure.into()), ..Self::ok(looked_at, found) }
    }

    /// It does not work.
    pub fn failure(looked_at: impl Into<String>, found: impl Into<String>, cure: impl Into<String>) -> Self {
        Finding { verdict: Verdict::Failure, cure: Some(cure.into()), ..Self::ok(looked_at, found) }
    }
}

/// Everything that was looked at, in the order in which one would mend it.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The worst of the findings.
    pub verdict: Verdict,
    /// The findings.
    pub findings: Vec<Finding>,
}

impl From<Vec<Finding>> for Report {
    fn from(findings: Vec<Finding>) -> Self {
        let verdict = findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Ok);
        Report { verdict, findings }
    }
}

impl Report {
    /// The report for people, one line for each thing and one for its cure. Verdicts are coloured if `colour`.
    pub fn text(&self, colour: bool) -> String {
        let width = self.findings.iter().map(|finding| finding.looked_at.len()).max().unwrap_or(0);
        let mut text = String::new();
        for Finding { looked_at, verdict, found, cure } in &self.findings {
            let word = format!("{:7}", verdict.as_str());
            let word = if colour { format!("\x1b[{}m{word}\x1b[0m", sgr(*verdict)) } else { word };
            let _ = writeln!(text, "{word}  {looked_at:width$}  {found}");
            if let Some(cure) = cure {
                let _ = writeln!(text, "{:7}  {:width$}  cure: {cure}", "", "");
            }
        }
        let count = |verdict| self.findings.iter().filter(|finding| finding.verdict == verdict).count();
        let [ok, warning, failure] = [Verdict::Ok, Verdict::Warning, Verdict::Failure].map(count);
        let _ = write!(text, "{ok} ok, {warning} to be looked at, {failure} to be mended");
        text
    }
}

/// Green, yellow, red.
fn sgr(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Ok => 32,
        Verdict::Warning => 33,
        Verdict::Failure => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_is_as_bad_as_its_worst_finding_and_tells_each_cure_below_it() {
        let report = Report::from(vec![
            Finding::ok("kernel", "6.18"),
            Finding::failure("nft", "it is not there", "apt-get install nftables"),
            Finding::warning("MTU", "small", "make it larger"),
        ]);
        assert_eq!(report.verdict, Verdict::Failure);
        let expected = "ok       kernel  6.18\n\
                        failure  nft     it is not there\n                 cure: apt-get install nftables\n\
                        warning  MTU     small\n                 cure: make it larger\n\
                        1 ok, 1 to be looked at, 1 to be mended";
        assert_eq!(report.text(false), expected);
        assert!(report.text(true).contains("\x1b[31mfailure\x1b[0m  nft"));
        assert_eq!(Report::from(Vec::new()).verdict, Verdict::Ok);
    }
}
