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

/// How many of `size` deliveries that cost `price` together fit into `left`, all in millionths.
#[must_use]
pub fn fitting(size: i32, price: i64, left: i64) -> i32 {
    if price <= left {
        return size;
    }
    let fits = i128::from(size) * i128::from(left.max(0)) / i128::from(price.max(1));
    i32::try_from(fits).unwrap_or(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_into_a_budget_is_counted_in_whole_deliveries() {
        assert_eq!((fitting(50, 5_000, 5_000), fitting(50, 5_000, 1_099), fitting(50, 5_000, 99)), (50, 10, 0));
        assert_eq!((fitting(3, 0, 0), fitting(50, i64::MAX, i64::MAX - 1), fitting(50, 10, -5)), (3, 49, 0));
    }

    #[test]
    fn an_amount_knows_its_currency_and_never_wraps() {
        assert!(Money::is_currency("INR") && !Money::is_currency("inr") && !Money::is_currency("RS"));
        let price = Money { currency: "INR".into(), micros: 125_000 };
        assert_eq!((price.times(8), price.times(i64::MAX)), (1_000_000, i64::MAX));
    }
}
