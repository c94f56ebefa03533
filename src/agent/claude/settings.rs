//! The text of a settings file of Claude Code, with our hooks put in or taken out.
//!
//! Functions of text: nothing here touches a file. The file belongs to its user, so what is not ours stays as it is, byte for
//! byte: the edits are made on a tree that keeps every blank, comment and line ending, and a new entry takes over the
//! indentation and the line ending that it finds. Comments and trailing commas are let pass; anything else that is no JSON
//! is refused with its line and column, and so is a shape that is not that of settings: to guess what was meant would be to
//! break it.
//!
//! What is ours is known by what it does ([`is_ours`]): a handler that runs a program named `mnemosyne` with `hook`. A
//! mark of our own beside it would be lost, since Claude Code drops keys that it does not know when it writes the file.

use jsonc_parser::ParseOptions;
use jsonc_parser::cst::{CstArray, CstInputValue, CstNode, CstObject, CstRootNode};
use serde_json::Value;

use super::hooks::{HOOKS, Hook, TIMEOUT_SECONDS};

/// What a hook is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handler {
    /// The program, by its absolute path.
    pub command: String,
    /// The data directory to be named on its command line, where it is not to be found by the usual rule.
    pub data_dir: Option<String>,
}

impl Handler {
    /// The arguments of a hook after the program.
    pub fn args(&self) -> Vec<String> {
        self.args_of("hook")
    }

    fn args_of(&self, command: &str) -> Vec<String> {
        let mut args = vec![command.to_owned()];
        if let Some(data_dir) = &self.data_dir {
            args.extend(["--data-dir".to_owned(), data_dir.clone()]);
        }
        args
    }

    fn value(&self) -> CstInputValue {
        CstInputValue::Object(vec![
            ("type".into(), text("command")),
            ("command".into(), text(&self.command)),
            ("args".into(), list(&self.args())),
            ("timeout".into(), CstInputValue::Number(TIMEOUT_SECONDS.to_string())),
        ])
    }
}

/// Why a text is left alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// It is no JSON.
    #[error("it is no JSON: line {line}, column {column}: {fault}")]
    Syntax {
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// What the reader says.
        fault: String,
    },
    /// Something in it has another type than settings have there.
    #[error("`{at}` is not {expected}: put that right first, or move it away")]
    Shape {
        /// The path of the key; `the top` for the whole.
        at: String,
        /// What stands there in settings.
        expected: &'static str,
    },
    /// Another program's server has our name, and is not ours to change.
    #[error(
        "`{at}` is another program's: give that server another name first, or take away what it stands for"
    )]
    Foreign {
        /// The path of the key.
        at: String,
    },
    /// A key on our way is there twice, and readers differ in which one counts.
    #[error("`{at}` is there twice: leave one of them")]
    Twice {
        /// The path of the key.
        at: String,
    },
}

/// The settings with every hook of the table registered once for `handler`. A registration that is there already stays where
/// it is and gets the program's path; a second one of the same hook goes, since both would run. Text that is right already
/// comes back unchanged.
///
/// # Errors
/// [`SettingsError`]; an empty text counts as `{}`.
pub fn register(settings: &str, handler: &Handler) -> Result<String, SettingsError> {
    let (root, top) = open(settings)?;
    let hooks = object_in(&top, "hooks", "hooks")?;
    for hook in HOOKS {
        register_one(&hooks, *hook, handler)?;
    }
    Ok(root.to_string())
}

/// The settings without any of our hooks, and without the lists and objects that this leaves empty.
///
/// # Errors
/// As [`register`].
pub fn unregister(settings: &str) -> Result<String, SettingsError> {
    let (root, top) = open(settings)?;
    let Some(hooks) = once(&top, "hooks", "hooks")?.and_then(|property| property.object_value()) else {
        return Ok(settings.to_owned());
    };
    let mut removed = false;
    for property in hooks.properties() {
        let Some(groups) = property.array_value() else { continue };
        let mut emptied = false;
        for (group, handlers) in groups_of(&groups) {
            let ours: Vec<CstNode> = handlers.elements().into_iter().filter(is_ours_node).collect();
            if !ours.is_empty() {
                emptied = true;
                take_out(group, &handlers, ours);
            }
        }
        removed |= emptied;
        if emptied && groups.elements().is_empty() {
            property.remove();
        }
    }
    if removed
        && hooks.properties().is_empty()
        && let Some(property) = top.get("hooks")
    {
        property.remove();
    }
    Ok(if removed { root.to_string() } else { settings.to_owned() })
}

