//! Questions about a state, in the part of jq in which every expression ends.
//!
//! jq can loop for ever, read input and the environment, and make strings and lists of any size out of nothing. A question about a state
//! needs none of that. What is offered is named here, one by one: paths, comparisons, `and`/`or`/`not`, arithmetic without `*`, `if`,
//! `try`, variables, and the functions of [`OFFERED`]. There are no definitions, no folds, no assignments and no generators but those
//! over the state itself, so an expression takes a finite number of steps. It may still be a large one (every element with every
//! other), which is what the limits of the search are for.

use jaq_core::data::JustLut;
use jaq_core::load::parse::{BinaryOp, Pattern, Term};
use jaq_core::load::{self, Arena, File, Loader, lex};
use jaq_core::ops::Math;
use jaq_core::path::Part;
use jaq_core::{Compiler, Ctx, Filter, Vars, unwrap_valr};
use jaq_json::{Val, read};
use std::collections::BTreeSet;

use super::fields::{Field, named};
use crate::error::{Error, Result};

/// Longest expression.
pub const EXPRESSION_BYTES_MAX: usize = 4_096;
/// The stack that reading and asking the most nested expression of that length is sure to get by with: both recurse.
pub const STACK_BYTES: usize = 256 << 20;

/// The functions that an expression may call, each with the number of its arguments.
pub const OFFERED: &[(&str, usize)] = &[
    ("abs", 0),
    ("add", 0),
    ("add", 1),
    ("all", 0),
    ("all", 1),
    ("all", 2),
    ("any", 0),
    ("any", 1),
    ("any", 2),
    ("arrays", 0),
    ("ascii_downcase", 0),
    ("ascii_upcase", 0),
    ("booleans", 0),
    ("ceil", 0),
    ("contains", 1),
    ("empty", 0),
    ("endswith", 1),
    ("error", 0),
    ("error", 1),
    ("false", 0),
    ("first", 0),
    ("first", 1),
    ("flatten", 0),
    ("floor", 0),
    ("from_entries", 0),
    ("group_by", 1),
    ("has", 1),
    ("in", 1),
    ("index", 1),
    ("indices", 1),
    ("inside", 1),
    ("isempty", 1),
    ("iterables", 0),
    ("join", 1),
    ("keys", 0),
    ("last", 0),
    ("last", 1),
    ("length", 0),
    ("limit", 2),
    ("ltrimstr", 1),
    ("map", 1),
    ("max", 0),
    ("max_by", 1),
    ("min", 0),
    ("min_by", 1),
    ("not", 0),
    ("nth", 1),
    ("null", 0),
    ("nulls", 0),
    ("numbers", 0),
    ("objects", 0),
    ("recurse", 0),
    ("reverse", 0),
    ("round", 0),
    ("rtrimstr", 1),
    ("scalars", 0),
    ("select", 1),
    ("skip", 2),
    ("sort", 0),
    ("sort_by", 1),
    ("split", 1),
    ("startswith", 1),
    ("strings", 0),
    ("to_entries", 0),
    ("tojson", 0),
    ("tonumber", 0),
    ("tostring", 0),
    ("trim", 0),
    ("true", 0),
    ("type", 0),
    ("unique", 0),
    ("unique_by", 1),
    ("values", 0),
];

/// Definitions of the standard library that those of [`OFFERED`] rest on, or are. The others need what is not offered.
const STANDARD: &[&str] = &[
    "null",
    "isboolean",
    "isnumber",
    "isstring",
    "isarray",
    "isobject",
    "abs",
    "type",
    "values",
    "nulls",
    "booleans",
    "numbers",
    "strings",
    "arrays",
    "objects",
    "iterables",
    "scalars",
    "add",
    "min_by",
    "max_by",
    "min",
    "max",
    "unique_by",
    "unique",
    "keys",
    "flatten",
    "split",
];

/// Functions that are made in here: what they are given is refused, so they need not be there.
const REFUSED_NATIVES: &[&str] = &["halt"];

