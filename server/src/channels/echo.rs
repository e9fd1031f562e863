//! Our own ids in what providers give back: a delivery and an attempt, as a query (`d=..&n=..`) or as one token.
//!
//! An echo is what settles an attempt whose answer was lost, so it is read strictly: half an echo is none.

use uuid::Uuid;

use super::{Outbound, forms::Form};

/// The public base of a provider's webhooks, without a slash at the end.
#[must_use]
pub fn webhooks(outbound: &Outbound) -> String {
    format!("{}/webhooks/{}", outbound.public_url.trim_end_matches('/'), outbound.provider_id)
}

/// The echo as a query string, without a question mark.
#[must_use]
pub fn query(delivery_id: Uuid, attempt: i16) -> String {
    format!("d={delivery_id}&n={attempt}")
}

/// The echo in a query, if both halves are there and right.
#[must_use]
pub fn from_query(form: &Form) -> Option<(Uuid, i16)> {
    pair(&form.text("d")?, &form.text("n")?)
}

/// The echo as one token, `{delivery}:{attempt}`.
#[must_use]
pub fn token(delivery_id: Uuid, attempt: i16) -> String {
    format!("{delivery_id}:{attempt}")
}

/// The echo in a token.
#[must_use]
pub fn from_token(token: &str) -> Option<(Uuid, i16)> {
    let (delivery_id, attempt) = token.split_once(':')?;
    pair(delivery_id, attempt)
}

fn pair(delivery_id: &str, attempt: &str) -> Option<(Uuid, i16)> {
    let attempt = attempt.parse().ok().filter(|attempt| *attempt >= 1)?;
    Some((delivery_id.parse().ok()?, attempt))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_wrote_and_nothing_half() {
        let id = Uuid::from_u128(7);
        assert_eq!(from_query(&Form::parse(query(id, 2).as_bytes())), Some((id, 2)));
        assert_eq!(from_token(&token(id, 3)), Some((id, 3)));
        for half in
            ["d=00000000-0000-0000-0000-000000000007", "n=1", "d=x&n=1", "d=00000000-0000-0000-0000-000000000007&n=0"]
        {
            assert_eq!(from_query(&Form::parse(half.as_bytes())), None, "{half}");
        }
        assert_eq!(from_token("campaign-7"), None);
    }
}
