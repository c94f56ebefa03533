//! The JSON form of statistics: the body of `GET /stats` and what `stats --json` prints.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::tokens::{TokenFigures, TokenTable};
use super::{Figures, Group, Query, Stats};
use crate::event::Timestamp;
use crate::projection::commands::view::{CommandView, Counted, SessionsView, commands};
use crate::projection::health::view::RatesView;
use crate::projection::sessions::state::Tokens;
use crate::projection::{GapView, Progress};

/// The version of this form: raised when a field changes its meaning or goes.
pub const VERSION: u32 = 1;

/// Which part to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// Commands.
    Commands,
    /// Sessions.
    Sessions,
    /// Failures and the recorder's own events.
    Health,
    /// Tokens.
    Tokens,
}

/// The whole answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatsView {
    /// See [`VERSION`].
    pub version: u32,
    /// As it was asked for.
    pub since: Option<Timestamp>,
    /// As it was asked for.
    pub until: Option<Timestamp>,
    /// As it was asked for.
    pub by: Option<Cow<'static, str>>,
    /// Events whose payload could not be read, and records that are no event to this version; they are in no figure but
    /// `events`, the latter in none.
    pub unreadable: u64,
    /// Ranges that can no longer be read.
    pub gaps: Vec<GapView>,
    /// Messages of which so much came between that their lines could count twice.
    pub messages_forgotten: u64,
    /// The figures of the whole range.
    pub total: FiguresView,
    /// The same, a group; null where none was asked for.
    pub groups: Option<Vec<GroupView>>,
}

/// The figures of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupView {
    /// Its hour, day, session or project; null for what has none.
    pub key: Group,
    /// Its figures.
    #[serde(flatten)]
    pub figures: FiguresView,
}

/// Figures, as far as they were asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FiguresView {
    /// All events.
    pub events: u64,
    /// From which event to which.
    #[serde(flatten)]
    pub seqs: Counted,
    /// Commands, the most frequent first.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub commands: Option<Vec<CommandView>>,
    /// Sessions.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sessions: Option<SessionsView>,
    /// Failures and the recorder's own events.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub health: Option<HealthFiguresView>,
    /// Tokens.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tokens: Option<TokensView>,
}

/// Failures and the recorder's own events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthFiguresView {
    /// What ended, and what of it failed.
    pub rates: RatesView,
    /// From which event to which the rates were counted.
    pub rates_range: Counted,
    /// The recorder's own events by kind; a kind that did not come is absent.
    pub own: Vec<OwnView>,
    /// From which event to which these were counted.
    pub own_range: Counted,
}

/// How often a kind of the recorder's own events came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnView {
    /// The kind.
    pub kind: Cow<'static, str>,
    /// How often.
    pub count: u64,
}

/// Tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokensView {
    /// Over all models.
    pub total: TokenCounts,
    /// A model, the one with the most tokens first.
    pub models: Vec<ModelView>,
}

/// The tokens of some messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenCounts {
    /// Model messages, each once.
    pub messages: u64,
    /// Of these, with a usage: of the others the tokens are unknown.
    pub messages_with_usage: u64,
    /// Lines that a resumed or forked session copied; they count nowhere else.
    pub lines_copied: u64,
    /// Their tokens as the provider reported them; null where no message has a usage.
    pub tokens: Option<Tokens>,
    /// From which event to which this was counted.
    #[serde(flatten)]
    pub seqs: Counted,
}

/// The tokens of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelView {
    /// Its name.
    pub model: String,
    /// Its figures.
    #[serde(flatten)]
    pub counts: TokenCounts,
}

impl TokenCounts {
    fn of(figures: &TokenFigures) -> TokenCounts {
        TokenCounts {
            messages: figures.messages,
            messages_with_usage: figures.with_usage,
            lines_copied: figures.copied,
            tokens: (figures.with_usage > 0).then_some(figures.tokens),
            seqs: figures.seqs.into(),
        }
    }
}

impl TokensView {
    fn of(table: &TokenTable) -> TokensView {
        let rows = table.0.iter().filter(|(_, figures)| figures.messages > 0 || figures.copied > 0);
        let mut models: Vec<_> = rows.clone().collect();
        models.sort_by_key(|(_, figures)| std::cmp::Reverse(figures.tokens.total()));
        let mut total = TokenFigures::default();
        rows.for_each(|(_, figures)| total.add(figures));
        let models = models
            .into_iter()
            .map(|(model, figures)| ModelView { model: model.clone(), counts: TokenCounts::of(figures) });
        TokensView { total: TokenCounts::of(&total), models: models.collect() }
    }
}

impl StatsView {
    /// The same with this topic alone.
    #[must_use]
    pub fn only(mut self, topic: Topic) -> StatsView {
        let groups = self.groups.iter_mut().flatten().map(|group| &mut group.figures);
        for figures in std::iter::once(&mut self.total).chain(groups) {
            figures.keep(topic);
        }
        self
    }
}

impl FiguresView {
    fn keep(&mut self, topic: Topic) {
        if topic != Topic::Commands {
            self.commands = None;
        }
        if topic != Topic::Sessions {
            self.sessions = None;
        }
        if topic != Topic::Health {
            self.health = None;
        }
        if topic != Topic::Tokens {
            self.tokens = None;
        }
    }

    fn of(figures: &Figures, topic: Option<Topic>) -> FiguresView {
        let wants = |this: Topic| topic.is_none_or(|topic| topic == this);
        let own = figures.own.iter().map(|(kind, count)| OwnView { kind: kind.name().into(), count: *count });
        FiguresView {
            events: figures.events,
            seqs: figures.seqs.into(),
            commands: wants(Topic::Commands).then(|| commands(&figures.commands)),
            sessions: wants(Topic::Sessions).then(|| SessionsView::of(&figures.sessions)),
            health: wants(Topic::Health).then(|| HealthFiguresView {
                rates: figures.rates.into(),
                rates_range: figures.rates_seqs.into(),
                own: own.collect(),
                own_range: figures.own_seqs.into(),
            }),
            tokens: wants(Topic::Tokens).then(|| TokensView::of(&figures.tokens)),
        }
    }
}

/// The answer to `query`, or one part of it.
pub fn stats(stats: &Stats, progress: &Progress, query: &Query, topic: Option<Topic>) -> StatsView {
    let groups = stats
        .groups
        .iter()
        .map(|(key, figures)| GroupView { key: key.clone(), figures: FiguresView::of(figures, topic) });
    StatsView {
        version: VERSION,
        since: query.since,
        until: query.until,
        by: query.by.map(|by| by.name().into()),
        unreadable: stats.unread + progress.undecodable,
        gaps: GapView::all(progress),
        messages_forgotten: stats.messages_forgotten(),
        total: FiguresView::of(&stats.total, topic),
        groups: query.by.map(|_| groups.collect()),
    }
}
