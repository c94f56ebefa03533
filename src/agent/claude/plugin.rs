//! The hooks of the Claude Code plugin: the files of [`FILES`], made from the same table as what `init` writes.
//!
//! A plugin does not know where the program is installed, so it calls a script beside the files that looks on the search
//! path and does nothing where there is none. Its calls carry `--plugin`, and stand aside where the settings register the
//! same hook ([`super::registration`]).
//!
//! One name that an agent does not know costs it the whole file that names it, and nothing else. So the hooks that not every agent
//! knows which the plugin may meet are in a file of their own. An older agent says of the plugin that it failed to load, names these
//! hooks, and runs the others.

use serde_json::{Map, json};

use super::hooks::{HOOKS, Hook, TIMEOUT_SECONDS};

/// The script, from the plugin's root.
const SCRIPT: &str = "${CLAUDE_PLUGIN_ROOT}/.claude-plugin/hooks/hook.sh";

/// The files from the plugin's root, as its manifest names them, and which hooks are in each.
pub const FILES: [(&str, fn(&Hook) -> bool); 2] = [
    ("./.claude-plugin/hooks/hooks.json", |hook| hook.known_to_min),
    ("./.claude-plugin/hooks/newer.json", |hook| !hook.known_to_min),
];

/// The text of a file with these hooks.
pub fn hooks_json(is_in: fn(&Hook) -> bool) -> String {
    let handler = json!({"type": "command", "command": "sh", "args": [SCRIPT], "timeout": TIMEOUT_SECONDS});
    let mut hooks = Map::new();
    for hook in HOOKS.iter().filter(|hook| is_in(hook)) {
        let mut group = Map::new();
        if let Some(matcher) = hook.matcher {
            group.insert("matcher".into(), matcher.into());
        }
        group.insert("hooks".into(), json!([handler]));
        hooks.insert(hook.name.into(), json!([group]));
    }
    let file = json!({"description": "Hooks of an observer, recorded by mnemosyne", "hooks": hooks});
    format!("{file:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::collections::BTreeMap;

    fn path(name: &str) -> String {
        format!("{}/.claude-plugin/{name}", env!("CARGO_MANIFEST_DIR"))
    }

    fn read(name: &str) -> Value {
        serde_json::from_str(&std::fs::read_to_string(path(name)).unwrap()).unwrap()
    }

    #[test]
    fn the_plugins_files_are_made_from_the_table() {
        for (file, is_in) in FILES {
            let (file, fresh) = (format!("{}/{file}", env!("CARGO_MANIFEST_DIR")), hooks_json(is_in));
            if std::env::var_os("MNEMOSYNE_BLESS").is_some() {
                std::fs::write(&file, &fresh).unwrap();
            }
            let committed = std::fs::read_to_string(file).unwrap_or_default();
            assert!(committed == fresh, "stale: run MNEMOSYNE_BLESS=1 cargo test --lib plugin");
        }
    }

    #[test]
    fn the_plugin_registers_what_init_registers() {
        let handler =
            crate::agent::claude::settings::Handler { command: "/b/mnemosyne".into(), data_dir: None };
        let settings = crate::agent::claude::settings::register("", &handler).unwrap();
        let settings: Value = serde_json::from_str(&settings).unwrap();
        let groups = |file: &Value| -> BTreeMap<String, Value> {
            let hooks = file["hooks"].as_object().unwrap().clone();
            let matcher = |groups: Value| groups[0]["matcher"].clone();
            hooks.into_iter().map(|(hook, groups)| (hook, matcher(groups))).collect()
        };
        let manifest = read("plugin.json");
        let files = manifest["hooks"].as_array().unwrap().iter().map(|file| file.as_str().unwrap());
        let mut of_plugin = BTreeMap::new();
        for file in files {
            let mut here = groups(&read(file.strip_prefix("./.claude-plugin/").unwrap()));
            of_plugin.append(&mut here);
        }
        assert_eq!(of_plugin, groups(&settings));
        assert_eq!(of_plugin.len(), HOOKS.len());
    }

    #[test]
    fn the_server_of_the_plugin_is_the_one_of_the_search_path() {
        let manifest = read("plugin.json");
        assert_eq!(manifest["mcpServers"], "./.claude-plugin/mcp.json");
        let server = &read("mcp.json")["mcpServers"][crate::agent::claude::settings::SERVER];
        assert_eq!(*server, json!({"command": "mnemosyne", "args": ["serve"]}));
        assert!(crate::agent::claude::settings::is_our_server(server));
    }

    #[test]
    fn the_manifest_names_the_file_and_our_version_and_the_market_names_the_plugin() {
        let (manifest, market) = (read("plugin.json"), read("marketplace.json"));
        assert_eq!(manifest["hooks"], json!(FILES.map(|(file, _)| file)));
        assert_eq!(manifest["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(
            (&market["plugins"][0]["name"], &market["plugins"][0]["source"]),
            (&manifest["name"], &json!("./"))
        );
        assert!(market["owner"]["name"].is_string() && market["name"].is_string());
        assert!(
            std::path::Path::new(&path("hooks/hook.sh")).is_file()
                && SCRIPT.ends_with("/.claude-plugin/hooks/hook.sh")
        );
    }
}
