//! One line of a transcript: what every line says of itself, and the rest for those who want it.

use serde_json::Value;

use crate::event::{Timestamp, json, payload::Usage};

/// A line as JSON, with the questions that are asked of it. A field of an odd type is a field that is not there.
pub(super) struct Line(Value);

impl Line {
    /// Reads a line, mended where it wants it; nothing when it is no JSON object.
    pub(super) fn parse(bytes: &[u8]) -> Result<Line, String> {
        let value: Value = json::read(bytes).map_err(|error| error.to_string())?;
        if value.is_object() { Ok(Line(value)) } else { Err("not a JSON object".to_owned()) }
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        self.0.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    pub(super) fn get(&self, name: &str) -> &Value {
        self.0.get(name).unwrap_or(&Value::Null)
    }

    pub(super) fn time(&self) -> Option<Timestamp> {
        self.text("timestamp").and_then(|text| Timestamp::parse(text).ok())
    }

    /// `type`, and `subtype` where it has one: what a report counts it by.
    pub(super) fn name(&self) -> String {
        let kind = self.text("type").unwrap_or("(no type)");
        let part = self.text("subtype").or_else(|| self.get("data").get("type").and_then(Value::as_str));
        part.map_or_else(|| kind.to_owned(), |part| format!("{kind}/{part}"))
    }

    /// The blocks of the message. A content that is one text is one block.
    pub(super) fn blocks(&self) -> Vec<Block<'_>> {
        match self.get("message").get("content") {
            Some(Value::String(text)) => vec![Block::Text(text)],
            Some(Value::Array(blocks)) => blocks.iter().map(Block::read).collect(),
            _ => Vec::new(),
        }
    }

    /// The tokens that the line says its model response has cost so far.
    pub(super) fn usage(&self) -> Option<Usage> {
        let usage = self.get("message").get("usage")?.as_object()?;
        let tokens = |name: &str| usage.get(name).and_then(Value::as_u64).unwrap_or(0);
        Some(Usage {
            input_tokens: tokens("input_tokens"),
            output_tokens: tokens("output_tokens"),
            cache_read_tokens: tokens("cache_read_input_tokens"),
            cache_creation_tokens: tokens("cache_creation_input_tokens"),
        })
    }
}

/// One block of a message.
pub(super) enum Block<'a> {
    Text(&'a str),
    ToolUse { id: &'a str, tool: &'a str, input: &'a Value },
    ToolResult { id: &'a str, failed: bool, content: &'a Value },
    Other,
}

impl<'a> Block<'a> {
    fn read(block: &'a Value) -> Block<'a> {
        let text = |name: &str| block.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        match (text("type"), text("id"), text("tool_use_id")) {
            (Some("text"), ..) => Block::Text(text("text").unwrap_or_default()),
            (Some("tool_use"), Some(id), _) => Block::ToolUse {
                id,
                tool: text("name").unwrap_or(super::UNKNOWN),
                input: block.get("input").unwrap_or(&Value::Null),
            },
            (Some("tool_result"), _, Some(id)) => Block::ToolResult {
                id,
                failed: block.get("is_error").and_then(Value::as_bool).unwrap_or(false),
                content: block.get("content").unwrap_or(&Value::Null),
            },
            _ => Block::Other,
        }
    }
}

/// The text of a tool's answer: it is one text, or blocks of which some are texts; else its JSON.
pub(super) fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) if blocks.iter().any(|block| block.get("text").is_some()) => {
            blocks.iter().filter_map(|block| block.get("text")?.as_str()).collect::<Vec<_>>().join("\n")
        }
        other => other.to_string(),
    }
}
