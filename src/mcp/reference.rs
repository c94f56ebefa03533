//! The table of tools as a part of `docs/mcp.md`.

use std::fmt::Write as _;

use serde_json::Value;

use super::tools::TOOLS;

/// A section for each tool: what a model is told of it, and what it takes.
pub fn reference() -> String {
    let mut page = String::new();
    for tool in TOOLS {
        let told = tool.told().unwrap_or_default();
        let writes = if tool.reads { "" } else { " Writes." };
        // Writing to a String cannot fail.
        let _ = writeln!(page, "### {}\n\n{}{writes}\n", tool.name, tool.about);
        let schema = Value::Object((*told.input_schema).clone());
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        page.push_str("| argument | type | what |\n|---|---|---|\n");
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let must = if required.iter().any(|one| one == name.as_str()) { ", required" } else { "" };
            let about = field["description"].as_str().unwrap_or_default().replace('\n', " ");
            let _ = writeln!(page, "| `{name}` | {}{must} | {about} |", type_of(field));
        }
        page.push('\n');
    }
    page
}

/// Where the generated part of the page begins.
#[cfg(test)]
const BEGIN: &str = "<!-- Generated from src/mcp/tools.rs; `MNEMOSYNE_BLESS=1 cargo test --lib reference` writes it anew. -->\n\n";
#[cfg(test)]
const END: &str = "<!-- The end of the generated part. -->\n";

fn type_of(field: &Value) -> String {
    let of = match &field["type"] {
        Value::Array(types) => types.iter().find_map(|name| name.as_str().filter(|name| *name != "null")),
        name => name.as_str(),
    };
    let bounds = [("minimum", "from"), ("maximum", "to")];
    let bounds = bounds.iter().filter_map(|(key, word)| Some(format!(" {word} {}", field[*key].as_u64()?)));
    let bounds: String = bounds.filter(|bound| bound != " from 0" && bound != " to 255").collect();
    format!("{}{bounds}", of.unwrap_or("any"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_of_the_tools_is_fresh() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/mcp.md");
        let page = std::fs::read_to_string(path).unwrap();
        let (head, rest) = page.split_once(BEGIN).expect("the page has a generated part");
        let (part, tail) = rest.split_once(END).expect("which ends");
        let fresh = reference();
        if std::env::var_os("MNEMOSYNE_BLESS").is_some() {
            std::fs::write(path, format!("{head}{BEGIN}{fresh}{END}{tail}")).unwrap();
        } else {
            assert!(part == fresh, "docs/mcp.md is stale: run MNEMOSYNE_BLESS=1 cargo test --lib reference");
        }
    }

    #[test]
    fn every_tool_says_what_it_is_and_every_argument_what_it_does() {
        for tool in TOOLS {
            let told = tool.told().unwrap();
            assert!(tool.about.len() > 80 && told.annotations.is_some(), "{}", tool.name);
            let schema = Value::Object((*told.input_schema).clone());
            assert_eq!(schema["additionalProperties"], false, "{schema}");
            for (name, field) in schema["properties"].as_object().unwrap() {
                assert!(
                    field["description"].as_str().is_some_and(|about| about.len() >= 10),
                    "{name}: {schema}"
                );
            }
        }
        let page = reference();
        assert!(page.contains("| `limit` | integer from 1 to 500 |"), "{page}");
        assert!(page.contains("| `session` | string, required |"), "{page}");
    }

    #[test]
    fn the_projections_that_a_tool_names_are_those_that_there_are() {
        let state = TOOLS.iter().find(|tool| tool.name == "state").unwrap().told().unwrap();
        let schema = Value::Object((*state.input_schema).clone());
        let about = schema["properties"]["projection"]["description"].as_str().unwrap();
        for name in crate::projection::registry::names() {
            assert!(about.contains(&format!("`{name}`")), "{name}: {about}");
        }
    }
}
