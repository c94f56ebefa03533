//! What a process holds, as Linux tells it, and whether that grows.

use std::fmt::Write as _;
use std::path::PathBuf;

/// How much more than in its second quarter a server may hold in the last one of a run. What was seen stands in docs/performance.md.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Growth {
    resident: u64,
    /// Connections and segments that come and go.
    descriptors: u64,
    /// Threads for blocking work come and go.
    threads: u64,
    /// Sealed segments and stacks of threads are mapped and unmapped.
    maps: u64,
}

const MIB: u64 = 1 << 20;

/// At a hundred events a second: four times what was seen in twenty seconds (1.0 MiB, 2 descriptors, 1 thread, 4 maps), and ten times the growth of an hour
/// (0.4 MiB, none, none, 2). Between the middles of the two quarters of an hour lie 225,000 events: a leak of 20 bytes each is beyond it.
pub(crate) const STEADY: Growth = Growth { resident: 4 * MIB, descriptors: 6, threads: 4, maps: 16 };

/// At full speed, for less than a million events: the server still grows into its load, by up to 12 MiB in an unoptimised build on a busy
/// machine, and takes up to four more threads for blocking work.
pub(crate) const WARMING_UP: Growth = Growth { resident: 16 * MIB, descriptors: 8, threads: 6, maps: 32 };

/// At full speed, for a million events and more: twice what was seen (4 MiB, less than nothing, 1 thread, 7 maps). Of a day's events a leak of
/// two bytes each is beyond it.
pub(crate) const LONG: Growth = Growth { resident: 8 * MIB, descriptors: 8, threads: 4, maps: 16 };

/// Fewer samples show no trend.
const SAMPLES_MIN: usize = 12;

/// What a process holds at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Bytes of memory that are in RAM, mapped files included.
    pub(crate) resident: u64,
    pub(crate) descriptors: u64,
    pub(crate) threads: u64,
    pub(crate) maps: u64,
    /// Processor time since its start, in hundredths of a second.
    pub(crate) cpu_ticks: u64,
}

impl Usage {
    #[track_caller]
    pub(crate) fn of(pid: u32) -> Usage {
        let proc = PathBuf::from(format!("/proc/{pid}"));
        let read = |name: &str| std::fs::read_to_string(proc.join(name)).expect("the process is there");
        let status = read("status");
        // The name, in brackets, may hold anything; what follows it is numbers.
        let stat = read("stat");
        let after_name: Vec<&str> = stat.rsplit(')').next().expect("a name").split_whitespace().collect();
        let ticks = |at: usize| after_name[at].parse::<u64>().expect("ticks");
        Usage {
            resident: field(&status, "VmRSS:") * 1024,
            descriptors: std::fs::read_dir(proc.join("fd")).expect("its descriptors").count() as u64,
            threads: field(&status, "Threads:"),
            maps: read("maps").lines().count() as u64,
            cpu_ticks: ticks(11) + ticks(12),
        }
    }
}

/// How often the threads of a process have gone to sleep so far: each time that one woke up and found nothing more to do is one.
#[track_caller]
pub(crate) fn sleeps(pid: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("its threads");
    tasks
        .map(|task| {
            // A thread that ends meanwhile sleeps no more.
            let status = std::fs::read_to_string(task.expect("a thread").path().join("status"));
            status.map_or(0, |status| field(&status, "voluntary_ctxt_switches:"))
        })
        .sum()
}

#[track_caller]
fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or_else(|| panic!("no {name} in {status}"))
}

