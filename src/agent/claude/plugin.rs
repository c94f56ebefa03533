//! The hooks of the Claude Code plugin: `.claude-plugin/hooks/hooks.json`, made from the same table as what `init` writes.
//!
//! A plugin does not know where the program is installed, so it calls a script beside the file that looks on the search
//! path and does nothing where there is none. Its calls carry `--plugin`, and stand aside where the settings register the
//! same hook ([`super::registration`]). It leaves out the hooks that not every agent knows which it may meet: one of those would cost it all.

use serde_json::{Map, json};

use super::hooks::{HOOKS, TIMEOUT_SECONDS};

/// The script, from the plugin's root.
const SCRIPT: &str = "${CLAUDE_PLUGIN_ROOT}/.claude-plugin/hooks/hook.sh";

/// The file's text.
pub fn hooks_json() -> String {
    let handler = json!({"type": "command", "command": "sh", "args": [SCRIPT], "timeout": TIMEOUT_SECONDS});
    let mut hooks = Map::new();
    for hook in HOOKS.iter().filter(|hook| hook.known_to_min) {
        let mut group = Map::new();
        if let Some(matcher) = hook.matcher {
            group.insert("matcher".into(), matcher.into());
        }
        group.insert("hooks".into(), json!([handler]));
        hooks.insert(hook.name.into(), json!([group]));
    }
    let file =
        json!({"description": "Every hook an observer may have, recorded by mnemosyne", "hooks": hooks});
    format!("{file:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn path(name: &str) -> String {
        format!("{}/.claude-plugin/{name}", env!("CARGO_MANIFEST_DIR"))
    }

    fn read(name: &str) -> Value {
        serde_json::from_str(&std::fs::read_to_string(path(name)).unwrap()).unwrap()
    }

    #[test]
    fn the_plugins_file_is_made_from_the_table() {
        let (file, fresh) = (path("hooks/hooks.json"), hooks_json());
        if std::env::var_os("MNEMOSYNE_BLESS").is_some() {
            std::fs::write(&file, &fresh).unwrap();
        }
        let committed = std::fs::read_to_string(file).unwrap_or_default();
        assert!(committed == fresh, "stale: run MNEMOSYNE_BLESS=1 cargo test --lib plugin");
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
        assert_eq!(manifest["hooks"], "./.claude-plugin/hooks/hooks.json");
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
