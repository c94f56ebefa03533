//! The hooks that an observer registers with Claude Code: one table, from which `init`, the plugin's files and the
//! documentation come.
//!
//! Every hook that exists is in [`HOOKS`] or, with the reason, in [`NEVER`]. A hook may be registered where it costs no more
//! than starting a process and where a late or lost answer changes nothing for the agent.
//!
//! Claude Code before [`CLAUDE_CODE_MIN`] must not be given these entries: it does not know `args`, so it would run this
//! program with no command at all, and what that ends with means "block this call" to it. (Before 2.1.101 one unknown name
//! of a hook made it skip the whole file as well.)

/// A hook to be registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hook {
    /// Its name in the settings.
    pub name: &'static str,
    /// What stands as its matcher; none where the hook has no matcher, or has one that is a list of things to watch.
    /// Without a matcher everything passes.
    pub matcher: Option<&'static str>,
    /// Whether [`CLAUDE_CODE_MIN`] knows it. Settings may name others, which are passed over; of a plugin, the whole file goes that
    /// has one name which the agent does not know.
    pub known_to_min: bool,
}

const fn on_tools(name: &'static str) -> Hook {
    Hook { name, matcher: Some("*"), known_to_min: true }
}

const fn on(name: &'static str) -> Hook {
    Hook { name, matcher: None, known_to_min: true }
}

const fn newer(name: &'static str) -> Hook {
    Hook { name, matcher: None, known_to_min: false }
}

/// Every hook that is registered, in the order in which a session meets them.
pub const HOOKS: &[Hook] = &[
    on("Setup"),
    on("SessionStart"),
    on("InstructionsLoaded"),
    on("UserPromptSubmit"),
    on("UserPromptExpansion"),
    on_tools("PreToolUse"),
    on_tools("PermissionRequest"),
    on_tools("PermissionDenied"),
    on_tools("PostToolUse"),
    on_tools("PostToolUseFailure"),
    on("PostToolBatch"),
    on("Notification"),
    on("Elicitation"),
    on("ElicitationResult"),
    on("SubagentStart"),
    on("SubagentStop"),
    on("TaskCreated"),
    on("TaskCompleted"),
    on("TeammateIdle"),
    on("CwdChanged"),
    newer("DirectoryAdded"),
    on("FileChanged"),
    on("ConfigChange"),
    on("WorktreeRemove"),
    newer("PostModelSwitch"),
    on("PreCompact"),
    on("PostCompact"),
    on("Stop"),
    on("StopFailure"),
    on("SessionEnd"),
];

/// Hooks that an observer must not register, and why.
pub const NEVER: [(&str, &str); 3] = [
    ("WorktreeCreate", "it takes the place of `git worktree`: who registers it has to make the worktree"),
    ("MessageDisplay", "the display of each message waits for it"),
    (
        "PreModelSwitch",
        "one that is late blocks the switch of the model; `PostModelSwitch` tells what happened",
    ),
];

/// How long Claude Code waits for one call before it gives it up. A call takes milliseconds; this is for a machine that
/// stands still.
pub const TIMEOUT_SECONDS: u64 = 5;

/// The first version of Claude Code that runs a program with `args` and no shell.
pub const CLAUDE_CODE_MIN: (u64, u64, u64) = (2, 1, 139);

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_hook_stands_in_one_table_and_once() {
        let registered: BTreeSet<&str> = HOOKS.iter().map(|hook| hook.name).collect();
        assert_eq!(registered.len(), HOOKS.len());
        for (name, why) in NEVER {
            assert!(!registered.contains(name) && !why.is_empty(), "{name}");
        }
    }

    #[test]
    fn the_hooks_that_have_a_kind_of_their_own_are_all_registered() {
        for name in [
            "SessionStart",
            "SessionEnd",
            "UserPromptSubmit",
            "PreToolUse",
            "PostToolUse",
            "PostToolUseFailure",
            "PermissionRequest",
            "PermissionDenied",
            "SubagentStart",
            "SubagentStop",
            "Stop",
            "StopFailure",
            "Notification",
            "PostCompact",
        ] {
            assert!(HOOKS.iter().any(|hook| hook.name == name), "{name}");
        }
    }
}