/// The key under which Claude Code keeps which servers of a project's `.mcp.json` its user has let in, and which not.
const LET_IN: &str = "enabledMcpjsonServers";
const KEPT_OUT: &str = "disabledMcpjsonServers";

/// The settings with our server of the project's `.mcp.json` let in, so that nobody is asked again; not where its user has kept it out.
///
/// # Errors
/// As [`register`].
pub fn let_in(settings: &str) -> Result<String, SettingsError> {
    let (root, top) = open(settings)?;
    once(&top, LET_IN, LET_IN)?;
    if names_us(&top, KEPT_OUT) || names_us(&top, LET_IN) {
        return Ok(settings.to_owned());
    }
    let expected = "a list ([ ... ])";
    let names = top.array_value_or_create(LET_IN);
    names.ok_or_else(|| SettingsError::Shape { at: LET_IN.to_owned(), expected })?.append(text(SERVER));
    Ok(root.to_string())
}

/// The settings without our server among those let in.
///
/// # Errors
/// As [`register`].
pub fn forget(settings: &str) -> Result<String, SettingsError> {
    let (root, top) = open(settings)?;
    let Some(property) = once(&top, LET_IN, LET_IN)?.filter(|_| names_us(&top, LET_IN)) else {
        return Ok(settings.to_owned());
    };
    let Some(names) = property.array_value() else { return Ok(settings.to_owned()) };
    names.elements().into_iter().filter(is_our_name).for_each(CstNode::remove);
    if names.elements().is_empty() {
        property.remove();
    }
    Ok(root.to_string())
}

fn names_us(settings: &CstObject, list: &str) -> bool {
    settings.array_value(list).is_some_and(|names| names.elements().iter().any(is_our_name))
}

fn is_our_name(name: &CstNode) -> bool {
    name.to_serde_value().as_ref().and_then(Value::as_str) == Some(SERVER)
}

/// Name of our server in an `.mcp.json`.
pub const SERVER: &str = "mnemosyne";
const SERVER_AT: &str = "mcpServers.mnemosyne";

/// The servers of an `.mcp.json` with ours among them. One that is there already gets the program's path; what else its user gave
/// it stays.
///
/// # Errors
/// As [`register`], and [`SettingsError::Foreign`].
pub fn register_mcp(servers: &str, handler: &Handler) -> Result<String, SettingsError> {
    let (root, top) = open(servers)?;
    let all = object_in(&top, "mcpServers", "mcpServers")?;
    let ours = CstInputValue::Object(vec![
        ("type".into(), text("stdio")),
        ("command".into(), text(&handler.command)),
        ("args".into(), list(&handler.args_of("serve"))),
    ]);
    match once(&all, SERVER, SERVER_AT)? {
        None => drop(all.append(SERVER, ours)),
        Some(property) => {
            let there = property.object_value().filter(is_our_server_node);
            let there = there.ok_or_else(|| SettingsError::Foreign { at: SERVER_AT.to_owned() })?;
            set_text(&there, "command", &handler.command);
            if handler.data_dir.is_some() {
                set_list(&there, "args", &handler.args_of("serve"));
            }
        }
    }
    Ok(root.to_string())
}

/// Whether a server of an `.mcp.json` runs `mnemosyne serve`.
pub fn is_our_server(server: &Value) -> bool {
    let words = words_of(server);
    let Some((program, arguments)) = words.split_first() else { return false };
    let name = program.rsplit(['/', '\\']).next().unwrap_or_default();
    name == "mnemosyne" && arguments.iter().any(|argument| argument == "serve")
}