/// Whether a process whose `samples` were taken at equal distances holds about as much in the last quarter as in the second: the
/// first is for warming up. Of each quarter the median counts, since what a single moment shows depends on who is connected.
pub(crate) fn flat(samples: &[Usage], growth: Growth) -> Result<(), String> {
    assert!(samples.len() >= SAMPLES_MIN, "{} samples show no trend", samples.len());
    let quarter = samples.len() / 4;
    let (early, late) = (&samples[quarter..2 * quarter], &samples[samples.len() - quarter..]);
    let mut grown = String::new();
    let mut check = |what: &str, of: fn(&Usage) -> u64, max: u64| {
        let (early, late) = (median(early, of), median(late, of));
        if late > early + max {
            let _ = write!(grown, "{what} grew from {early} to {late}, by more than {max}; ");
        }
    };
    check("resident bytes", |usage| usage.resident, growth.resident);
    check("descriptors", |usage| usage.descriptors, growth.descriptors);
    check("threads", |usage| usage.threads, growth.threads);
    check("maps", |usage| usage.maps, growth.maps);
    if grown.is_empty() { Ok(()) } else { Err(grown) }
}

fn median(samples: &[Usage], of: fn(&Usage) -> u64) -> u64 {
    let mut values: Vec<u64> = samples.iter().map(of).collect();
    values.sort_unstable();
    values[values.len() / 2]
}

/// Samples in one line: each of `of`, in thousands where they are large.
pub(crate) fn line(samples: &[Usage]) -> String {
    let first_and_last = |of: fn(&Usage) -> u64| {
        let quarter = samples.len() / 4;
        (median(&samples[quarter..2 * quarter], of), median(&samples[samples.len() - quarter..], of))
    };
    let resident = first_and_last(|usage| usage.resident / 1024);
    let (descriptors, threads) =
        (first_and_last(|usage| usage.descriptors), first_and_last(|usage| usage.threads));
    let maps = first_and_last(|usage| usage.maps);
    format!(
        "from the second quarter to the last: {} -> {} KiB, {} -> {} descriptors, {} -> {} threads, {} -> {} maps",
        resident.0, resident.1, descriptors.0, descriptors.1, threads.0, threads.1, maps.0, maps.1
    )
}

#[test]
fn slow_growth_of_any_kind_is_told_from_noise() {
    let steady = |at: u64| Usage {
        resident: (40 << 20) + (at * 7_919 % 5) * (1 << 20),
        descriptors: 20 + at * 31 % 9,
        threads: 8 + at % 3,
        maps: 100 + at * 13 % 21,
        cpu_ticks: at,
    };
    let samples = |of: &dyn Fn(u64) -> Usage| -> Vec<Usage> { (0..40).map(of).collect() };
    for growth in [STEADY, WARMING_UP, LONG] {
        assert_eq!(flat(&samples(&steady), growth), Ok(()));
    }
    let leaks: [(&str, &dyn Fn(u64) -> Usage); 4] = [
        ("resident bytes", &|at| Usage { resident: steady(at).resident + at * MIB, ..steady(at) }),
        ("descriptors", &|at| Usage { descriptors: steady(at).descriptors + at, ..steady(at) }),
        ("threads", &|at| Usage { threads: 8 + at / 2, ..steady(at) }),
        ("maps", &|at| Usage { maps: 100 + at * 3, ..steady(at) }),
    ];
    for (what, leak) in leaks {
        for growth in [STEADY, WARMING_UP, LONG] {
            let told = flat(&samples(leak), growth).expect_err(what);
            assert!(told.starts_with(what), "{told}");
        }
    }
    // Slower by far, and told by the narrowest: a quarter of a MiB a sample, half a descriptor, a quarter of a thread, a map.
    let slow = samples(&|at| Usage {
        resident: 40 * MIB + at * MIB / 4,
        descriptors: 20 + at / 2,
        threads: 8 + at / 4,
        maps: 100 + at,
        cpu_ticks: at,
    });
    let told = flat(&slow, STEADY).expect_err("a slow leak of everything");
    for what in ["resident bytes", "descriptors", "threads", "maps"] {
        assert!(told.contains(what), "{what}: {told}");
    }
    assert_eq!(flat(&slow, Growth { resident: 6 * MIB, descriptors: 10, threads: 6, maps: 20 }), Ok(()));
    // What warms up is no leak.
    assert_eq!(flat(&samples(&|at| Usage { resident: at.min(10) << 23, ..steady(at) }), STEADY), Ok(()));
}
