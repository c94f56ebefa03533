//! `[prices]`: what the user's tokens cost, by model. Nothing is built in: prices change, and a wrong one looks like a fact.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Prices above this, in US dollars a million tokens, are a slip of the pen.
const DOLLARS_MAX: f64 = 1_000_000.0;
/// Millionths of a dollar.
const MICROS: f64 = 1_000_000.0;

/// What tokens of one model cost, in millionths of a US dollar a million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    /// Read outside the cache.
    pub input: u64,
    /// Written by the model.
    pub output: u64,
    /// Read from the cache; `None` where the user gave none, and then such tokens have no known cost.
    pub cache_read: Option<u64>,
    /// Written into the cache.
    pub cache_write: Option<u64>,
}

/// The table of prices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prices(BTreeMap<String, Price>);

impl Prices {
    /// Whether the user gave none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The price of a model: of the longest name in the table that the model's own name begins with.
    pub fn of(&self, model: &str) -> Option<&Price> {
        let named = self.0.iter().filter(|(name, _)| model.starts_with(name.as_str()));
        named.max_by_key(|(name, _)| name.len()).map(|(_, price)| price)
    }

    /// Takes what a file says over what was said before, model by model.
    pub(super) fn apply(&mut self, file: BTreeMap<String, InFile>) -> Result<(), String> {
        for (model, price) in file {
            if model.is_empty() {
                return Err("prices: a model has a name".into());
            }
            let micros = |field: &str, dollars: f64| {
                if (0.0..=DOLLARS_MAX).contains(&dollars) {
                    #[allow(
                        clippy::cast_possible_truncation,
                        clippy::cast_sign_loss,
                        reason = "within the bounds above"
                    )]
                    Ok((dollars * MICROS).round() as u64)
                } else {
                    Err(format!(
                        "prices.\"{model}\".{field}: {dollars} is no price in US dollars for a million tokens"
                    ))
                }
            };
            let optional = |field: &str, dollars: Option<f64>| dollars.map(|d| micros(field, d)).transpose();
            let price = Price {
                input: micros("input", price.input)?,
                output: micros("output", price.output)?,
                cache_read: optional("cache_read", price.cache_read)?,
                cache_write: optional("cache_write", price.cache_write)?,
            };
            self.0.insert(model, price);
        }
        Ok(())
    }
}

/// A price as a file gives it: US dollars a million tokens.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InFile {
    input: f64,
    output: f64,
    cache_read: Option<f64>,
    cache_write: Option<f64>,
}
