//! The fields that an expression names, and which of them no state had: a misspelt field is null wherever it is asked for, so the question
//! never holds, or always, and nothing goes wrong.
//!
//! What is surely asked of the state itself is looked for at its top, what is reached from there by names and `[]` where that leads, and
//! anything else at any depth. Names that the expression makes
//! itself, as in `{n: .x} | .n`, are nobody's fault and are left out; so is all below the top where it makes names out of values.

use std::collections::{BTreeMap, BTreeSet};

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Pattern, Term};
use jaq_core::path::Part;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::event::Json;

/// From here on a name is near enough to be offered.
const LIKENESS_LEAST: f64 = 0.8;

/// A field that an expression names and that no state had of which it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnknownField {
    /// Its name.
    pub name: String,
    /// Whether it was sought at the top of the state; else under `under`.
    pub at_top: bool,
    /// Where it was sought, as an expression names it: `.sessions[]`; null at the top, and where it was sought anywhere.
    pub under: Option<String>,
    /// The name there that it is most like; null where none is like it.
    pub nearest: Option<String>,
}

/// A field that an expression names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Field {
    pub(super) name: String,
    /// The place of what it is a field of: empty for the state itself, none where that is not sure.
    within: Option<Vec<Step>>,
}

impl Field {
    fn at_top(&self) -> bool {
        self.within.as_ref().is_some_and(Vec::is_empty)
    }
}

/// A step on the way down from a state.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// To the field of this name.
    Name(String),
    /// To each element, or one of them.
    Each,
}

/// The fields that an expression names.
pub(super) fn named(term: &Term<&str>) -> BTreeSet<Field> {
    let mut walk = Walk::default();
    walk.term(term, Some(&[]));
    let Walk { mut fields, made, makes_any } = walk;
    fields.retain(|field| field.within.is_some() || !(makes_any || made.contains(&field.name)));
    fields
}

/// Arguments that are asked of what the function itself is asked of: its name and which of them.
const SAME_INPUT: &[(&str, usize)] =
    &[("add", 0), ("first", 0), ("isempty", 0), ("last", 0), ("limit", 1), ("select", 0), ("skip", 1)];

/// Functions whose one argument is asked of each element of what the function is asked of.
const EACH_OF_INPUT: &[&str] = &["all", "any", "group_by", "map", "max_by", "min_by", "sort_by", "unique_by"];

#[derive(Default)]
struct Walk {
    fields: BTreeSet<Field>,
    /// Names that the expression gives to fields of its own.
    made: BTreeSet<String>,
    /// Whether it makes names out of values.
    makes_any: bool,
}

impl Walk {
    /// `here`: where in the state that lies of which it is asked, as far as that is sure.
    fn term(&mut self, term: &Term<&str>, here: Option<&[Step]>) {
        match term {
            Term::Str(_, parts) => self.in_string(parts, here),
            // What is caught is what went wrong, not a state.
            Term::Arr(Some(inner)) | Term::Neg(inner) | Term::Label(_, inner) | Term::TryCatch(inner, _) => {
                self.term(inner, here);
            }
            Term::Obj(fields) => fields.iter().for_each(|(name, value)| {
                match (literal(name), value) {
                    (Some(name), Some(_)) => _ = self.made.insert(name),
                    // `{a}` is `{a: .a}`.
                    (Some(name), None) => self.field(name, here),
                    (None, _) => {
                        self.makes_any |= !matches!(name, Term::Var(_));
                        self.term(name, here);
                    }
                }
                value.iter().for_each(|value| self.term(value, here));
            }),
            Term::BinOp(left, operator, right) => {
                self.term(left, here);
                let there = result(left, here);
                if let BinaryOp::Pipe(Some(pattern)) = operator {
                    self.pattern(pattern, there.as_deref());
                }
                // What stands behind `as $x |` is asked of what stands before it.
                let is_pipe = matches!(operator, BinaryOp::Pipe(None));
                self.term(right, if is_pipe { there.as_deref() } else { here });
            }
            Term::IfThenElse(branches, otherwise) => {
                for (condition, then) in branches {
                    self.term(condition, here);
                    self.term(then, here);
                }
                otherwise.iter().for_each(|otherwise| self.term(otherwise, here));
            }
            Term::Call(name, arguments) => self.call(name, arguments, here),
            Term::Path(head, path) => {
                self.term(head, here);
                let mut at = result(head, here);
                for (part, _) in &path.0 {
                    match part {
                        Part::Index(index) => match literal(index) {
                            Some(name) => self.field(name, at.as_deref()),
                            None => self.term(index, here),
                        },
                        Part::Range(from, to) => {
                            [from, to].into_iter().flatten().for_each(|end| self.term(end, here));
                        }
                    }
                    at = at.map(|at| after(at, part));
                }
            }
            // The last two are not offered.
            Term::Id
            | Term::Recurse
            | Term::Num(_)
            | Term::Arr(None)
            | Term::Break(_)
            | Term::Var(_)
            | Term::Fold(..)
            | Term::Def(..) => {}
        }
    }

