//! Which events a reader wants: one syntax for the URL query and the command line.
//!
//! | key | wants |
//! |---|---|
//! | `session`, `agent`, `project` | exactly this one; given several times, any of them; a project with or without `project:` before it |
//! | `kind` | one of these, separated by commas, where `*` stands for any characters and `?` for one; each has to match a kind that there is |
//! | `category` | one of these, separated by commas |
//! | `min_importance` | this importance or more |
//! | `grep` | this text, as it is (no pattern), letters in either case, in the summary or in the payload's JSON text |
//!
//! An event is wanted when every key that is given wants it. A key that does not exist is refused by name, since a filter that ignores a
//! misspelt key shows more than was asked for.

use super::codec::{EventRef, IdText};
use super::{Category, Event, FieldError, Importance, StoredEvent};
use std::collections::BTreeSet;

/// A choice of events.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Filter {
    sessions: BTreeSet<String>,
    kinds: BTreeSet<String>,
    categories: BTreeSet<Category>,
    min_importance: Option<Importance>,
    agents: BTreeSet<String>,
    projects: BTreeSet<String>,
    grep: Option<Needle>,
    key: String,
}

impl Filter {
    /// The keys that a filter takes.
    pub const KEYS: &'static [&'static str] =
        &["session", "kind", "category", "min_importance", "agent", "project", "grep"];

    /// Takes every event.
    pub fn all() -> Filter {
        Filter::default()
    }

    /// Whether it takes every event.
    pub fn takes_all(&self) -> bool {
        self.to_pairs().is_empty()
    }

    /// Reads pairs of key and value, as a URL query or the flags of a command give them.
    ///
    /// # Errors
    /// `unknown_key`, `out_of_range` (an empty value, an importance that is none, a character that no kind has), `unknown_kind`, `unknown_category`
    /// and `repeated_key`, each naming the key.
    pub fn from_pairs<K: AsRef<str>, V: AsRef<str>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Filter, FieldError> {
        let mut filter = Filter::default();
        for (key, value) in pairs {
            filter.add(key.as_ref(), value.as_ref())?;
        }
        filter.key = canonical(&filter.to_pairs());
        Ok(filter)
    }

    fn add(&mut self, key: &str, value: &str) -> Result<(), FieldError> {
        let value = if key == "project" { bare_project(value) } else { value };
        if value.is_empty() && Filter::KEYS.contains(&key) {
            return Err(FieldError::out_of_range(key, "must not be empty"));
        }
        match key {
            "session" => _ = self.sessions.insert(value.to_owned()),
            "agent" => _ = self.agents.insert(value.to_owned()),
            "project" => _ = self.projects.insert(value.to_owned()),
            "kind" => {
                for glob in parts(key, value)? {
                    if !glob
                        .bytes()
                        .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'*' | b'?'))
                    {
                        return Err(FieldError::out_of_range(
                            key,
                            "a kind has small letters, digits and _; * and ? stand for any",
                        ));
                    }
                    if !super::Kind::ALL
                        .iter()
                        .any(|kind| glob_matches(glob.as_bytes(), kind.name().as_bytes()))
                    {
                        return Err(unknown_kind(key, glob));
                    }
                    self.kinds.insert(glob.to_owned());
                }
            }
            "category" => {
                for name in parts(key, value)? {
                    let category = Category::from_name(name).ok_or_else(|| unknown_category(key, name))?;
                    self.categories.insert(category);
                }
            }
            "min_importance" => {
                let importance = value.parse().ok().and_then(Importance::new);
                let importance = importance
                    .ok_or_else(|| FieldError::out_of_range(key, "must be a whole number from 1 to 10"))?;
                once(key, &mut self.min_importance, importance)?;
            }
            "grep" => once(key, &mut self.grep, Needle::new(value))?,
            _ => {
                let known = Filter::KEYS.join(", ");
                let message = match nearest(key, Filter::KEYS.iter().copied()) {
                    Some(meant) => format!("no such filter; did you mean `{meant}`? There are {known}"),
                    None => format!("no such filter; there are {known}"),
                };
                return Err(FieldError::new(key, "unknown_key", message));
            }
        }
        Ok(())
    }

    /// True where it takes every event.
    pub fn is_all(&self) -> bool {
        self.key.is_empty()
    }

    /// Whether the event is wanted.
    pub fn matches(&self, stored: &StoredEvent) -> bool {
        self.matches_event(&stored.event)
    }

    /// Whether the event is wanted: the envelope is asked first, the payload only for `grep`.
    pub fn matches_event(&self, event: &Event) -> bool {
        self.wants(&Asked {
            kind: event.kind.name(),
            category: event.category(),
            importance: event.importance,
            session: id_for(&self.sessions, event.session.as_deref()),
            agent: id_for(&self.agents, event.agent.as_deref()),
            project: event.project.as_deref(),
        }) && self.grep.as_ref().is_none_or(|needle| needle.is_in_event(event))
    }

    /// Whether the envelope is wanted. With `needs_payload` the payload may still decide otherwise.
    pub fn matches_envelope(&self, event: &EventRef<'_>) -> bool {
        self.wants(&Asked {
            kind: event.kind,
            category: super::Kind::from_name(event.kind).map_or(Category::Custom, super::Kind::category),
            importance: event.importance,
            session: event.session,
            agent: event.agent,
            project: event.project,
        })
    }

    /// Whether the envelope alone cannot decide.
    pub const fn needs_payload(&self) -> bool {
        self.grep.is_some()
    }

    fn wants(&self, asked: &Asked<'_>) -> bool {
        let any_id = |wanted: &BTreeSet<String>, found: Option<IdText<'_>>| {
            wanted.is_empty() || found.is_some_and(|found| wanted.iter().any(|wanted| found.is(wanted)))
        };
        self.min_importance.is_none_or(|least| asked.importance >= least)
            && (self.kinds.is_empty()
                || self.kinds.iter().any(|glob| glob_matches(glob.as_bytes(), asked.kind.as_bytes())))
            && (self.categories.is_empty() || self.categories.contains(&asked.category))
            && any_id(&self.sessions, asked.session)
            && any_id(&self.agents, asked.agent)
            && (self.projects.is_empty()
                || asked.project.is_some_and(|project| self.projects.contains(bare_project(project))))
    }

    /// A canonical text, empty for `all`: filters with the same one want the same events, so that what is built for one subscriber
    /// serves all that share it.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The filter as pairs that `from_pairs` reads, for a URL.
    pub fn to_pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = Vec::new();
        pairs.extend(self.sessions.iter().map(|session| ("session", session.clone())));
        if !self.kinds.is_empty() {
            pairs.push(("kind", self.kinds.iter().map(String::as_str).collect::<Vec<_>>().join(",")));
        }
        if !self.categories.is_empty() {
            pairs.push((
                "category",
                self.categories.iter().map(|category| category.name()).collect::<Vec<_>>().join(","),
            ));
        }
        pairs.extend(self.min_importance.map(|least| ("min_importance", least.to_string())));
        pairs.extend(self.agents.iter().map(|agent| ("agent", agent.clone())));
        pairs.extend(self.projects.iter().map(|project| ("project", project.clone())));
        pairs.extend(self.grep.iter().map(|needle| ("grep", needle.text.clone())));
        pairs
    }
}

