//! Rows of the catalog: the orchestrator's kinds.

macro_rules! orchestration_rows {
    ([$next:ident $($chain:ident)*] $($rows:tt)*) => { $next! { [$($chain)*] $($rows)*
WorkItemAssigned work_item_assigned Orchestration 6 v1 reserved "the scheduler gives an item to an agent" ~ "{description} to {agent}" {
    agent: String = "explorer" => "The agent that got the item.",
    item_id: Uuid = "0190a5c2-7d1e-7000-8000-000000000001" => "The work item.",
    description: String = "Map the parser" => "What is to be done.",
    phase: String = "plan" => "The phase of the plan that the item belongs to.",
}
WorkItemStarted work_item_started Orchestration 4 v1 reserved "an executor begins an item" ~ "{description} by {agent}" {
    agent: String = "explorer" => "The agent that works on it.",
    item_id: Uuid = "0190a5c2-7d1e-7000-8000-000000000001" => "The work item.",
    description: String = "Map the parser" => "What is being done.",
}
WorkItemCompleted work_item_completed Orchestration 7 v1 reserved "an item succeeded, and only then" ~ "{item_id} by {agent} ({duration_ms})" {
    agent: String = "explorer" => "The agent that did it.",
    item_id: Uuid = "0190a5c2-7d1e-7000-8000-000000000001" => "The work item.",
    duration_ms: u64 = 4210 => "From start to success.",
    memory_ids: Vec<Uuid> = ["0190a5c2-7d1e-7000-8000-00000000000a"] => "Memories that the work produced.",
}
WorkItemFailed work_item_failed Orchestration 7 v1 reserved "an item failed" ~ "{item_id} by {agent}: {error}" {
    agent: String = "explorer" => "The agent that tried.",
    item_id: Uuid = "0190a5c2-7d1e-7000-8000-000000000001" => "The work item.",
    error: String = "the tests did not pass" => "Why it failed.",
}
PhaseTransition phase_transition Orchestration 9 v1 reserved "all items of a phase are done and its gate passed" ~ "{from} to {to}, approved by {approved_by}" {
    from: String = "plan" => "The phase that is done.",
    to: String = "build" => "The phase that begins.",
    approved_by: String = "gate" => "Who or what let it pass.",
}
ContextCheckpoint context_checkpoint Orchestration 8 v1 reserved "an agent's use of its context crosses the threshold" ~ "{agent} at {usage_fraction}: {reason}" {
    agent: String = "builder" => "The agent whose context is nearly full.",
    usage_fraction: Fraction = 0.75 => "Share of the context in use.",
    snapshot_id: Uuid = "0190a5c2-7d1e-7000-8000-00000000000b" => "The saved context.",
    reason: String = "threshold" => "What made the checkpoint.",
}
DeadlockDetected deadlock_detected Orchestration 8 v1 reserved "a cycle, or items that can never become ready" ~ "blocked: {blocked_items}" {
    blocked_items: Vec<Uuid> = ["0190a5c2-7d1e-7000-8000-000000000001"] => "Items that wait for each other or for something that cannot come.",
    detected_at: Timestamp = "2026-01-02T03:04:05.000006Z" => "When it was found.",
}
DeadlockResolved deadlock_resolved Orchestration 6 v1 reserved "the scheduler broke a deadlock" ~ "{resolution}" {
    blocked_items: Vec<Uuid> = ["0190a5c2-7d1e-7000-8000-000000000001"] => "Items that were blocked.",
    resolution: String = "dropped the edge from build to test" => "What was done about it.",
}
AgentStateChanged agent_state_changed Orchestration 5 v1 reserved "an agent of a plan changes state" ~ "{agent} from {from} to {to}[: {reason}]" {
    agent: String = "builder" => "The agent.",
    from: String = "idle" => "State before: idle, ready, active, waiting, blocked, `pending_review`, complete or error.",
    to: String = "active" => "State after, of the same list.",
    reason: Option<String> = "an item was assigned" => "Why.",
}
SubAgentSpawned sub_agent_spawned Orchestration 5 v1 reserved "an agent of a plan starts another" ~ "{child} by {parent}" {
    parent: String = "planner" => "The agent that asked.",
    child: String = "builder-2" => "The agent that was started.",
    item_id: Option<Uuid> = "0190a5c2-7d1e-7000-8000-000000000001" => "The item it was started for.",
}
MessageSent message_sent Orchestration 4 v1 reserved "one actor of a plan writes to another" ~ "{message_type} from {from} to {to}" {
    from: String = "planner" => "The sender.",
    to: String = "builder" => "The receiver.",
    message_type: String = "assignment" => "What sort of thing was said.",
}
ReviewFailed review_failed Orchestration 7 v1 reserved "a review finds issues" ~ "{item_id} (attempt {attempt}): {issues}" {
    item_id: Uuid = "0190a5c2-7d1e-7000-8000-000000000001" => "The reviewed item.",
    issues: Vec<String> = ["no test for the empty case"] => "What was found.",
    attempt: u32 = 1 => "Which review of this item, from 1.",
}
WorkItemRequeued work_item_requeued Orchestration 6 v1 reserved "an item goes back after a review" ~ "{item_id} (attempt {review_attempt}): {reason}" {
    item_id: Uuid = "0190a5c2-7d1e-7000-8000-000000000001" => "The item.",
    reason: String = "review failed" => "Why it went back.",
    review_attempt: u32 = 1 => "How many reviews it has had.",
}
ContextConsolidated context_consolidated Orchestration 8 v1 reserved "an item's context is folded into one memory" ~ "{item_id} to {consolidation_level}, about {estimated_tokens} tokens" {
    item_id: Uuid = "0190a5c2-7d1e-7000-8000-000000000001" => "The item.",
    consolidated_memory_id: Uuid = "0190a5c2-7d1e-7000-8000-00000000000c" => "The memory that holds the result.",
    estimated_tokens: u64 = 1800 => "Size of the result.",
    consolidation_level: String = "summary" => "detailed, summary or compressed.",
}
OrchestrationStarted orchestration_started Orchestration 9 v1 reserved "a plan begins to run" ~ "{plan_description} (at most {max_concurrent} at once)" {
    plan_description: String = "Port the parser" => "The plan in words.",
    max_concurrent: u32 = 4 => "Items that may run at once.",
}
OrchestrationCompleted orchestration_completed Orchestration 8 v1 reserved "a plan has ended; its figures are counted from the run" ~ "{work_items_completed} done, {work_items_failed} failed ({duration_ms})" {
    work_items_completed: u64 = 7 => "Items that succeeded.",
    work_items_failed: u64 = 1 => "Items that failed for good.",
    duration_ms: u64 = 61000 => "From start to end.",
}
    } };
}
pub(super) use orchestration_rows;