    fn in_string(&mut self, parts: &[StrPart<&str, Term<&str>>], here: Option<&[Step]>) {
        for part in parts {
            if let StrPart::Term(term) = part {
                self.term(term, here);
            }
        }
    }

    fn call(&mut self, name: &str, arguments: &[Term<&str>], here: Option<&[Step]>) {
        match (name, arguments) {
            ("has", [field]) => {
                if let Some(field) = literal(field) {
                    self.field(field, here);
                }
            }
            ("to_entries", _) => self.made.extend(["key", "value"].map(str::to_owned)),
            ("from_entries", _) => self.makes_any = true,
            _ => {}
        }
        let each = || here.map(|here| [here, &[Step::Each]].concat());
        match (name, arguments) {
            ("any" | "all", [generator, condition]) => {
                self.term(generator, here);
                self.term(condition, result(generator, here).as_deref());
            }
            (name, [of_each]) if EACH_OF_INPUT.contains(&name) => self.term(of_each, each().as_deref()),
            _ => arguments.iter().enumerate().for_each(|(at, argument)| {
                self.term(argument, here.filter(|_| SAME_INPUT.contains(&(name, at))));
            }),
        }
    }

    fn pattern(&mut self, pattern: &Pattern<&str>, here: Option<&[Step]>) {
        match pattern {
            Pattern::Var(_) => {}
            Pattern::Arr(parts) => parts.iter().for_each(|part| self.pattern(part, None)),
            Pattern::Obj(fields) => fields.iter().for_each(|(name, part)| {
                if let Some(name) = literal(name) {
                    self.field(name, here);
                }
                self.pattern(part, None);
            }),
        }
    }

    fn field(&mut self, name: String, within: Option<&[Step]>) {
        self.fields.insert(Field { name, within: within.map(<[Step]>::to_vec) });
    }
}

/// Where in the state that lies which a term gives, as far as that is sure.
fn result(term: &Term<&str>, here: Option<&[Step]>) -> Option<Vec<Step>> {
    match term {
        Term::Id | Term::Call("select", _) => here.map(<[Step]>::to_vec),
        Term::Path(head, path) => {
            let head = result(head, here)?;
            Some(path.0.iter().fold(head, |at, (part, _)| after(at, part)))
        }
        Term::BinOp(left, BinaryOp::Pipe(None), right) => result(right, result(left, here).as_deref()),
        Term::TryCatch(inner, None) => result(inner, here),
        _ => None,
    }
}

/// Where a part of a path leads to.
fn after(mut at: Vec<Step>, part: &Part<Term<&str>>) -> Vec<Step> {
    match part {
        Part::Index(index) => at.push(literal(index).map_or(Step::Each, Step::Name)),
        Part::Range(None, None) => at.push(Step::Each),
        // A part of a list is a list.
        Part::Range(..) => {}
    }
    at
}

/// The objects at a place of a state.
fn objects_at<'a>(value: &'a Json, place: &[Step], found: &mut Vec<&'a serde_json::Map<String, Json>>) {
    match (place, value) {
        ([], Json::Object(object)) => found.push(object),
        ([Step::Name(name), rest @ ..], Json::Object(object)) => {
            object.get(name).into_iter().for_each(|value| objects_at(value, rest, found));
        }
        ([Step::Each, rest @ ..], Json::Object(object)) => {
            object.values().for_each(|value| objects_at(value, rest, found));
        }
        ([Step::Each, rest @ ..], Json::Array(elements)) => {
            elements.iter().for_each(|value| objects_at(value, rest, found));
        }
        _ => {}
    }
}

/// A place as an expression names it.
fn place_words(place: &[Step]) -> String {
    let words = place.iter().map(|step| match step {
        Step::Each => "[]".to_owned(),
        Step::Name(name) if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') => {
            format!(".{name}")
        }
        Step::Name(name) => format!("[{}]", Json::from(name.as_str())),
    });
    let words: String = words.collect();
    if words.starts_with('.') { words } else { format!(".{words}") }
}