/// A question that a state answers with yes or no. It stays on the thread that made it.
pub struct Predicate {
    filter: Filter<JustLut<Val>>,
    fields: BTreeSet<Field>,
}

impl Predicate {
    /// Reads an expression, on a thread with a stack of [`STACK_BYTES`].
    ///
    /// # Errors
    /// [`Error::Usage`], which names the place: what cannot be read, what does not exist, and what is not offered.
    pub fn parse(code: &str) -> Result<Predicate> {
        if code.len() > EXPRESSION_BYTES_MAX {
            return Err(Error::usage(format!("the expression is longer than {EXPRESSION_BYTES_MAX} bytes")));
        }
        let arena = Arena::default();
        let definitions = jaq_core::defs()
            .chain(jaq_std::defs().filter(|definition| {
                STANDARD.contains(&definition.name)
                    && (definition.name != "split" || definition.args.len() == 1)
                    && (definition.name != "flatten" || definition.args.is_empty())
            }))
            .chain(jaq_json::defs().filter(|definition| definition.name != "transpose"));
        let modules = Loader::new(definitions)
            .load(&arena, File { code, path: () })
            .map_err(|errors| unreadable(code, errors.into_iter().map(|(_, error)| error)))?;
        let term = load::parse(code, |parser| parser.term())
            .ok_or_else(|| Error::usage("the expression imports something: there is nothing to import"))?;
        offered(code, &term)?;
        let natives = jaq_core::funs()
            .chain(jaq_std::base_funs().filter(|(name, ..)| !REFUSED_NATIVES.contains(name)))
            .chain(jaq_json::funs());
        let filter = Compiler::default().with_funs(natives).compile(modules).map_err(|errors| {
            let undefined = errors.into_iter().flat_map(|(_, undefined)| undefined).next();
            undefined.map_or_else(
                || Error::usage("the expression cannot be used"),
                |(name, what)| at(code, name, &format!("there is no {} `{name}`", what.as_str())),
            )
        })?;
        Ok(Predicate { filter, fields: named(&term) })
    }

    /// The fields that it names.
    pub(super) fn fields(&self) -> &BTreeSet<Field> {
        &self.fields
    }

    /// Whether it holds of a state: whether one of its results is neither false nor null.
    ///
    /// # Errors
    /// What the expression stumbled over, in words.
    pub fn holds(&self, state: &str) -> Result<bool, String> {
        self.holds_of(read::parse_single(state.as_bytes()).map_err(|error| error.to_string())?)
    }

