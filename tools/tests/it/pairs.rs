//! Two directories: a copy that is salvaged, two that are compared.

use mnemosyne::event::{Kind, StoredEvent};

use crate::support::{Run, RunOut as _, World, find, inspect, options, write};

fn diff(a: &std::path::Path, b: &std::path::Path) -> Run {
    inspect().arg("diff").arg(a).arg(b).run()
}

fn salvage(world: &World, extra: &[&str]) -> (Run, std::path::PathBuf) {
    let new = world.path("salvaged");
    let run = inspect().arg("salvage").arg(world.data()).arg("-o").arg(&new).args(extra).run();
    (run, new)
}

fn exported(dir: &std::path::Path) -> Vec<StoredEvent> {
    let run = inspect().arg("export").arg(dir).run();
    run.stdout.lines().map(|line| StoredEvent::from_json(line).expect("an event")).collect()
}

#[test]
fn a_whole_journal_is_salvaged_without_loss() {
    let world = World::with_events(30);
    let (run, new) = salvage(&world, &[]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(exported(&new), exported(&world.data()));
    assert_eq!(inspect().arg("verify").arg(&new).run().code, 0);
}

#[test]
fn what_was_lost_is_named_and_its_place_is_kept() {
    let world = World::with_events(30);
    world.damage(0, |bytes| {
        let at = find(bytes, b"prompt number 4");
        bytes[at] ^= 1;
    });
    world.damage(1, |bytes| bytes.truncate(900));
    let lost = world.json(&["verify", "DIR"])["lost"].as_u64().unwrap();
    assert!(lost > 1);
    let (run, new) = salvage(&world, &["--json"]);
    assert_eq!(run.code, 4, "{}", run.stderr);
    let report: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((&report["lost"], &report["kept"]), (&lost.into(), &(30 - lost).into()));
    assert_eq!((&report["losses"][0]["from_seq"], &report["losses"][0]["to_seq"]), (&5.into(), &5.into()));
    let verified = inspect().args(["verify", "--json"]).arg(&new).run();
    assert_eq!(verified.code, 0, "{}", verified.stdout);
    let (copy, original) = (exported(&new), exported(&world.data()));
    assert_eq!(copy.len(), 30, "every seq holds something");
    assert!(copy.iter().enumerate().all(|(n, stored)| stored.seq.get() == n as u64 + 1));
    for stored in &original {
        assert!(copy.contains(stored), "seq {} is kept as it was", stored.seq);
    }
    let replaced = copy.iter().filter(|stored| stored.event.kind == Kind::CorruptionDetected).count();
    assert_eq!(replaced as u64, lost);
}

#[test]
fn renumbering_leaves_no_places() {
    let world = World::with_events(30);
    std::fs::remove_file(&world.segments()[0]).unwrap();
    let kept = exported(&world.data());
    let first = kept[0].seq.get();
    assert!(first > 1);
    let (run, new) = salvage(&world, &["--renumber"]);
    assert_eq!(run.code, 0, "what retention may have dropped is not lost: {}", run.stdout);
    let copy = exported(&new);
    assert_eq!((copy.len(), copy[0].seq.get()), (kept.len(), 1));
    let other = World::with_events(30);
    std::fs::remove_file(&other.segments()[0]).unwrap();
    let (_, new) = salvage(&other, &[]);
    assert_eq!(exported(&new)[0].seq.get(), first, "without it seqs stay");
    assert_eq!(inspect().arg("verify").arg(&new).run().code, 0);
}

#[test]
fn salvage_refuses_a_directory_that_exists_or_lies_inside() {
    let world = World::with_events(3);
    std::fs::create_dir(world.path("salvaged")).unwrap();
    let (run, new) = salvage(&world, &[]);
    assert!(run.code == 2 && run.stderr.contains("is there already"), "{}", run.stderr);
    assert!(!run.stderr.contains("os error"), "{}", run.stderr);
    assert_eq!(std::fs::read_dir(new).unwrap().count(), 0);
    let inside = world.data().join("journal/new");
    let run = inspect().arg("salvage").arg(world.data()).arg("-o").arg(&inside).run();
    assert!(run.code == 2 && !inside.exists(), "{}", run.stderr);
}

#[test]
fn an_older_copy_is_the_same_as_far_as_it_goes() {
    let world = World::with_events(20);
    let old = world.copy("old");
    let same = diff(&world.data(), &old);
    assert_eq!((same.code, first_line(&same)), (0, "the same, both up to seq 20"));
    world.append(20..30);
    let longer = diff(&world.data(), &old);
    assert_eq!(
        (longer.code, first_line(&longer)),
        (0, "the same up to seq 20; the first goes on for 10 seqs")
    );
    let shorter = diff(&old, &world.data());
    assert_eq!(first_line(&shorter), "the same up to seq 20; the second goes on for 10 seqs");
}

fn first_line(run: &Run) -> &str {
    run.stdout.lines().next().unwrap_or_default()
}

#[test]
fn damage_in_what_diff_reads_is_told_and_it_says_how_much_that_is() {
    let world = World::with_events(60);
    let old = world.copy("old");
    let segments = world.segments().len();
    assert!(segments > 3);
    // The control: nothing is told of whole ones, nor of what is not read.
    assert_eq!(diff(&world.data(), &old).code, 0);
    let flip = |segment: usize| {
        world.damage(segment, |bytes| {
            let at = find(bytes, b"prompt number");
            bytes[at] ^= 1;
        });
    };
    flip(0);
    let unread = diff(&world.data(), &old);
    assert_eq!(unread.code, 0, "{}", unread.stderr);
    let said = format!("read whole: 1 of {segments} segments of the first, 1 of {segments} segments");
    assert!(unread.stdout.contains(&said), "{}", unread.stdout);
    flip(segments - 1);
    for (first, second) in [(&world.data(), &old), (&old, &world.data())] {
        let run = diff(first, second);
        assert!(run.code == 4 && run.stderr.contains("damage: "), "{} {}", run.stdout, run.stderr);
    }
}

#[test]
fn what_is_told_of_damage_is_told_once_and_of_one_side() {
    // They part in the segment that is damaged, so that its records are looked at as well as its links.
    let (a, b) = (World::with_events(20), World::with_events(20));
    a.append(20..22);
    b.append(30..32);
    for (world, side) in [(&a, "first"), (&b, "second")] {
        let last = world.segments().len() - 1;
        let whole = std::fs::read(&world.segments()[last]).unwrap();
        world.damage(last, |bytes| {
            let at = find(bytes, b"prompt number");
            bytes[at] ^= 1;
        });
        let run = diff(&a.data(), &b.data());
        let told: Vec<&str> = run.stderr.lines().collect();
        assert!(run.stdout.starts_with("they differ from seq 21 on: "), "{}", run.stdout);
        assert!(
            matches!(told[..], [told] if told.starts_with(&format!("damage: of the {side}: "))),
            "{told:#?}"
        );
        world.damage(last, |bytes| *bytes = whole);
    }
}

#[test]
fn what_one_goes_on_for_is_told_with_what_was_found_lost_of_it() {
    let world = World::with_events(20);
    let old = world.copy("old");
    world.append(20..30);
    let last = world.segments().len() - 1;
    world.damage(last, |bytes| {
        let at = find(bytes, b"make step-29");
        bytes[at] ^= 1;
    });
    let words = "goes on for 10 seqs, 1 of them known to be lost";
    for (dirs, side) in [([&world.data(), &old], "first"), ([&old, &world.data()], "second")] {
        let run = diff(dirs[0], dirs[1]);
        assert_eq!((run.code, first_line(&run)), (4, &*format!("the same up to seq 20; the {side} {words}")));
        let json = inspect().args(["diff", "--json"]).args(dirs).run();
        let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
        assert_eq!((&json["last_seq"].as_array().unwrap().len(), &json["lost_beyond"]), (&2, &1.into()));
    }
}

#[test]
fn a_segment_that_one_side_lacks_is_its_damage_and_a_difference() {
    let world = World::with_events(40);
    let bases = bases(&world);
    for missing in 1..bases.len() - 1 {
        let hole = (bases[missing], bases[missing + 1] - 1);
        let damaged = world.copy(&format!("without {missing}"));
        std::fs::remove_file(damaged.join("journal").join(world.segments()[missing].file_name().unwrap()))
            .unwrap();
        for (dirs, side) in [([&damaged, &world.data()], "first"), ([&world.data(), &damaged], "second")] {
            let run = diff(dirs[0], dirs[1]);
            let words = format!(
                "they differ from seq {} on: no segment of the {side} holds seq {} to {}",
                hole.0, hole.0, hole.1
            );
            assert!(run.code == 4 && first_line(&run).starts_with(&words), "{} {}", run.stdout, run.stderr);
            let told: Vec<&str> = run.stderr.lines().collect();
            let damage = format!("damage: of the {side}: ");
            assert!(
                matches!(told[..], [told] if told.starts_with(&damage) && told.ends_with("no segment holds these records")),
                "{told:#?}"
            );
            let json = inspect().args(["diff", "--json"]).args(dirs).run();
            let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
            assert_eq!((&json["same"], &json["first_different_seq"]), (&false.into(), &hole.0.into()));
            assert_eq!(json["last_seq"], serde_json::json!([40, 40]));
        }
        // Both lack the same: damage of both, and no difference.
        let run = diff(&damaged, &damaged);
        assert_eq!((run.code, first_line(&run)), (4, "the same, both up to seq 40"));
        assert_eq!(run.stderr.lines().count(), 2, "{}", run.stderr);
    }
}

#[test]
fn a_segment_that_is_missing_where_only_one_goes_on_is_lost_there() {
    let world = World::with_events(20);
    let old = world.copy("old");
    world.append(20..60);
    let bases = bases(&world);
    let missing = bases.partition_point(|base| *base <= 21);
    std::fs::remove_file(&world.segments()[missing]).unwrap();
    let lost = bases[missing + 1] - bases[missing];
    let run = diff(&world.data(), &old);
    let words =
        format!("the same up to seq 20; the first goes on for 40 seqs, {lost} of them known to be lost");
    assert_eq!((run.code, first_line(&run)), (4, &*words), "{}", run.stderr);
}

fn bases(world: &World) -> Vec<u64> {
    let info = world.json(&["info", "DIR"]);
    info["segments"].as_array().unwrap().iter().map(|segment| segment["base"].as_u64().unwrap()).collect()
}

#[test]
fn a_journal_without_a_chain_is_refused_whatever_its_headers_say() {
    let without = World::new();
    let journal = without.open(options().with_chain(false));
    write(&journal, 0..40);
    journal.close().unwrap();
    let chained = World::with_events(40);
    let segments = without.segments().len();
    assert!(segments > 2);
    // Each header from the last to the first; the control: one with a chain is compared all the same.
    for damaged in 0..=segments {
        if let Some(segment) = segments.checked_sub(damaged).filter(|segment| *segment < segments) {
            without.damage(segment, |bytes| bytes[20] ^= 1);
            chained.damage(segment.min(chained.segments().len() - 1), |bytes| bytes[20] ^= 1);
        }
        for dirs in [[without.data(), chained.data()], [chained.data(), without.data()]] {
            let run = diff(&dirs[0], &dirs[1]);
            assert!(
                run.code == 1 && run.stderr.contains("was written without a chain"),
                "{damaged}: {} {} {}",
                run.code,
                run.stdout,
                run.stderr
            );
        }
        let copy = chained.copy(&format!("copy {damaged}"));
        let run = diff(&chained.data(), &copy);
        assert_eq!(first_line(&run), "the same, both up to seq 40", "{damaged}: {}", run.stderr);
    }
}

#[test]
fn two_that_went_different_ways_part_at_one_seq() {
    let (a, b) = (World::with_events(20), World::with_events(20));
    a.append(20..40);
    let journal = b.open(options());
    write(&journal, 20..23);
    write(&journal, 50..70);
    journal.close().unwrap();
    let run = diff(&a.data(), &b.data());
    assert_eq!(run.code, 1);
    assert!(run.stdout.starts_with("they differ from seq 24 on: "), "{}", run.stdout);
    let json = inspect().args(["diff", "--json"]).arg(a.data()).arg(b.data()).run();
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((&json["same_to_seq"], &json["first_different_seq"]), (&23.into(), &24.into()));
}

#[test]
fn the_payloads_before_the_difference_are_not_read() {
    let (a, b) = (World::with_events(60), World::with_events(60));
    a.append(60..63);
    b.append(70..73);
    assert!(a.segments().len() > 4);
    // A payload of the first segment is damaged on one side: nobody looks at it.
    a.damage(0, |bytes| {
        let at = find(bytes, b"prompt number 4");
        bytes[at] ^= 1;
    });
    let run = diff(&a.data(), &b.data());
    assert!(run.code == 1 && run.stdout.contains("from seq 61 on"), "{} {}", run.stdout, run.stderr);
}