fn is_our_server_node(server: &CstObject) -> bool {
    server.to_serde_value().is_some_and(|server| is_our_server(&server))
}

/// Sets a list where it is another one.
fn set_list(object: &CstObject, name: &str, values: &[String]) {
    let Some(property) = object.get(name) else {
        object.append(name, list(values));
        return;
    };
    let present = property.value().and_then(|node| node.to_serde_value());
    if present != Some(Value::from(values.to_vec())) {
        property.set_value(list(values));
    }
}

/// The servers of an `.mcp.json` without ours; another program's server of our name stays.
///
/// # Errors
/// As [`register`].
pub fn unregister_mcp(servers: &str) -> Result<String, SettingsError> {
    let (root, top) = open(servers)?;
    let Some(property) = once(&top, "mcpServers", "mcpServers")? else { return Ok(servers.to_owned()) };
    let Some(all) = property.object_value() else { return Ok(servers.to_owned()) };
    let Some(ours) = once(&all, SERVER, SERVER_AT)? else { return Ok(servers.to_owned()) };
    if !ours.object_value().is_some_and(|ours| is_our_server_node(&ours)) {
        return Ok(servers.to_owned());
    }
    ours.remove();
    if all.properties().is_empty() {
        property.remove();
    }
    Ok(root.to_string())
}

/// Settings as a value: JSON, with comments and trailing commas let pass.
pub fn parse(settings: &str) -> Option<Value> {
    CstRootNode::parse(settings.trim_start_matches('\u{feff}'), &LENIENT).ok()?.to_serde_value()
}

/// Whether a handler runs `mnemosyne hook` itself, as a program with arguments or as a line for a shell. A plugin's call
/// (`hook --plugin`) is not a registration in the settings.
pub fn is_ours(handler: &Value) -> bool {
    let words = words_of(handler);
    let Some((program, arguments)) = words.split_first() else { return false };
    let name = program.trim_matches(['"', '\'']).rsplit(['/', '\\']).next().unwrap_or_default();
    let has = |word: &str| arguments.iter().any(|argument| argument == word);
    name == "mnemosyne" && has("hook") && !has("--plugin")
}

/// The program and the arguments of a handler; a line for a shell is split at its blanks.
pub(super) fn words_of(handler: &Value) -> Vec<String> {
    let Some(command) = handler.get("command").and_then(Value::as_str) else { return Vec::new() };
    match handler.get("args").and_then(Value::as_array) {
        Some(args) => {
            std::iter::once(command).chain(args.iter().filter_map(Value::as_str)).map(str::to_owned).collect()
        }
        None => command.split_whitespace().map(str::to_owned).collect(),
    }
}

/// Whether everything passes the matcher of a group.
pub(super) fn passes_everything(group: &Value) -> bool {
    matches!(group.get("matcher").and_then(Value::as_str), None | Some("" | "*"))
}

const LENIENT: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_trailing_commas: true,
    allow_loose_object_property_names: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

fn open(settings: &str) -> Result<(CstRootNode, CstObject), SettingsError> {
    let root = CstRootNode::parse(settings, &LENIENT).map_err(|error| SettingsError::Syntax {
        line: error.line_display(),
        column: error.column_display(),
        fault: error.kind().to_string(),
    })?;
    let top = root.object_value_or_create();
    let top =
        top.ok_or_else(|| SettingsError::Shape { at: "the top".into(), expected: "an object ({ ... })" })?;
    Ok((root, top))
}

/// The property of this name, which may stand there once.
fn once(
    object: &CstObject,
    name: &str,
    at: &str,
) -> Result<Option<jsonc_parser::cst::CstObjectProp>, SettingsError> {
    let mut named =
        object.properties().into_iter().filter(|property| property.decoded_name().as_deref() == Some(name));
    let first = named.next();
    match named.next() {
        Some(_) => Err(SettingsError::Twice { at: at.to_owned() }),
        None => Ok(first),
    }
}

