use super::fields::Unseen;
use super::predicate::{OFFERED, Predicate, STACK_BYTES};

fn holds(code: &str, state: &str) -> bool {
    Predicate::parse(code).unwrap().holds(state).unwrap()
}

fn refused(code: &str) -> String {
    match Predicate::parse(code) {
        Ok(_) => panic!("{code} is taken"),
        Err(error) => {
            assert_eq!(error.exit_code(), 2, "{code}");
            error.to_string()
        }
    }
}

#[test]
fn a_question_is_answered_by_any_result_that_is_not_false_or_null() {
    let state = r#"{"a":[{"n":1,"s":"x"},{"n":3,"s":"y"}],"big":18446744073709551615}"#;
    for yes in [
        ".a[] | .n > 2",
        ".a | any(.n == 3)",
        "[.a[].n] | add == 4",
        ".a | map(select(.s | startswith(\"y\"))) | length == 1",
        ".a as [$one, $two] | $two.n > $one.n",
        ".big == 18446744073709551615",
        "if .a then true else false end",
        "(try error(\"x\") catch .) == \"x\"",
        ".a | to_entries | .[1].key == 1",
        "[..|numbers] | max > 100",
        ".missing // true",
        "\"\\(.a[0].n)!\" == \"1!\"",
    ] {
        assert!(holds(yes, state), "{yes}");
    }
    for no in [".a[] | .n > 9", ".b", "false", "empty", "null", ".a | all(.n == 3)", ".b.c.d > 1"] {
        assert!(!holds(no, state), "{no}");
    }
    assert!(Predicate::parse(".big.a").unwrap().holds(state).is_err(), "a number has no fields");
}

#[test]
fn every_function_that_is_offered_is_there() {
    for (name, arguments) in OFFERED {
        let arguments = vec!["."; *arguments].join("; ");
        let call = if arguments.is_empty() { (*name).to_owned() } else { format!("{name}({arguments})") };
        if let Err(error) = Predicate::parse(&call) {
            panic!("{call}: {error}");
        }
    }
}

/// What no state had, in the form `name`, `name^` for one at the top, and `=nearest`.
fn unknown(code: &str, states: &[&str]) -> Vec<String> {
    let mut unseen = Unseen::of(Predicate::parse(code).unwrap().fields());
    states.iter().for_each(|state| unseen.look(state));
    let told = unseen.told(states.last().unwrap(), true);
    let words = told.into_iter().map(|field| {
        let top = if field.at_top { "^" } else { "" };
        field.name + top + &field.nearest.map_or_else(String::new, |nearest| format!("={nearest}"))
    });
    words.collect()
}

