//! Runs a test under a scheduler that chooses, by a seed, which thread runs next: for the journal's threads and for subscribers over them.

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner};

/// How many preemptions a PCT schedule places.
const PREEMPTIONS: usize = 3;

/// Which schedules, unless `MNEMOSYNE_SCHEDULES` and `MNEMOSYNE_SEED` say otherwise.
pub(crate) struct Schedules {
    pub(crate) count: usize,
    pub(crate) seed: u64,
}

impl Schedules {
    /// Runs `test` under as many schedules as asked for, of both kinds.
    pub(crate) fn explore(&self, name: &str, test: impl Fn() + Copy + Send + Sync + 'static) {
        let asked = number("MNEMOSYNE_SCHEDULES").map(|count| usize::try_from(count).expect("small"));
        self.run(name, asked.unwrap_or(self.count), test);
    }

    /// `test` fails once `control` is broken, in the default number of schedules.
    pub(crate) fn is_found<C: Copy + Debug>(
        &self,
        break_for_control: impl Fn(Option<C>),
        control: C,
        test: impl Fn() + Copy + Send + Sync + 'static,
    ) {
        break_for_control(Some(control));
        let outcome = catch_unwind(AssertUnwindSafe(|| self.run("control", self.count, test)));
        break_for_control(None);
        assert!(outcome.is_err(), "no schedule found that {control:?} is broken");
    }

    fn run(&self, name: &str, count: usize, test: impl Fn() + Copy + Send + Sync + 'static) {
        let seed = number("MNEMOSYNE_SEED").unwrap_or(self.seed);
        let config = || {
            let mut config = Config::new();
            config.silence_warnings = true;
            config
        };
        let ran = Runner::new(RandomScheduler::new_from_seed(seed, count), config()).run(test);
        let pct = PctScheduler::new_from_seed(seed, PREEMPTIONS, count);
        let ran_pct = Runner::new(pct, config()).run(test);
        eprintln!("{name}: {ran} random schedules, {ran_pct} PCT, MNEMOSYNE_SEED={seed}");
        assert_eq!((ran, ran_pct), (count, count), "schedules were left out");
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}
