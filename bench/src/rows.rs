//! The figures of a run: kept by round, so that ratios compare what ran side by side.

use crate::measure::unit;
use serde::Serialize;
use std::collections::BTreeMap;

/// What all configurations are compared with.
pub const BASE: &str = "plain";

/// All that was measured, by (configuration, figure, policies).
#[derive(Default)]
pub struct Samples {
    by_round: BTreeMap<(String, String, usize), BTreeMap<usize, f64>>,
}

/// Median and spread.
#[derive(Serialize, Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The middle value.
    pub median: f64,
    /// The smallest value.
    pub min: f64,
    /// The largest value.
    pub max: f64,
}

impl Spread {
    /// Of any number of values but none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let half = values.len() / 2;
        let median =
            if values.len() % 2 == 1 { values[half] } else { (values[half - 1] + values[half]) / 2.0 };
        Some(Self { median, min, max })
    }
}

/// One figure of one configuration.
#[derive(Serialize, Clone, Debug)]
pub struct Row {
    /// The configuration.
    pub config: String,
    /// The figure.
    pub metric: String,
    /// Its unit.
    pub unit: String,
    /// Number of policies in force.
    pub policies: usize,
    /// Median and spread of the figure.
    #[serde(flatten)]
    pub spread: Spread,
    /// How often it was measured.
    pub n: usize,
    /// The figure over that of plain routing in the same round.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share_of_plain: Option<Spread>,
}

impl Samples {
    /// Keeps one value.
    pub fn add(&mut self, config: &str, figure: &str, policies: usize, round: usize, value: f64) {
        self.by_round.entry((config.into(), figure.into(), policies)).or_default().insert(round, value);
    }

    /// Makes one figure of another: less that of one configuration in the same round.
    pub fn less_base(&mut self, whole: &str, base: &str, rest: &str) {
        let mut made = Vec::new();
        for ((config, figure, policies), values) in &self.by_round {
            let less = self.by_round.get(&(base.to_owned(), whole.to_owned(), *policies));
            for (round, value) in values.iter().filter(|_| figure == whole && config != base) {
                if let Some(less) = less.and_then(|less| less.get(round)) {
                    made.push((config.clone(), *policies, *round, value - less));
                }
            }
        }
        for (config, policies, round, value) in made {
            self.add(&config, rest, policies, round, value);
        }
    }

    /// Everything as rows, by configuration.
    pub fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for ((config, figure, policies), values) in &self.by_round {
            let Some(spread) = Spread::of(values.values().copied()) else { continue };
            let base = self.by_round.get(&(BASE.into(), figure.clone(), *policies));
            let share = base.and_then(|base| {
                Spread::of(values.iter().filter_map(|(round, value)| Some(value / base.get(round)?)))
            });
            rows.push(Row {
                config: config.clone(),
                metric: figure.clone(),
                unit: unit(figure).into(),
                policies: *policies,
                spread,
                n: values.len(),
                share_of_plain: share,
            });
        }
        rows
    }
}

/// The row of a configuration, if it was measured.
pub fn find<'a>(rows: &'a [Row], config: &str, figure: &str, policies: usize) -> Option<&'a Row> {
    rows.iter().find(|row| row.config == config && row.metric == figure && row.policies == policies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_is_between() {
        let spread = Spread::of([4.0, 1.0, 2.0, 3.0]).unwrap();
        assert_eq!(spread, Spread { median: 2.5, min: 1.0, max: 4.0 });
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn shares_compare_within_a_round() {
        let mut samples = Samples::default();
        for (round, plain, other) in [(0, 100.0, 50.0), (1, 200.0, 100.0), (2, 50.0, 25.0)] {
            samples.add(BASE, "x", 1, round, plain);
            samples.add("other", "x", 1, round, other);
        }
        let rows = samples.rows();
        let share = find(&rows, "other", "x", 1).unwrap().share_of_plain.unwrap();
        assert_eq!(share, Spread { median: 0.5, min: 0.5, max: 0.5 });
    }
}
