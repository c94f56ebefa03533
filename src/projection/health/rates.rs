//! How much fails of what can fail.

use serde::{Deserialize, Serialize};

use crate::event::Kind;
use crate::projection::calendar::Merge;
use crate::projection::histogram::basis_points;

/// What can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// A tool call of an agent.
    ToolCall,
    /// A turn of an agent.
    Turn,
    /// A command of ours.
    Command,
    /// A delivery to a webhook.
    Webhook,
}

/// That something ended well or not, where the kind alone says so.
pub fn outcome(kind: Kind) -> Option<(Sort, bool)> {
    Some(match kind {
        Kind::ToolCallCompleted => (Sort::ToolCall, true),
        Kind::ToolCallFailed => (Sort::ToolCall, false),
        Kind::TurnCompleted => (Sort::Turn, true),
        Kind::TurnFailed => (Sort::Turn, false),
        Kind::CliCommandCompleted => (Sort::Command, true),
        Kind::CliCommandFailed => (Sort::Command, false),
        Kind::WebhookDelivered => (Sort::Webhook, true),
        Kind::WebhookFailed => (Sort::Webhook, false),
        _ => return None,
    })
}

/// What ended, and what of it failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// All that ended.
    pub ended: u64,
    /// Of these, failed.
    pub failed: u64,
}

impl Rate {
    /// Failed of ended, in hundredths of a percent; `None` where nothing has ended.
    pub fn failed_bp(self) -> Option<u64> {
        basis_points(self.failed, self.ended)
    }

    fn merge(&mut self, other: Rate) {
        self.ended += other.ended;
        self.failed += other.failed;
    }
}

/// The rates of everything that can fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rates {
    /// Tool calls of agents.
    pub tool_calls: Rate,
    /// Turns of agents.
    pub turns: Rate,
    /// Commands of ours.
    pub commands: Rate,
    /// Deliveries to webhooks.
    pub webhooks: Rate,
}

impl Rates {
    /// Counts one end.
    pub fn count(&mut self, (sort, well): (Sort, bool)) {
        let rate = match sort {
            Sort::ToolCall => &mut self.tool_calls,
            Sort::Turn => &mut self.turns,
            Sort::Command => &mut self.commands,
            Sort::Webhook => &mut self.webhooks,
        };
        rate.merge(Rate { ended: 1, failed: u64::from(!well) });
    }
}

impl Merge for Rates {
    fn merge(&mut self, other: Rates) {
        self.tool_calls.merge(other.tool_calls);
        self.turns.merge(other.turns);
        self.commands.merge(other.commands);
        self.webhooks.merge(other.webhooks);
    }

    fn is_empty(&self) -> bool {
        *self == Rates::default()
    }
}
