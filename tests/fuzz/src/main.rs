//! One binary for all targets: `MNEMOSYNE_FUZZ_TARGET` names the one whose property is tried, and `MNEMOSYNE_FUZZ_SEEDS` a
//! directory into which its seeds are written before the fuzzer reads it. `tests/fuzz/run` sets both.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use mnemosyne::fuzzing::{TARGETS, Target, target};

static CHOSEN: OnceLock<Target> = OnceLock::new();

fn choose() -> Target {
    let name = std::env::var("MNEMOSYNE_FUZZ_TARGET").unwrap_or_default();
    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    let chosen = target(&name).unwrap_or_else(|| panic!("MNEMOSYNE_FUZZ_TARGET is one of {}", names.join(" ")));
    if let Some(directory) = std::env::var_os("MNEMOSYNE_FUZZ_SEEDS") {
        for (at, seed) in (chosen.seeds)().into_iter().enumerate() {
            let path = std::path::Path::new(&directory).join(format!("seed-{at:03}"));
            std::fs::write(&path, seed).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }
    chosen
}

fuzz_target!(init: { CHOSEN.get_or_init(choose); }, |bytes: &[u8]| {
    (CHOSEN.get_or_init(choose).property)(bytes);
});
