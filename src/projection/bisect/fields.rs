//! The fields that an expression names, and which of them no state had: a misspelt field is null wherever it is asked for, so the question
//! never holds, or always, and nothing goes wrong.
//!
//! What is surely asked of the state itself is looked for at its top, anything else at any depth. Names that the expression makes
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
    /// Whether it was sought at the top of the state; else anywhere in it.
    pub at_top: bool,
    /// The name there that it is most like; null where none is like it.
    pub nearest: Option<String>,
}

/// A field that an expression names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) at_top: bool,
}

/// The fields that an expression names.
pub(super) fn named(term: &Term<&str>) -> BTreeSet<Field> {
    let mut walk = Walk::default();
    walk.term(term, true);
    let Walk { mut fields, made, makes_any } = walk;
    fields.retain(|field| field.at_top || !(makes_any || made.contains(&field.name)));
    fields
}

/// Arguments that are asked of what the function itself is asked of: its name and which of them.
const SAME_INPUT: &[(&str, usize)] =
    &[("add", 0), ("first", 0), ("isempty", 0), ("last", 0), ("limit", 1), ("select", 0), ("skip", 1)];

#[derive(Default)]
struct Walk {
    fields: BTreeSet<Field>,
    /// Names that the expression gives to fields of its own.
    made: BTreeSet<String>,
    /// Whether it makes names out of values.
    makes_any: bool,
}

impl Walk {
    /// `top`: whether it is asked of the state itself.
    fn term(&mut self, term: &Term<&str>, top: bool) {
        match term {
            Term::Str(_, parts) => self.in_string(parts, top),
            // What is caught is what went wrong, not a state.
            Term::Arr(Some(inner)) | Term::Neg(inner) | Term::Label(_, inner) | Term::TryCatch(inner, _) => {
                self.term(inner, top);
            }
            Term::Obj(fields) => fields.iter().for_each(|(name, value)| {
                match (literal(name), value) {
                    (Some(name), Some(_)) => _ = self.made.insert(name),
                    // `{a}` is `{a: .a}`.
                    (Some(name), None) => self.field(name, top),
                    (None, _) => {
                        self.makes_any |= !matches!(name, Term::Var(_));
                        self.term(name, top);
                    }
                }
                value.iter().for_each(|value| self.term(value, top));
            }),
            Term::BinOp(left, operator, right) => {
                self.term(left, top);
                if let BinaryOp::Pipe(Some(pattern)) = operator {
                    self.pattern(pattern, top && matches!(**left, Term::Id));
                }
                // What stands behind `as $x |` is asked of what stands before it.
                let passes_on = !matches!(operator, BinaryOp::Pipe(None)) || matches!(**left, Term::Id);
                self.term(right, top && passes_on);
            }
            Term::IfThenElse(branches, otherwise) => {
                for (condition, then) in branches {
                    self.term(condition, top);
                    self.term(then, top);
                }
                otherwise.iter().for_each(|otherwise| self.term(otherwise, top));
            }
            Term::Call(name, arguments) => self.call(name, arguments, top),
            Term::Path(head, path) => {
                self.term(head, top);
                let mut here = top && matches!(**head, Term::Id);
                for (part, _) in &path.0 {
                    match part {
                        Part::Index(index) => match literal(index) {
                            Some(name) => self.field(name, here),
                            None => self.term(index, top),
                        },
                        Part::Range(from, to) => {
                            [from, to].into_iter().flatten().for_each(|end| self.term(end, top));
                        }
                    }
                    here = false;
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

    fn in_string(&mut self, parts: &[StrPart<&str, Term<&str>>], top: bool) {
        for part in parts {
            if let StrPart::Term(term) = part {
                self.term(term, top);
            }
        }
    }

    fn call(&mut self, name: &str, arguments: &[Term<&str>], top: bool) {
        match (name, arguments) {
            ("has", [field]) => {
                if let Some(field) = literal(field) {
                    self.field(field, top);
                }
            }
            ("to_entries", _) => self.made.extend(["key", "value"].map(str::to_owned)),
            ("from_entries", _) => self.makes_any = true,
            _ => {}
        }
        for (at, argument) in arguments.iter().enumerate() {
            // Of `any(f; g)` and `all(f; g)` the first, where there are two.
            let of_generator = at == 0 && arguments.len() == 2 && matches!(name, "any" | "all");
            self.term(argument, top && (of_generator || SAME_INPUT.contains(&(name, at))));
        }
    }

    fn pattern(&mut self, pattern: &Pattern<&str>, top: bool) {
        match pattern {
            Pattern::Var(_) => {}
            Pattern::Arr(parts) => parts.iter().for_each(|part| self.pattern(part, false)),
            Pattern::Obj(fields) => fields.iter().for_each(|(name, part)| {
                if let Some(name) = literal(name) {
                    self.field(name, top);
                }
                self.pattern(part, false);
            }),
        }
    }

    fn field(&mut self, name: String, at_top: bool) {
        self.fields.insert(Field { name, at_top });
    }
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

/// The fields that no state had so far.
#[derive(Debug, Default)]
pub(super) struct Unseen(Vec<(Field, Vec<u8>)>);

impl Unseen {
    pub(super) fn of(fields: &BTreeSet<Field>) -> Unseen {
        let with_pattern = |field: &Field| {
            // As it stands in compact JSON before its value.
            let pattern = Json::from(field.name.as_str()).to_string() + ":";
            (field.clone(), pattern.into_bytes())
        };
        Unseen(fields.iter().map(with_pattern).collect())
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
        let mut top: Option<BTreeSet<String>> = None;
        self.0.retain(|(field, pattern)| {
            // Cheap, and nearly always the answer for what is misspelt.
            if memchr::memmem::find(state.as_bytes(), pattern).is_none() {
                return true;
            }
            field.at_top && !top.get_or_insert_with(|| top_names(state)).contains(&field.name)
        });
    }

    /// What no state had, each with the nearest name of the last of them; with `deep` also what was sought below the top.
    pub(super) fn told(&self, last: &str, deep: bool) -> Vec<UnknownField> {
        let of_interest = || self.0.iter().map(|(field, _)| field).filter(|field| deep || field.at_top);
        let mut any = BTreeSet::new();
        if of_interest().any(|field| !field.at_top)
            && let Ok(state) = serde_json::from_str(last)
        {
            all_names(&state, &mut any);
        }
        let top = top_names(last);
        let told = of_interest().map(|field| {
            let names = if field.at_top { &top } else { &any };
            UnknownField {
                name: field.name.clone(),
                at_top: field.at_top,
                nearest: nearest(&field.name, names),
            }
        });
        told.collect()
    }
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
