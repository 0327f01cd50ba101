//! What the kernel's verifier has to walk through before it takes each program. It gives up at a million. Needs root.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is a test's verdict")]

mod support;

use aya::EbpfLoader;
use aya::programs::SchedClassifier;
use egret_datapath::{OBJECT, PROGRAMS, load_program};
use support::alone;

/// Far enough from the limit for kernels that walk another way.
const MOST: u32 = 400_000;

#[test]
fn every_program_is_small_enough_for_any_verifier() {
    alone(|bpf| {
        let mut ebpf = EbpfLoader::new().default_map_pin_directory(bpf).load(OBJECT).unwrap();
        let walked: Vec<(&str, u32)> = PROGRAMS
            .into_iter()
            .map(|name| {
                let program: &mut SchedClassifier = ebpf.program_mut(name).unwrap().try_into().unwrap();
                load_program(program).unwrap();
                let count = program.info().unwrap().verified_instruction_count();
                (name, count.expect("this test needs Linux 5.16"))
            })
            .collect();
        for (name, count) in &walked {
            println!("{name:14} {count:7} instructions verified");
        }
        let large: Vec<_> = walked.iter().filter(|(_, count)| *count > MOST).collect();
        assert!(large.is_empty(), "more than {MOST} instructions: {large:?}");
    });
}
