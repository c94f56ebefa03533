use super::*;
use serde_json::json;

fn handler() -> Handler {
    Handler { command: "/opt/bin/mnemosyne".into(), data_dir: None }
}

/// The handlers of a hook, of all its groups.
fn handlers(settings: &str, hook: &str) -> Vec<Value> {
    let value = parse(settings).expect("JSON");
    let groups = value["hooks"][hook].as_array().cloned().unwrap_or_default();
    groups.iter().flat_map(|group| group["hooks"].as_array().cloned().unwrap_or_default()).collect()
}

#[test]
fn an_empty_file_gets_every_hook_of_the_table_and_no_other() {
    for empty in ["", "{}\n", " \n"] {
        let settings = register(empty, &handler()).unwrap();
        let value: Value = serde_json::from_str(&settings).expect("strict JSON");
        let names: Vec<&String> = value["hooks"].as_object().unwrap().keys().collect();
        assert_eq!(names, HOOKS.iter().map(|hook| hook.name).collect::<Vec<_>>());
        let ours =
            json!({"type": "command", "command": "/opt/bin/mnemosyne", "args": ["hook"], "timeout": 5});
        for hook in HOOKS {
            assert_eq!(handlers(&settings, hook.name), std::slice::from_ref(&ours));
        }
        assert_eq!(value["hooks"]["PreToolUse"][0]["matcher"], "*");
        assert!(value["hooks"]["Stop"][0].get("matcher").is_none());
    }
}

#[test]
fn the_second_time_changes_nothing_and_taking_out_leaves_what_was_there() {
    for settings in [
        "{\n  \"model\": \"x\"\n}\n",
        "{\r\n\t\"env\": {\"A\": \"1\"}, // why\r\n\t\"hooks\": {\r\n\t\t\"Stop\": [{\"hooks\": [{\"type\": \"command\", \"command\": \"say\"}]}],\r\n\t}\r\n}\r\n",
        "{\"a\":[1,2],\"hooks\":{}}",
    ] {
        let once = register(settings, &handler()).unwrap();
        assert_ne!(once, settings);
        assert_eq!(register(&once, &handler()).unwrap(), once);
        let out = parse(&unregister(&once).unwrap()).unwrap();
        let mut before = parse(settings).unwrap();
        if before["hooks"].as_object().is_some_and(serde_json::Map::is_empty) {
            before.as_object_mut().unwrap().shift_remove("hooks");
        }
        assert_eq!(out, before, "{settings}");
    }
}

#[test]
fn what_is_foreign_stays_with_its_comments_order_and_line_endings() {
    let settings = "// mine\r\n{\r\n    \"b\": 1, /* two */\r\n    \"hooks\": {\r\n        // before stop\r\n        \"Stop\": [\r\n            {\"hooks\": [{\"type\": \"command\", \"command\": \"./check\"}]} // keep\r\n        ]\r\n    },\r\n    \"a\": 2\r\n}\r\n";
    let with = register(settings, &handler()).unwrap();
    for kept in [
        "// mine\r\n{\r\n    \"b\": 1, /* two */\r\n",
        "// before stop\r\n        \"Stop\": [\r\n            {\"hooks\": [{\"type\": \"command\", \"command\": \"./check\"}]}",
        "// keep",
        "\"a\": 2\r\n}\r\n",
    ] {
        assert!(with.contains(kept), "{kept}\n{with}");
    }
    assert_eq!(with.matches('\n').count(), with.matches("\r\n").count(), "one kind of line ending");
    assert_eq!(handlers(&with, "Stop").len(), 2);
    assert!(
        with.contains(
            "\r\n        \"PreToolUse\": [\r\n            {\r\n                \"matcher\": \"*\","
        ),
        "{with}"
    );
}

#[test]
fn a_registration_that_is_there_is_brought_up_to_date_and_kept_single() {
    let settings = r#"{"hooks": {
        "Stop": [{"hooks": [{"type": "command", "command": "mnemosyne", "args": ["hook", "--data-dir", "/d"], "timeout": 9}, {"command": "x"}]}],
        "PreToolUse": [{"matcher": "Bash", "hooks": [{"type": "command", "command": "mnemosyne hook"}]}],
        "SessionEnd": [{"hooks": [{"type": "command", "command": "/old/mnemosyne hook"}]}, {"hooks": [{"type": "command", "command": "/older/mnemosyne hook"}]}]
    }}"#;
    let with = register(settings, &handler()).unwrap();
    let ours = json!({"type": "command", "command": "/opt/bin/mnemosyne", "args": ["hook", "--data-dir", "/d"], "timeout": 9});
    assert_eq!(handlers(&with, "Stop"), [ours, json!({"command": "x"})]);
    let value = parse(&with).unwrap();
    assert_eq!(value["hooks"]["PreToolUse"].as_array().map(Vec::len), Some(1));
    assert_eq!(value["hooks"]["PreToolUse"][0]["matcher"], "*", "a matcher would keep calls away");
    let end = handlers(&with, "SessionEnd");
    assert_eq!(
        (end.len(), &end[0]["command"], &end[0]["args"]),
        (1, &json!("/opt/bin/mnemosyne"), &json!(["hook"]))
    );
    assert_eq!(register(&with, &handler()).unwrap(), with);
    let named = Handler { data_dir: Some("/e".into()), ..handler() };
    let with = register(&with, &named).unwrap();
    assert_eq!(handlers(&with, "Stop")[0]["args"], json!(["hook", "--data-dir", "/e"]));
}