/// An id in the form in which ids are compared, where one is asked for at all.
fn id_for<'a>(wanted: &BTreeSet<String>, id: Option<&'a str>) -> Option<IdText<'a>> {
    id.filter(|_| !wanted.is_empty()).map(IdText::of)
}

/// What of an event a filter asks about.
struct Asked<'a> {
    kind: &'a str,
    category: Category,
    importance: Importance,
    session: Option<IdText<'a>>,
    agent: Option<IdText<'a>>,
    project: Option<&'a str>,
}

/// Each pair with the length of its value, so that no two lists of pairs give one text.
fn canonical(pairs: &[(&str, String)]) -> String {
    pairs.iter().fold(String::new(), |text, (key, value)| {
        text + key + "=" + &value.len().to_string() + ":" + value + ";"
    })
}

fn bare_project(project: &str) -> &str {
    project.strip_prefix("project:").unwrap_or(project)
}

fn parts<'a>(key: &str, value: &'a str) -> Result<impl Iterator<Item = &'a str>, FieldError> {
    if value.split(',').any(|part| part.trim().is_empty()) {
        return Err(FieldError::out_of_range(key, "must not be empty between commas"));
    }
    Ok(value.split(',').map(str::trim))
}

fn once<T>(key: &str, place: &mut Option<T>, value: T) -> Result<(), FieldError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(FieldError::new(key, "repeated_key", "can be given only once")),
    }
}