fn object_in(object: &CstObject, name: &str, at: &str) -> Result<CstObject, SettingsError> {
    once(object, name, at)?;
    object
        .object_value_or_create(name)
        .ok_or_else(|| SettingsError::Shape { at: at.to_owned(), expected: "an object ({ ... })" })
}

fn register_one(hooks: &CstObject, hook: Hook, handler: &Handler) -> Result<(), SettingsError> {
    let at = format!("hooks.{}", hook.name);
    once(hooks, hook.name, &at)?;
    let groups = hooks
        .array_value_or_create(hook.name)
        .ok_or(SettingsError::Shape { at, expected: "a list ([ ... ])" })?;
    let mut registered = false;
    for (group, handlers) in groups_of(&groups) {
        let everything = group.to_serde_value().is_some_and(|group| passes_everything(&group));
        let mut surplus = Vec::new();
        for ours in handlers.elements().into_iter().filter(is_ours_node) {
            if everything && !registered {
                registered = true;
                bring_up_to_date(&ours, handler);
            } else {
                surplus.push(ours);
            }
        }
        if !surplus.is_empty() {
            take_out(group, &handlers, surplus);
        }
    }
    if !registered {
        groups.append(group_for(hook, handler));
    }
    Ok(())
}

/// The group that registers one hook.
fn group_for(hook: Hook, handler: &Handler) -> CstInputValue {
    let handlers = ("hooks".to_owned(), CstInputValue::Array(vec![handler.value()]));
    let matcher = hook.matcher.map(|matcher| ("matcher".to_owned(), text(matcher)));
    CstInputValue::Object(matcher.into_iter().chain([handlers]).collect())
}

/// The groups of one hook that have a list of handlers.
fn groups_of(groups: &CstArray) -> Vec<(CstObject, CstArray)> {
    let of = |node: CstNode| {
        let group = node.as_object()?;
        let handlers = group.array_value("hooks")?;
        Some((group, handlers))
    };
    groups.elements().into_iter().filter_map(of).collect()
}

/// Takes handlers out of a group, and the group with the last of them.
fn take_out(group: CstObject, handlers: &CstArray, ours: Vec<CstNode>) {
    for node in ours {
        node.remove();
    }
    if handlers.elements().is_empty() {
        group.remove();
    }
}

fn is_ours_node(node: &CstNode) -> bool {
    node.to_serde_value().is_some_and(|handler| is_ours(&handler))
}

/// Gives a registration the program's path, and its arguments where the data directory is to be named. Arguments that its user
/// chose stay. A line for a shell becomes a program with arguments, unless only a shell can tell what its words are.
fn bring_up_to_date(node: &CstNode, handler: &Handler) {
    let (Some(there), Some(value)) = (node.as_object(), node.to_serde_value()) else { return };
    let words = words_of(&value);
    let for_shell = value.get("args").is_none_or(|args| !args.is_array());
    if for_shell
        && words.iter().any(|word| word.contains(['"', '\'', '\\', '$', '`', ';', '|', '&', '<', '>', '*']))
    {
        return;
    }
    set_text(&there, "command", &handler.command);
    let args = if handler.data_dir.is_some() { handler.args() } else { words[1..].to_vec() };
    if for_shell || args != words[1..] {
        match there.get("args") {
            Some(property) => property.set_value(list(&args)),
            None => drop(there.append("args", list(&args))),
        }
    }
}

/// Sets a text where it is another one.
fn set_text(object: &CstObject, name: &str, value: &str) {
    let Some(property) = object.get(name) else {
        object.append(name, text(value));
        return;
    };
    let present = property.value().and_then(|node| node.to_serde_value());
    if present.as_ref().and_then(Value::as_str) != Some(value) {
        property.set_value(text(value));
    }
}

fn text(value: &str) -> CstInputValue {
    CstInputValue::String(value.to_owned())
}

fn list(values: &[String]) -> CstInputValue {
    CstInputValue::Array(values.iter().map(|value| text(value)).collect())
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