#[test]
fn a_field_that_no_state_has_is_told_with_the_nearest() {
    let state =
        r#"{"sessions":{"s-1":{"counts":{"tools_failed":1},"title":"counted: \"titel\": x"}},"seq_last":3}"#;
    for (code, expected) in [
        (".sesions | length > 9", &["sesions^=sessions"][..]),
        (".sessions[] | .counts.tools_faled >= 1", &["tools_faled=tools_failed"]),
        (".sessions[].count.tools_failed > 1", &["count=counts"]),
        (".sessions[\"s-1\"].titel", &["titel=title"]),
        (".counts.tools_failed > 1", &["counts^"]),
        ("if .seq_lst then .zebra else 1 end", &["seq_lst^=seq_last", "zebra^"]),
        ("any(.sesions[]; .title)", &["sesions^=sessions"]),
        (". as $all | $all.sesions", &["sesions=sessions"]),
        (". as {sesions: $x} | $x", &["sesions^=sessions"]),
        ("select(.seq_lst > 1)", &["seq_lst^=seq_last"]),
        ("has(\"seqlast\")", &["seqlast^=seq_last"]),
        ("\"\\(.seq_lst)\" == \"\"", &["seq_lst^=seq_last"]),
        (". | .seq_lst", &["seq_lst^=seq_last"]),
        ("{sesions}", &["sesions^=sessions"]),
        // What is there, and what the expression makes itself.
        (".sessions[] | .counts.tools_failed > 9", &[]),
        ("{n: .seq_last} | .n > 9", &[]),
        (".sessions | to_entries | .[0].key == \"s-2\"", &[]),
        (".sessions | to_entries | from_entries | .made", &[]),
        ("[.sessions[] | .title] | length > 9", &[]),
        ("try error({oops: 1}) catch .oops", &[]),
    ] {
        assert_eq!(unknown(code, &[state]), expected, "{code}");
    }
    // A name that stands elsewhere is no field of what it is asked of.
    let state = r#"{"runs":{"r":{"begun":1}},"totals":{"failed":2},"none":{}}"#;
    for (code, expected) in [
        (".runs[].failed >= 1", &["failed"][..]),
        (".runs[]? | select(.begun > 0) | .failed", &["failed"]),
        ("any(.runs[]; .failed > 0)", &["failed"]),
        (".runs | map(.totals.failed) | add > 0", &["totals"]),
        (".runs[].begn > 1", &["begn=begun"]),
        (".totals.failed > 9 or .runs.r.begun > 9", &[]),
        (".none[].failed > 1", &[]),
    ] {
        assert_eq!(unknown(code, &[state]), expected, "{code}");
    }
    // One of the states had it.
    assert!(unknown(".runs[].failed", &[r#"{"runs":{"r":{"failed":0}}}"#, state]).is_empty());
    assert!(unknown(".gone", &[r#"{"gone":null}"#, "{}"]).is_empty());
    assert_eq!(unknown(".gone", &[r#"{"a":{"gone":1}}"#]), ["gone^"]);
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    for (code, place) in [
        (".a | (", "column 6"),
        (".a ==", "column 6"),
        (".a | nothing", "column 6"),
        (".a | $x", "column 6"),
        ("\"é\" | repeat(.)", "column 7"),
        (".a @ 3", "column 5"),
        ("", "column 1"),
    ] {
        let words = refused(code);
        assert!(words.contains(place), "{code}: {words}");
    }
}

#[test]
fn what_never_ends_or_looks_elsewhere_is_refused() {
    for code in [
        "repeat(1)",
        "def f: f; f",
        "[range(1000000000)]",
        "reduce .[] as $x (0; . + 1)",
        "foreach .[] as $x (0; . + 1)",
        "recurse(.)",
        "until(false; .)",
        "while(true; .)",
        "\"x\" * 1000000000000",
        "[.[0:3] | . *2]",
        ".[1000000000000] = 1",
        ". |= .",
        ". += 1",
        ". //= 1",
        "setpath([1000000000000]; 1)",
        "input",
        "inputs",
        "env",
        "$ENV",
        "now",
        "halt",
        "debug",
        "stderr",
        "@base64",
        "@base64 \"x\"",
        "include \"x\"; .",
        "import \"x\" as y; .",
        "combinations(9)",
        "{a: repeat(1)}",
        "{(repeat(1) | tostring): 1}",
        ".[repeat(1)]",
        "\"\\(repeat(1))\"",
        ". as {(repeat(1)): $x} | $x",
        "if repeat(1) then 1 else 2 end",
        "try repeat(1) catch 1",
        "-repeat(1)",
        "first(repeat(1))",
    ] {
        refused(code);
    }
    refused(&"(".repeat(5_000));
}

#[test]
fn the_most_nested_expression_gets_by_with_the_stack_that_it_is_promised() {
    let nested = || {
        refused(&"(".repeat(4_096));
        refused(&format!("{}repeat(1)", "-".repeat(4_000)));
        assert!(holds(&format!("{}.{}", "[".repeat(2_000), "]".repeat(2_000)), "1"));
        assert!(holds(&format!("{}1", ".|".repeat(2_000)), "1"));
    };
    std::thread::Builder::new().stack_size(STACK_BYTES).spawn(nested).unwrap().join().unwrap();
}