fn unknown_category(key: &str, name: &str) -> FieldError {
    let names: Vec<_> = Category::ALL.iter().map(|category| category.name()).collect();
    let known = names.join(", ");
    let message = match nearest(name, names) {
        Some(meant) => format!("there is no category `{name}`; did you mean `{meant}`? There are {known}"),
        None => format!("there is no category `{name}`; there are {known}"),
    };
    FieldError::new(key, "unknown_category", message)
}

/// A kind that there is not would match nothing for ever, and look like a journal without such events.
fn unknown_kind(key: &str, glob: &str) -> FieldError {
    let hint = match nearest(glob.trim_matches(['*', '?']), super::Kind::ALL.iter().map(|kind| kind.name())) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "EVENTS.md lists them; events with a name of their own are of the kind `custom`".to_owned(),
    };
    FieldError::new(key, "unknown_kind", format!("no kind is or matches `{glob}`; {hint}"))
}

/// The name that `typed` was probably meant to be.
pub(crate) fn nearest(typed: &str, names: impl IntoIterator<Item = &'static str>) -> Option<&'static str> {
    const LIKENESS_LEAST: f64 = 0.8;
    let likeness = |name: &str| strsim::jaro_winkler(typed, name);
    let nearest = names.into_iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    nearest.filter(|name| likeness(name) >= LIKENESS_LEAST)
}

/// `*` and `?` against a name. Goes back only to the last star: time is the product of the lengths at worst.
fn glob_matches(glob: &[u8], name: &[u8]) -> bool {
    let (mut g, mut n) = (0, 0);
    let mut star = None;
    while n < name.len() {
        match glob.get(g) {
            Some(b'*') => {
                star = Some((g, n));
                g += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[n] => {
                g += 1;
                n += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    g = at + 1;
                    n = from + 1;
                }
                None => return false,
            },
        }
    }
    glob[g..].iter().all(|byte| *byte == b'*')
}

/// A text that is looked for in either case.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Needle {
    text: String,
    /// In small letters, as it stands.
    plain: String,
    /// In small letters, as it stands inside a JSON string.
    escaped: String,
}

impl Needle {
    fn new(text: &str) -> Needle {
        let plain = text.to_lowercase();
        let quoted = super::Json::String(plain.clone()).to_string();
        let escaped = quoted[1..quoted.len() - 1].to_owned();
        Needle { text: text.to_owned(), plain, escaped }
    }

    fn is_in_event(&self, event: &Event) -> bool {
        let payload = event.payload.as_str();
        is_in(&self.plain, payload)
            || (self.escaped != self.plain && is_in(&self.escaped, payload))
            || is_in(&self.plain, &event.summary())
    }
}

/// Whether `text` holds `needle`, which is in small letters. A needle of ASCII is looked for without a copy of the text.
fn is_in(needle: &str, text: &str) -> bool {
    let bytes = needle.as_bytes();
    let Some(first) = bytes.first() else { return true };
    if !needle.is_ascii() {
        return text.to_lowercase().contains(needle);
    }
    memchr::memchr2_iter(*first, first.to_ascii_uppercase(), text.as_bytes()).any(|at| {
        text.as_bytes().get(at..at + bytes.len()).is_some_and(|found| found.eq_ignore_ascii_case(bytes))
    })
}