/// The text of a string in which nothing has to be worked out.
fn literal(term: &Term<&str>) -> Option<String> {
    let Term::Str(None, parts) = term else { return None };
    parts
        .iter()
        .map(|part| match part {
            StrPart::Str(text) => Some((*text).to_owned()),
            StrPart::Char(one) => Some(one.to_string()),
            StrPart::Term(_) => None,
        })
        .collect()
}

/// A field that no state had so far.
#[derive(Debug)]
struct Sought {
    field: Field,
    /// As it stands in compact JSON before its value.
    pattern: Vec<u8>,
    /// A state had one of this name in another place.
    elsewhere: bool,
}

/// The fields that no state had so far.
#[derive(Debug, Default)]
pub(super) struct Unseen(Vec<Sought>);

impl Unseen {
    pub(super) fn of(fields: &BTreeSet<Field>) -> Unseen {
        let sought = |field: &Field| {
            let pattern = Json::from(field.name.as_str()).to_string() + ":";
            Sought { field: field.clone(), pattern: pattern.into_bytes(), elsewhere: false }
        };
        Unseen(fields.iter().map(sought).collect())
    }

    /// Whether every field was seen.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes out what `state`, compact JSON, has.
    pub(super) fn look(&mut self, state: &str) {
        if self.0.is_empty() {
            return;
        }
        let (mut top, mut whole): (Option<BTreeSet<String>>, Option<Json>) = (None, None);
        self.0.retain_mut(|sought| {
            // Cheap, and nearly always the answer for what is misspelt.
            if memchr::memmem::find(state.as_bytes(), &sought.pattern).is_none() {
                return true;
            }
            sought.elsewhere = true;
            let name = &sought.field.name;
            match sought.field.within.as_deref() {
                None => false,
                Some([]) => !top.get_or_insert_with(|| top_names(state)).contains(name),
                Some(place) => {
                    let whole = whole.get_or_insert_with(|| parsed(state));
                    let mut objects = Vec::new();
                    objects_at(whole, place, &mut objects);
                    !objects.iter().any(|object| object.contains_key(name))
                }
            }
        });
    }

    /// What no state had, each with the nearest name of the last of them; with `deep` also what was sought below the top.
    pub(super) fn told(&self, last: &str, deep: bool) -> Vec<UnknownField> {
        let of_interest = || self.0.iter().filter(|sought| deep || sought.field.at_top());
        let state =
            if of_interest().any(|sought| !sought.field.at_top()) { parsed(last) } else { Json::Null };
        let (top, mut any) = (top_names(last), BTreeSet::new());
        all_names(&state, &mut any);
        let mut told: Vec<UnknownField> = Vec::new();
        for Sought { field, elsewhere, .. } in of_interest() {
            let mut objects = Vec::new();
            let place = field.within.as_deref().filter(|place| !place.is_empty());
            place.iter().for_each(|place| objects_at(&state, place, &mut objects));
            let there: BTreeSet<String> = objects.iter().flat_map(|object| object.keys().cloned()).collect();
            let under = place.filter(|_| !there.is_empty()).map(place_words);
            let names = match (field.at_top(), &under) {
                (true, _) => &top,
                (false, Some(_)) => &there,
                // Nothing was where it is sought, so of a name that is known nothing can be told.
                (false, None) if *elsewhere => continue,
                (false, None) => &any,
            };
            let nearest = nearest(&field.name, names);
            let unknown = UnknownField { name: field.name.clone(), at_top: field.at_top(), under, nearest };
            if !told.contains(&unknown) {
                told.push(unknown);
            }
        }
        told
    }
}

/// A state; a projection's own is always JSON.
fn parsed(state: &str) -> Json {
    serde_json::from_str(state).unwrap_or(Json::Null)
}

fn top_names(state: &str) -> BTreeSet<String> {
    serde_json::from_str::<BTreeMap<String, &RawValue>>(state)
        .map(BTreeMap::into_keys)
        .into_iter()
        .flatten()
        .collect()
}

fn all_names(value: &Json, names: &mut BTreeSet<String>) {
    match value {
        Json::Object(fields) => fields.iter().for_each(|(name, value)| {
            if !names.contains(name) {
                names.insert(name.clone());
            }
            all_names(value, names);
        }),
        Json::Array(elements) => elements.iter().for_each(|element| all_names(element, names)),
        _ => {}
    }
}

fn nearest(typed: &str, names: &BTreeSet<String>) -> Option<String> {
    let likeness = |name: &String| strsim::jaro_winkler(typed, name);
    let nearest = names.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(nearest) >= LIKENESS_LEAST).then(|| nearest.clone())
}