#[test]
fn a_line_that_only_a_shell_can_read_is_left_alone_and_counts() {
    let line = r#"{"hooks": {"Stop": [{"hooks": [{"type": "command", "command": "mnemosyne hook --data-dir \"$HOME/a b\""}]}]}}"#;
    let with = register(line, &handler()).unwrap();
    assert_eq!(handlers(&with, "Stop").len(), 1);
    assert!(with.contains(r#"mnemosyne hook --data-dir \"$HOME/a b\""#));
}

#[test]
fn what_is_no_settings_file_is_refused_by_place() {
    let at = |settings: &str| register(settings, &handler()).unwrap_err().to_string();
    assert!(at("{\n  \"a\": 1\n  \"b\": 2\n}").contains("line 2"), "{}", at("{\n  \"a\": 1\n  \"b\": 2\n}"));
    assert!(at("{\n  \"a\": ]\n}").contains("line 2, column 8"), "{}", at("{\n  \"a\": ]\n}"));
    assert!(at("{'a': 1}").contains("line 1"));
    assert!(at("{} {}").contains("no JSON"));
    assert!(at("[]").contains("the top"));
    assert!(at(r#"{"hooks": []}"#).contains("`hooks`"));
    assert!(at(r#"{"hooks": {"Stop": {}}}"#).contains("`hooks.Stop`"));
    assert!(at(r#"{"hooks": {}, "hooks": {}}"#).contains("twice"));
    assert!(at(&"[".repeat(100_000)).contains("no JSON"), "deep nesting is no crash");
}

#[test]
fn taking_out_leaves_a_file_without_us_as_it_is() {
    for settings in ["", "{}", "{\"hooks\":{\"Stop\":[]}}", "{\"hooks\": 4}", "{ \"x\" : [ ] }"] {
        assert_eq!(unregister(settings).unwrap(), settings);
    }
}

#[test]
fn our_mcp_server_is_put_in_once_and_taken_out() {
    let foreign = "{\n  \"mcpServers\": {\n    \"other\": {\"command\": \"o\"}\n  }\n}\n";
    let at = |command: &str| Handler { command: command.into(), data_dir: None };
    for servers in ["", foreign] {
        let with = register_mcp(servers, &handler()).unwrap();
        let ours = &parse(&with).unwrap()["mcpServers"]["mnemosyne"];
        assert_eq!(*ours, json!({"type": "stdio", "command": "/opt/bin/mnemosyne", "args": ["serve"]}));
        assert_eq!(register_mcp(&with, &handler()).unwrap(), with);
        let moved = register_mcp(&with, &at("/new/mnemosyne")).unwrap();
        assert_eq!(parse(&moved).unwrap()["mcpServers"]["mnemosyne"]["command"], "/new/mnemosyne");
        let named = Handler { data_dir: Some("/e".into()), ..handler() };
        let named_text = register_mcp(&with, &named).unwrap();
        let args = &parse(&named_text).unwrap()["mcpServers"]["mnemosyne"]["args"];
        assert_eq!(*args, json!(["serve", "--data-dir", "/e"]));
        assert_eq!(register_mcp(&named_text, &named).unwrap(), named_text);
        assert_eq!(register_mcp(&named_text, &handler()).unwrap(), named_text, "what its user chose stays");
    }
    let out = unregister_mcp(&register_mcp(foreign, &at("/m/mnemosyne")).unwrap()).unwrap();
    assert_eq!(parse(&out), parse(foreign));
    assert_eq!(unregister_mcp(foreign).unwrap(), foreign);
}

#[test]
fn our_server_is_let_in_once_unless_its_user_keeps_it_out() {
    let others = "{\n  \"enabledMcpjsonServers\": [\n    \"other\"\n  ], // mine\n  \"a\": 1.50\n}\n";
    for (settings, listed) in [("{}", json!(["mnemosyne"])), (others, json!(["other", "mnemosyne"]))] {
        let with = let_in(settings).unwrap();
        assert_eq!(parse(&with).unwrap()["enabledMcpjsonServers"], listed);
        assert_eq!(let_in(&with).unwrap(), with);
        assert_eq!(parse(&forget(&with).unwrap()), parse(settings));
        assert_eq!(forget(settings).unwrap(), settings);
    }
    let out = r#"{"disabledMcpjsonServers": ["mnemosyne"]}"#;
    assert_eq!(let_in(out).unwrap(), out);
    assert!(matches!(let_in(r#"{"enabledMcpjsonServers": 3}"#), Err(SettingsError::Shape { .. })));
}

#[test]
fn another_programs_server_of_our_name_is_left_alone() {
    let http = r#"{"type": "http", "url": "http://127.0.0.1:1"}"#;
    for server in [http, r#"{"command": "other", "args": ["serve"]}"#, "3"] {
        let servers = format!("{{\"mcpServers\": {{\"mnemosyne\": {server}}}}}");
        let refused = register_mcp(&servers, &handler()).unwrap_err();
        assert!(refused.to_string().starts_with("`mcpServers.mnemosyne` is another program's"), "{refused}");
        assert_eq!(unregister_mcp(&servers).unwrap(), servers);
    }
}
