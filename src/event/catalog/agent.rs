//! Rows of the catalog: what makes an agent's session replayable.

macro_rules! agent_rows {
    ([$next:ident $($chain:ident)*] $($rows:tt)*) => { $next! { [$($chain)*] $($rows)*
SessionStarted session_started Session 8 v1 produced "an agent's hook at the start of a session" ~ "{source} in {cwd}[, {model}]" {
    source: String = "startup" => "startup, resume, clear, compact, fork, or what the agent says.",
    cwd: String = "/home/dev/app" => "The agent's working directory.",
    transcript_path: Option<String> = "/home/dev/.claude/projects/-home-dev-app/s.jsonl" => "Where the agent keeps its transcript.",
    model: Option<String> = "claude-opus-4" => "The model.",
    agent_pid: Option<u32> = 4711 => "The agent's process on the machine that `source` names.",
    agent_start_ticks: Option<u64> = 123456 => "When that process began, in ticks since the machine's start: a pid is given again.",
}
SessionEnded session_ended Session 8 v1 produced "an agent's hook at the end of a session; or inferred when the agent's process is gone" ~ "{reason}" {
    reason: String = "logout" => "clear, resume, logout, `prompt_input_exit`, other, or what the agent says; `process_gone` where it is inferred.",
    inferred: bool = false => "True where no hook said so and the end is inferred.",
}
PromptSubmitted prompt_submitted Agent 6 v1 produced "an agent's hook or transcript: a person's prompt" ~ "{prompt}" {
    prompt: String = "Why does the parser drop the last line?" => "The prompt, redacted.",
    prompt_id: Option<String> = "prompt_01" => "The agent's own id for it.",
}
ToolCallStarted tool_call_started Agent 4 v1 produced "an agent's hook or transcript: before a tool runs" ~ "{tool} {input}" {
    tool: String = "Bash" => "The tool's name.",
    tool_use_id: String = "toolu_01A09q90qw90lq917835lq9" => "The agent's own id of the call.",
    input: Json = {"command": "cargo test"} => "What the tool was given, redacted and cut to the cap.",
}
ToolCallCompleted tool_call_completed Agent 4 v1 produced "an agent's hook or transcript: a tool has succeeded" ~ "{tool}[ ({duration_ms})]" {
    tool: String = "Bash" => "The tool's name.",
    tool_use_id: String = "toolu_01A09q90qw90lq917835lq9" => "The agent's own id of the call.",
    output: Json = {"stdout": "ok", "interrupted": false} => "What the tool gave, redacted and cut to the cap.",
    duration_ms: Option<u64> = 120 => "As the agent reported it.",
}
ToolCallFailed tool_call_failed Agent 6 v1 produced "an agent's hook or transcript: a tool has failed" ~ "{tool}: {error}[ ({duration_ms})]" {
    tool: String = "Bash" => "The tool's name.",
    tool_use_id: String = "toolu_01A09q90qw90lq917835lq9" => "The agent's own id of the call.",
    error: String = "exit status 101" => "What went wrong.",
    interrupted: bool = false => "Whether a person stopped it.",
    duration_ms: Option<u64> = 120 => "As the agent reported it.",
}
PermissionRequested permission_requested Agent 6 v1 produced "an agent's hook: a person is asked" ~ "{tool} {input}" {
    tool: String = "Bash" => "The tool's name.",
    tool_use_id: Option<String> = "toolu_01A09q90qw90lq917835lq9" => "The agent's own id of the call, where it gives one.",
    input: Json = {"command": "rm -r target"} => "What the tool would be given.",
}
PermissionDenied permission_denied Agent 6 v1 produced "an agent's hook: a call was refused" ~ "{tool}: {reason}" {
    tool: String = "Bash" => "The tool's name.",
    tool_use_id: Option<String> = "toolu_01A09q90qw90lq917835lq9" => "The agent's own id of the call, where it gives one.",
    reason: String = "not in this directory" => "Why.",
}
AgentMessage agent_message Agent 3 v1 produced "the import of a transcript: a text of the model" ~ "{text}" {
    model: String = "claude-opus-4" => "The model.",
    text: String = "The last line has no newline." => "What it wrote, redacted.",
    usage: Option<Usage> = {"input_tokens": 12, "output_tokens": 90, "cache_read_tokens": 18000, "cache_creation_tokens": 400} => "Tokens of the model response so far, on one of its texts. Of one `message_id` the last usage counts.",
    message_id: String = "msg_01XFDUDYJgAACzvnptvVoYEL" => "The agent's own id of the model response.",
}
TurnCompleted turn_completed Agent 5 v1 produced "an agent's hook or transcript: the agent has finished its turn" ~ "[{last_message}]" {
    last_message: Option<String> = "Done: the parser keeps the last line." => "The agent's last words of the turn.",
}
TurnFailed turn_failed Agent 7 v1 produced "an agent's hook or transcript: a turn ended in an error" ~ "{error}[: {details}]" {
    error: String = "rate_limit" => "The error's name.",
    details: Option<String> = "try again in 20 s" => "More about it.",
}
SubagentStarted subagent_started Agent 5 v1 produced "an agent's hook or transcript" ~ "{agent_type} {agent_id}" {
    agent_id: String = "a2898e3" => "The agent's own id of the subagent.",
    agent_type: String = "Explore" => "What sort of subagent it is.",
}
SubagentStopped subagent_stopped Agent 5 v1 produced "an agent's hook or transcript" ~ "{agent_type} {agent_id}[: {last_message}]" {
    agent_id: String = "a2898e3" => "The agent's own id of the subagent.",
    agent_type: String = "Explore" => "What sort of subagent it is.",
    last_message: Option<String> = "Three files matter." => "The subagent's last words.",
}
ContextCompacted context_compacted Agent 7 v1 produced "an agent's hook or transcript: the context is folded into a summary" ~ "{trigger}[, from {pre_tokens} tokens]" {
    trigger: String = "auto" => "manual or auto.",
    pre_tokens: Option<u64> = 155000 => "Size of the context before.",
    summary: Option<String> = "The parser is fixed." => "The text that replaces it.",
}
NotificationRaised notification_raised Agent 5 v1 produced "an agent's hook: it wants a person's attention" ~ "{message}" {
    message: String = "Claude needs your permission to use Bash" => "What the person is told.",
    notification_type: String = "permission_prompt" => "What it is about.",
    title: Option<String> = "Permission" => "Its heading.",
}
AgentEvent agent_event Agent 3 v1 produced "an agent's hook that has no kind of its own, kept whole" ~ "{hook}" {
    hook: String = "CwdChanged" => "The hook's name as the agent gave it.",
    data: Json = {"old_cwd": "/home/dev", "new_cwd": "/home/dev/app"} => "The hook's whole JSON, redacted and cut to the cap.",
}
TranscriptImported transcript_imported Agent 3 v1 produced "an import that added something; the cursor for the next one" ~ "{added:event} from {path}" {
    path: String = "/home/dev/.claude/projects/-home-dev-app/s.jsonl" => "The transcript.",
    inode: u64 = 131077 => "The file's inode, which tells a replaced file.",
    bytes: u64 = 48213 => "How far it has been read.",
    last_uuid: String = "0f8fad5b-d9cb-469f-a165-70867728950e" => "The uuid of the last line read.",
    added: u64 = 12 => "Events that this import added.",
}
Annotated annotated Custom 4 v1 produced "`annotate`: a person's note on an event" ~ "{seq}: {text}" {
    seq: u64 = 120 => "The event that the note is about.",
    text: String = "here it went wrong" => "The note.",
}
Custom custom Custom 3 v1 produced "anyone: POST /events/emit for what has no kind here" ~ "{name} {data}" {
    name: String = "deploy_finished" => "The emitter's own name for it.",
    data: Json = {"environment": "staging"} => "Any JSON.",
}
    } };
}
pub(super) use agent_rows;
