//! Rows of the catalog: commands, memories and what commands do to files and settings.

macro_rules! command_rows {
    ([$next:ident $($chain:ident)*] $($rows:tt)*) => { $next! { [$($chain)*] $($rows)*
CliCommandStarted cli_command_started Cli 3 v1 produced "every recorded command, when it starts" ~ "{command} {args}" {
    command: String = "import" => "The command's name.",
    args: Vec<String> = ["--json"] => "Its arguments, secrets redacted.",
}
CliCommandCompleted cli_command_completed Cli 4 v1 produced "every recorded command that succeeds" ~ "{command} ({duration_ms})[: {result_summary}]" {
    command: String = "import" => "The command's name.",
    duration_ms: u64 = 1200 => "From start to end.",
    result_summary: String = "12 events added" => "What came of it, in a line; may be empty.",
}
CliCommandFailed cli_command_failed Cli 6 v1 produced "every recorded command that fails, panics or is interrupted; for one killed outright, the next drain of the inbox" ~ "{command}[ (exit {exit_code})]: {error}" {
    command: String = "import" => "The command's name.",
    error: String = "no such directory" => "Why it failed.",
    duration_ms: Option<u64> = 15 => "From start to end; absent where the end was inferred.",
    exit_code: Option<i32> = 3 => "The process's exit code; absent where the end was inferred.",
    inferred: Option<bool> = false => "True where the command was killed and its end is inferred from its process being gone.",
}
RememberExecuted remember_executed Memory 5 v1 reserved "`remember`" ~ "{content_preview} (importance {importance})" {
    content_preview: String = "Test" => "The memory's first 100 characters at most, redacted.",
    memory_id: Uuid = "0190a5c2-7d1e-7000-8000-00000000000a" => "The memory.",
    importance: Importance = 8 => "The memory's importance.",
}
RecallExecuted recall_executed Memory 4 v1 reserved "`recall`" ~ "{query}: {result_count} found ({duration_ms})" {
    query: String = "parser decisions" => "What was asked.",
    result_count: u64 = 3 => "Memories found.",
    duration_ms: u64 = 4 => "Time it took.",
}
MemoryUpdated memory_updated Memory 6 v1 reserved "any change of a memory" ~ "{memory_id}: {fields_changed}" {
    memory_id: Uuid = "0190a5c2-7d1e-7000-8000-00000000000a" => "The memory.",
    fields_changed: Vec<String> = ["importance"] => "Names of the fields that changed.",
}
MemoryStored memory_stored Memory 6 v1 reserved "a memory comes into being" ~ "{content} (importance {importance})" {
    memory_id: Uuid = "0190a5c2-7d1e-7000-8000-00000000000a" => "The memory.",
    content: String = "Parsers are tested against the grammar's own examples." => "The memory's text, redacted.",
    importance: Importance = 8 => "Its importance.",
    namespace: Option<String> = "project:mnemosyne" => "Where it belongs; absent means global.",
    memory_type: Option<String> = "insight" => "What sort of memory it is.",
    context: Option<String> = "while porting" => "What it was about.",
    tags: Vec<String> = ["parser"] => "Words to find it by.",
}
MemoryLinked memory_linked Memory 4 v1 reserved "two memories are linked" ~ "{memory_id} to {to_memory_id} ({link_type})" {
    memory_id: Uuid = "0190a5c2-7d1e-7000-8000-00000000000a" => "From here.",
    to_memory_id: Uuid = "0190a5c2-7d1e-7000-8000-00000000000d" => "To here.",
    link_type: String = "supports" => "How they are related.",
    strength_fraction: Fraction = 0.5 => "How strong the link is.",
}
LinkDecayed link_decayed Memory 4 v1 reserved "evolution weakens a link" ~ "{memory_id} to {to_memory_id}: {strength_before_fraction} to {strength_after_fraction}" {
    memory_id: Uuid = "0190a5c2-7d1e-7000-8000-00000000000a" => "From here.",
    to_memory_id: Uuid = "0190a5c2-7d1e-7000-8000-00000000000d" => "To here.",
    strength_before_fraction: Fraction = 0.5 => "Strength before.",
    strength_after_fraction: Fraction = 0.25 => "Strength after.",
}
MemoryConsolidated memory_consolidated Memory 6 v1 reserved "evolution folds several memories into one" ~ "{content}" {
    memory_id: Uuid = "0190a5c2-7d1e-7000-8000-00000000000e" => "The memory that stands for the others.",
    source_memory_ids: Vec<Uuid> = ["0190a5c2-7d1e-7000-8000-00000000000a"] => "The memories folded into it.",
    content: String = "Test parsers against their grammar." => "Its text, redacted.",
}
MemoryArchived memory_archived Memory 5 v1 reserved "a memory leaves recall" ~ "{memory_id}: {reason}" {
    memory_id: Uuid = "0190a5c2-7d1e-7000-8000-00000000000a" => "The memory.",
    reason: String = "superseded" => "Why.",
}
ImportanceRecalibrated importance_recalibrated Memory 4 v1 reserved "evolution changes a memory's importance" ~ "{memory_id}: {importance_before} to {importance_after}" {
    memory_id: Uuid = "0190a5c2-7d1e-7000-8000-00000000000a" => "The memory.",
    importance_before: Importance = 8 => "Importance before.",
    importance_after: Importance = 6 => "Importance after.",
}
EvolveStarted evolve_started Evolution 5 v1 reserved "`evolve` begins" ~ "{jobs}" {
    jobs: Vec<String> = ["importance", "links"] => "The jobs it will run.",
}
EvolveCompleted evolve_completed Evolution 7 v1 reserved "`evolve` ends" ~ "{consolidations} consolidated, {decayed} decayed, {archived} archived, {recalibrated} recalibrated ({duration_ms})" {
    consolidations: u64 = 1 => "Memories made by consolidation.",
    decayed: u64 = 12 => "Links weakened.",
    archived: u64 = 0 => "Memories archived.",
    recalibrated: u64 = 4 => "Memories whose importance changed.",
    duration_ms: u64 = 85 => "From start to end.",
}
HealthCheckStarted health_check_started Health 5 v1 produced "`doctor` begins" ~ "" {
}
HealthCheckCompleted health_check_completed Health 6 v1 produced "`doctor` ends" ~ "{checks_passed} passed, {checks_failed} failed, {checks_warned} warned ({duration_ms})" {
    checks_passed: u64 = 9 => "Checks that passed.",
    checks_failed: u64 = 0 => "Checks that failed.",
    checks_warned: u64 = 1 => "Checks that warn.",
    duration_ms: u64 = 140 => "From start to end.",
    checks: Vec<Check> = [{"name": "permissions", "status": "pass", "detail": "0700"}] => "Each check with its outcome.",
}
StatusCheckExecuted status_check_executed Health 4 v1 produced "`status`" ~ "{status_summary}" {
    status_summary: String = "server up, 3 sessions" => "The answer in a line.",
    memory_count: Option<u64> = 41 => "Memories; absent where there is no memory store.",
    journal_bytes: u64 = 1048576 => "Size of the journal.",
}
IcsSessionStarted ics_session_started Editor 6 v1 reserved "`edit` opens" ~ "[{file_path}][ template {template}]" {
    file_path: Option<String> = "notes.md" => "The file that is edited.",
    template: Option<String> = "feature" => "The template it began from.",
}
IcsSessionEnded ics_session_ended Editor 6 v1 reserved "`edit` closes" ~ "[{file_path} ]saved {changes_saved} ({duration_ms})" {
    file_path: Option<String> = "notes.md" => "The file that was edited.",
    changes_saved: bool = true => "Whether the changes are on disk.",
    duration_ms: u64 = 90000 => "From opening to closing.",
}
DatabaseInitialized database_initialized Configuration 8 v1 produced "`init`" ~ "{path} (format {format_version})" {
    path: String = "/home/dev/app/.mnemosyne" => "The data directory.",
    format_version: u32 = 1 => "The journal's format version.",
}
ConfigChanged config_changed Configuration 7 v1 produced "`config`" ~ "{setting}[ to {new_value}]" {
    setting: String = "retention.days" => "The setting's name.",
    old_value: Option<Json> = 30 => "Its value before, secrets redacted; absent where it was unset.",
    new_value: Option<Json> = 60 => "Its value after, secrets redacted; absent where it is unset.",
}
SecretsModified secrets_modified Configuration 8 v1 reserved "`secrets`; a value never enters an event" ~ "{operation} {secret_name}" {
    operation: String = "set" => "initialize, set, delete or rotate.",
    secret_name: String = "DEPLOY_KEY" => "The secret's name.",
}
ExportStarted export_started Configuration 5 v1 reserved "`export` begins" ~ "{what}[ to {output_path}]" {
    what: String = "events" => "memories or events.",
    output_path: Option<String> = "out.ndjson" => "The file written; absent for standard output.",
    namespace_filter: Option<String> = "project:mnemosyne" => "The namespace that limits it.",
}
ExportCompleted export_completed Configuration 6 v1 reserved "`export` ends" ~ "{what}[, {memories_exported} memories][, {events_exported} events], {output_size_bytes} bytes ({duration_ms})" {
    what: String = "events" => "memories or events.",
    memories_exported: Option<u64> = 0 => "Memories written.",
    events_exported: Option<u64> = 240 => "Events written.",
    output_size_bytes: u64 = 91234 => "Size of what was written.",
    duration_ms: u64 = 31 => "From start to end.",
}
EmbeddingGenerated embedding_generated Advanced 4 v1 reserved "`embed` of one memory" ~ "{memory_id} by {model_name} ({duration_ms})" {
    memory_id: Uuid = "0190a5c2-7d1e-7000-8000-00000000000a" => "The memory.",
    model_name: String = "static-256" => "The model.",
    dimension: u32 = 256 => "Length of the vector that the model gave.",
    duration_ms: u64 = 2 => "Time it took.",
}
EmbeddingBatchCompleted embedding_batch_completed Advanced 6 v1 reserved "`embed` of several memories" ~ "{successful} of {batch_size}, {failed} failed ({total_duration_ms})" {
    batch_size: u64 = 32 => "Memories in the batch.",
    successful: u64 = 32 => "Embedded.",
    failed: u64 = 0 => "Not embedded.",
    total_duration_ms: u64 = 40 => "Time it took.",
}
ModelOperationCompleted model_operation_completed Advanced 5 v1 reserved "`models`" ~ "{operation}[ {model_name}]: {result_summary}" {
    operation: String = "switch" => "list, info, switch, clear or add.",
    model_name: Option<String> = "static-256" => "The model concerned.",
    result_summary: String = "in use" => "What came of it.",
}
ArtifactCreated artifact_created Advanced 7 v1 reserved "`artifact create`" ~ "{artifact_type} {artifact_id} ({size_bytes} bytes)" {
    artifact_type: String = "plan" => "constitution, feature-spec, plan, tasks, checklist or clarification.",
    artifact_id: Uuid = "0190a5c2-7d1e-7000-8000-00000000000f" => "The artifact.",
    size_bytes: u64 = 2048 => "Its size.",
}
ArtifactLoaded artifact_loaded Advanced 5 v1 reserved "`artifact show`" ~ "{artifact_type} {artifact_id}" {
    artifact_type: String = "plan" => "As in `artifact_created`.",
    artifact_id: Uuid = "0190a5c2-7d1e-7000-8000-00000000000f" => "The artifact.",
    last_modified: Timestamp = "2026-01-02T03:04:05.000006Z" => "The file's own time.",
}
InteractiveModeStarted interactive_mode_started Interface 5 v1 reserved "`interactive` begins" ~ "{mode}" {
    mode: String = "prompt" => "The mode.",
}
InteractiveModeEnded interactive_mode_ended Interface 5 v1 reserved "`interactive` ends" ~ "{commands_executed} commands ({duration_ms})" {
    commands_executed: u64 = 14 => "Commands given.",
    duration_ms: u64 = 300000 => "From start to end.",
}
ServerStarted server_started Interface 8 v1 produced "a server, after it has bound its address" ~ "{server_type} on {listen_addr}" {
    server_type: String = "api" => "api or mcp.",
    listen_addr: String = "127.0.0.1:3000" => "The address really bound; stdio for mcp.",
    program_version: Option<String> = "0.1.0" => "The version of the program, which writes the journal from then on.",
}
ServerStopped server_stopped Interface 8 v1 produced "a server that stops gracefully, before its journal closes" ~ "{server_type} after {uptime_ms}, {requests_handled:request}" {
    server_type: String = "api" => "api or mcp.",
    uptime_ms: u64 = 360000 => "Since it was started.",
    requests_handled: u64 = 1204 => "Requests counted.",
}
DashboardStarted dashboard_started Interface 6 v1 reserved "`tui` opens, or the web page's stream" ~ "{dashboard_type}" {
    dashboard_type: String = "tui" => "tui or web.",
}
DashboardStopped dashboard_stopped Interface 6 v1 reserved "`tui` closes, or the web page's stream" ~ "after {duration_ms}" {
    duration_ms: u64 = 90000 => "From opening to closing.",
}
SearchPerformed search_performed LowLevel 3 v1 reserved "`recall`, for each search that it makes" ~ "{search_type} {query}: {result_count} found ({duration_ms})" {
    query: String = "parser decisions" => "What was searched.",
    search_type: String = "keyword" => "keyword, semantic or hybrid.",
    result_count: u64 = 3 => "Hits.",
    duration_ms: u64 = 4 => "Time it took.",
}
DatabaseOperation database_operation LowLevel 2 v1 produced "the store, when a projection is saved as a snapshot" ~ "{operation} of {projection}, {affected_rows:row} ({duration_ms})" {
    operation: String = "snapshot" => "snapshot, rebuild, retention or compaction.",
    projection: String = "sessions" => "What it concerned.",
    affected_rows: u64 = 12 => "Rows written or dropped.",
    duration_ms: u64 = 3 => "Time it took.",
}
    } };
}
pub(super) use command_rows;
