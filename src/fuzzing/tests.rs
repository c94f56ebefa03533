//! Every property over its seeds and over mutants of them: what a fuzzer does, for a moment, with the same outcome each time.

use std::panic::{AssertUnwindSafe, catch_unwind};

use mnemosyne_journal::sim::Rng;

use super::{TARGETS, secrets, target};
use crate::event::Redactor;

/// Mutants of each seed.
const MUTANTS: u64 = 24;

/// A mutant: a few bytes changed, a piece left out, doubled or cut off.
fn mutant(seed: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=rng.below(3) {
        let place = |rng: &mut Rng, len: usize| usize::try_from(rng.below(len as u64 + 1)).unwrap();
        let (from, to) = (place(rng, bytes.len()), place(rng, bytes.len()));
        let (from, to) = (from.min(to), from.max(to).min(from.min(to) + 64));
        match rng.below(5) {
            0 => bytes.truncate(from),
            1 => drop(bytes.drain(from..to)),
            2 => {
                let piece = bytes[from..to].to_vec();
                drop(bytes.splice(from..from, piece));
            }
            3 => bytes[from..to].iter_mut().for_each(|byte| *byte = u8::try_from(rng.below(256)).unwrap()),
            _ if from < bytes.len() => bytes[from] ^= 1 << rng.below(8),
            _ => {}
        }
    }
    bytes
}

fn holds(property: fn(&[u8]), bytes: &[u8]) -> bool {
    catch_unwind(AssertUnwindSafe(|| property(bytes))).is_ok()
}

#[test]
fn every_property_holds_for_its_seeds_and_their_mutants() {
    let mut broken = Vec::new();
    for (at, target) in TARGETS.iter().enumerate() {
        let seeds = (target.seeds)();
        assert!(seeds.len() >= 2, "{} has hardly a seed", target.name);
        let mut rng = Rng::new(at as u64);
        let mutants =
            seeds.iter().flat_map(|seed| (0..MUTANTS).map(|_| mutant(seed, &mut rng)).collect::<Vec<_>>());
        let mutants: Vec<Vec<u8>> = mutants.collect();
        let mut inputs = [vec![Vec::new()], seeds, mutants].into_iter().flatten();
        if let Some(bytes) = inputs.find(|bytes| !holds(target.property, bytes)) {
            broken.push(format!("{}: {}", target.name, bytes.escape_ascii()));
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn names_are_distinct_and_found() {
    for one in TARGETS {
        assert_eq!(TARGETS.iter().filter(|other| other.name == one.name).count(), 1, "{}", one.name);
        assert!(target(one.name).is_some());
    }
    assert!(target("nothing").is_none());
}

#[test]
fn without_redaction_the_property_of_secrets_goes_red() {
    let seeds = secrets::text_seeds();
    assert!(seeds.iter().all(|seed| catch_unwind(|| secrets::text_with(seed, &Redactor::new())).is_ok()));
    assert!(seeds.iter().all(|seed| catch_unwind(|| secrets::text_with(seed, &Redactor::off())).is_err()));
}
