//! The NAT against a naive model of it, and against hostile frames. Needs root.
//!
//! In the environment, decimal or 0x...: `EGRET_MODEL_STEPS` against the model, `EGRET_FUZZ_FRAMES` of hostile bytes,
//! `EGRET_SEED` where all begin, `EGRET_WORLD` the seed that a failure named: only that world is run.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is a test's verdict")]
#![allow(clippy::result_large_err, reason = "packets are values here, and few")]

mod dice;
mod duel;
mod frame;
mod fuzz;
mod generator;
mod kept;
#[path = "../vectors/kernel.rs"]
#[allow(dead_code, reason = "the vectors use all of it")]
mod kernel;
#[path = "../vectors/names.rs"]
#[allow(dead_code, reason = "the vectors use all of it")]
mod names;
mod nat;
mod packet;
#[path = "../vectors/pieces.rs"]
mod pieces;
mod reading;
mod rig;
mod step;
mod sums;
#[path = "../support/mod.rs"]
mod support;
mod universe;
#[path = "../vectors/world.rs"]
#[allow(dead_code, reason = "the vectors use all of it")]
mod world;

use std::collections::BTreeMap;
use std::time::Instant;

use dice::Dice;
use duel::Duel;
use rig::Rig;
use support::alone;

/// Steps, or frames, in one world.
const EPISODE: u64 = 2000;

type Verdicts = BTreeMap<&'static str, u64>;

/// A number from the environment.
fn given(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let digits = text.strip_prefix("0x");
    let number = digits.map_or_else(|| text.parse(), |digits| u64::from_str_radix(digits, 16));
    Some(number.unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// So many episodes, each in a world of its own; the first that fails tells its story.
fn worlds(seed: u64, most: u64, episode: fn(&mut Rig, u64) -> Result<Verdicts, String>) {
    alone(move |bpf| {
        let mut rig = Rig::load(bpf);
        let mut seeds = Dice::new(given("EGRET_SEED").map_or(seed, |given| given ^ seed));
        let mut seen = Verdicts::new();
        let mut done = 0;
        let start = Instant::now();
        let only = given("EGRET_WORLD");
        while done < most && (only.is_none() || done == 0) {
            let world = only.unwrap_or_else(|| seeds.bits());
            let verdicts = episode(&mut rig, world).unwrap_or_else(|story| panic!("{story}"));
            verdicts.into_iter().for_each(|(name, times)| *seen.entry(name).or_default() += times);
            done += EPISODE;
        }
        println!("{done} in {:.1} s: {seen:?}", start.elapsed().as_secs_f32());
    });
}

/// Half of the steps: tests run two at a time.
fn duel(seed: u64) {
    let steps = given("EGRET_MODEL_STEPS").unwrap_or(1_000_000) / 2;
    worlds(seed, steps, |rig, seed| Duel::episode(rig, seed, EPISODE));
}

#[test]
fn the_programs_do_what_the_model_does() {
    duel(0xe6_7e70);
}

#[test]
fn the_programs_do_what_the_model_does_in_other_worlds() {
    duel(0x0dd_ba11);
}

#[test]
fn hostile_frames_break_nothing() {
    worlds(0xf22, given("EGRET_FUZZ_FRAMES").unwrap_or(200_000), |rig, seed| {
        fuzz::episode(rig, seed, EPISODE)
    });
}