    /// The same of a state that was read.
    ///
    /// # Errors
    /// As [`Predicate::holds`].
    pub(super) fn holds_of(&self, state: Val) -> Result<bool, String> {
        let context = Ctx::<JustLut<Val>>::new(&self.filter.lut, Vars::new([]));
        for result in self.filter.id.run((context, state)).map(unwrap_valr) {
            match result {
                Ok(Val::Null | Val::Bool(false)) => {}
                Ok(_) => return Ok(true),
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(false)
    }
}

/// An error at the place of `part`, which is a piece of `code`.
fn at(code: &str, part: &str, what: &str) -> Error {
    let start = load::span(code, part).start;
    match code.get(..start) {
        Some(before) => {
            Error::usage(format!("column {} of the expression: {what}", before.chars().count() + 1))
        }
        None => Error::usage(what),
    }
}

fn unreadable<'s>(code: &'s str, errors: impl Iterator<Item = load::Error<&'s str>>) -> Error {
    for error in errors {
        match error {
            load::Error::Lex(errors) => {
                if let Some((expected, found)) = errors.into_iter().next() {
                    return match expected {
                        lex::Expect::Delim(open) => at(code, open, "this is not closed"),
                        expected => at(code, found, &format!("expected {}", expected.as_str())),
                    };
                }
            }
            load::Error::Parse(errors) => {
                if let Some((expected, found)) = errors.into_iter().next() {
                    let found_words =
                        if found.is_empty() { "the end".to_owned() } else { format!("`{}`", shown(found)) };
                    return at(code, found, &format!("expected {}, found {found_words}", expected.as_str()));
                }
            }
            load::Error::Io(files) => {
                if let Some((path, _)) = files.into_iter().next() {
                    return at(code, path, "there is nothing to import");
                }
            }
        }
    }
    Error::usage("the expression cannot be read")
}

fn shown(part: &str) -> String {
    const CHARS_SHOWN: usize = 20;
    part.chars().take(CHARS_SHOWN).collect()
}

/// Refuses what an expression could run on for ever with.
fn offered(code: &str, term: &Term<&str>) -> Result<()> {
    let refuse = |what: &str| {
        Err(Error::usage(format!("{what} is not offered here: a question only looks at the state")))
    };
    let all = |terms: &[&Term<&str>]| terms.iter().try_for_each(|term| offered(code, term));
    match term {
        Term::Id | Term::Recurse | Term::Num(_) | Term::Break(_) | Term::Var(_) | Term::Arr(None) => Ok(()),
        Term::Str(Some(format), _) => Err(at(code, format, &format!("`{format}` is not offered here"))),
        Term::Str(None, parts) => parts.iter().try_for_each(|part| match part {
            lex::StrPart::Term(term) => offered(code, term),
            lex::StrPart::Str(_) | lex::StrPart::Char(_) => Ok(()),
        }),
        Term::Arr(Some(inner)) | Term::Neg(inner) | Term::Label(_, inner) => offered(code, inner),
        Term::Obj(fields) => fields.iter().try_for_each(|(name, value)| {
            offered(code, name)?;
            value.as_ref().map_or(Ok(()), |value| offered(code, value))
        }),
        Term::BinOp(left, operator, right) => {
            match operator {
                BinaryOp::Math(Math::Mul) => return refuse("`*`"),
                BinaryOp::Assign | BinaryOp::Update | BinaryOp::UpdateMath(_) | BinaryOp::UpdateAlt => {
                    return refuse("an assignment (for equality write `==`)");
                }
                BinaryOp::Pipe(Some(pattern)) => in_pattern(code, pattern)?,
                _ => {}
            }
            all(&[left, right])
        }
        Term::Fold(name, ..) => {
            Err(at(code, name, &format!("`{name}` is not offered here: use add, any, all, map or group_by")))
        }
        Term::Def(definitions, _) => match definitions.first() {
            Some(definition) => Err(at(code, definition.name, "definitions are not offered here")),
            None => refuse("a definition"),
        },
        Term::TryCatch(inner, caught) => {
            offered(code, inner)?;
            caught.as_ref().map_or(Ok(()), |caught| offered(code, caught))
        }
        Term::IfThenElse(branches, otherwise) => {
            branches.iter().try_for_each(|(condition, then)| all(&[condition, then]))?;
            otherwise.as_ref().map_or(Ok(()), |otherwise| offered(code, otherwise))
        }
        Term::Call(name, arguments) => {
            if !OFFERED.contains(&(*name, arguments.len())) {
                let also = OFFERED.iter().find(|(known, _)| known == name);
                let arity = also.map_or(String::new(), |(_, takes)| {
                    format!(" with {} arguments (but with {takes})", arguments.len())
                });
                return Err(at(
                    code,
                    name,
                    &format!("`{name}`{arity} is not offered here; docs/bisect.md lists what is"),
                ));
            }
            arguments.iter().try_for_each(|argument| offered(code, argument))
        }
        Term::Path(head, path) => {
            offered(code, head)?;
            path.0.iter().try_for_each(|(part, _)| match part {
                Part::Index(index) => offered(code, index),
                Part::Range(from, to) => {
                    [from, to].into_iter().flatten().try_for_each(|end| offered(code, end))
                }
            })
        }
    }
}

fn in_pattern(code: &str, pattern: &Pattern<&str>) -> Result<()> {
    match pattern {
        Pattern::Var(_) => Ok(()),
        Pattern::Arr(parts) => parts.iter().try_for_each(|part| in_pattern(code, part)),
        Pattern::Obj(fields) => fields.iter().try_for_each(|(name, part)| {
            offered(code, name)?;
            in_pattern(code, part)
        }),
    }
}
