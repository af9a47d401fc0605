//! The assembler against random hostile root file systems. It holds host privilege over what an image and its volumes contain, so
//! each round makes a tree full of traps and a configuration that walks into them, and judges from outside what the runtime did:
//!
//! - the whole host is as it was: every name, owner, mode and content outside of what the container was given;
//! - nothing outside the root, the volumes and the runtime's own state was opened for writing, made, removed, renamed, or given
//!   another owner or mode, not even for a moment ([`watch`], which says what it cannot see);
//! - nothing was mounted outside the root, neither on the host nor in the mount namespace where the root was assembled: a
//!   createContainer hook takes its table, in half of the rounds where one is needed for that (Linux 7.0, ADR 14), and no mount in it has
//!   a peer, which would be the host's;
//! - the runtime ended in time (a FIFO opened by mistake never ends), and with an error in its own words where it failed;
//! - no mount, group, process or state is left.
//!
//! In half of the rounds another thread swaps directories and symlinks of the tree all the while.
//!
//! `URUN_ASSEMBLER_SECONDS` is for how long (60), `URUN_ASSEMBLER_SEED` the seed of the first round (0, so that a change is not charged
//! with what another one did; `make test-security` begins elsewhere every time); each next one has the next number, so a round
//! that failed is run again with its seed and 0 seconds. A word as argument chooses modes by name.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::exit)] // a test program
#![allow(unsafe_code)] // system calls that nix does not have

#[path = "../common/mod.rs"]
mod common;

mod config;
mod random;
mod round;
mod tree;
mod watch;
mod world;

use common::Mode;
use random::Random;
use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

const MODES: [(&str, Mode); 3] =
    [("root", Mode::Root), ("root_userns", Mode::RootUserns), ("rootless_range", Mode::RootlessRange)];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let chosen =
        |name: &str| words.is_empty() || words.iter().any(|word| format!("assembler::{name}").contains(word));
    let modes: Vec<_> = MODES.into_iter().filter(|(name, _)| chosen(name)).collect();
    if modes.is_empty() {
        return;
    }
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let time = Duration::from_secs(number("URUN_ASSEMBLER_SECONDS").unwrap_or(60));
    let first = number("URUN_ASSEMBLER_SEED").unwrap_or(0);
    println!("running {} tests for {} s, seed {first}", modes.len(), time.as_secs());

    let mut world = world::World::enter();
    let (start, mut tally, mut failed) = (Instant::now(), BTreeMap::<&str, Tally>::new(), Vec::new());
    for seed in first.. {
        // A seed alone tells the round, also where not every mode was chosen.
        let (name, mode) = MODES[usize::try_from(seed % 3).unwrap()];
        if chosen(name) {
            let outcome =
                catch_unwind(AssertUnwindSafe(|| round::run(&mut world, mode, &mut Random::new(seed))));
            let tally = tally.entry(name).or_default();
            tally.rounds += 1;
            if let Ok(done) = outcome {
                tally.ran += u32::from(done);
            } else {
                eprintln!("assembler::{name} failed: URUN_ASSEMBLER_SEED={seed} URUN_ASSEMBLER_SECONDS=0");
                failed.push(name);
            }
        }
        if failed.len() > 4 || (start.elapsed() >= time && (tally.len() == modes.len() || time.is_zero())) {
            break;
        }
    }
    for (name, Tally { rounds, ran }) in &tally {
        let word = if failed.contains(name) { "FAILED" } else { "ok" };
        println!("test assembler::{name} ... {word} ({rounds} rounds, the container ran in {ran})");
    }
    failed.sort_unstable();
    failed.dedup();
    let (word, passed) = (if failed.is_empty() { "ok" } else { "FAILED" }, tally.len() - failed.len());
    println!(
        "\ntest result: {word}. {passed} passed; {} failed; 0 ignored; 0 measured; 0 filtered out; finished in {:.2}s\n",
        failed.len(),
        start.elapsed().as_secs_f64()
    );
    std::process::exit(i32::from(!failed.is_empty()));
}

/// What became of the rounds of a mode: where none runs to its end, the traps are too many and nothing much is tested.
#[derive(Default)]
struct Tally {
    rounds: u32,
    ran: u32,
}
