//! What sending costs: prices in millionths of a currency's unit, by message or, for short messages, by part.

use serde::{Deserialize, Serialize};

/// An amount of money.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Money {
    /// The currency, three capital letters of ISO 4217.
    pub currency: String,
    /// Millionths of its unit.
    pub micros: i64,
}

impl Money {
    /// Whether a text has the form of a currency.
    #[must_use]
    pub fn is_currency(text: &str) -> bool {
        text.len() == 3 && text.bytes().all(|b| b.is_ascii_uppercase())
    }

    /// What `units` (messages, or parts) cost at this price; the most that can be said where it is more.
    #[must_use]
    pub const fn times(&self, units: i64) -> i64 {
        self.micros.saturating_mul(units)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_knows_its_currency_and_never_wraps() {
        assert!(Money::is_currency("INR") && !Money::is_currency("inr") && !Money::is_currency("RS"));
        let price = Money { currency: "INR".into(), micros: 125_000 };
        assert_eq!((price.times(8), price.times(i64::MAX)), (1_000_000, i64::MAX));
    }
}
