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
