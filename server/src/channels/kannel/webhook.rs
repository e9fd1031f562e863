//! What Kannel calls, read as facts: receipts at the `dlr-url` that we gave, messages at the `get-url` of its settings.
//!
//! The caller has checked the token.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::{
    channel::{Address, AddressKind},
    delivery::Evidence,
    message::Content,
};

use super::{
    super::{InboundFact, ReceiptFact, WebhookError, WebhookFacts, echo, forms::Form},
    replies, text,
};

/// A receipt: one status, or a final status with the mark that it expired (0x22) or is not known (0x42).
pub(super) fn receipt(query: &Form) -> Result<WebhookFacts, WebhookError> {
    let malformed = |what: &str| WebhookError::Malformed(what.to_owned());
    let (delivery_id, attempt) = echo::from_query(query).ok_or_else(|| malformed("d or n is missing"))?;
    let status = query.text("status").ok_or_else(|| malformed("status is missing"))?;
    let status: u32 = status.parse().map_err(|_| malformed("status is not a number"))?;
    let evidence = match status {
        _ if status & 1 != 0 => Evidence::Delivered,
        _ if status & (2 | 16) != 0 => Evidence::Failed,
        _ if status & (4 | 8) != 0 => Evidence::Sent,
        _ => return Ok(WebhookFacts::default()),
    };
    let failure = (evidence == Evidence::Failed).then(|| replies::failure(&query.text("reply").unwrap_or_default()));
    let receipt = ReceiptFact {
        provider_message_id: echo::token(delivery_id, attempt),
        echo: Some((delivery_id, attempt)),
        evidence,
        failure,
        provider_time: time(query),
    };
    Ok(WebhookFacts { receipts: vec![receipt], ..WebhookFacts::default() })
}

/// A message from a person, by the parameters that `docs/CHANNELS.md` tells to configure.
pub(super) fn inbound(query: &Form) -> Result<WebhookFacts, WebhookError> {
    let required = |key: &str| query.text(key).ok_or_else(|| WebhookError::Malformed(format!("{key} is missing")));
    let (id, from, to) = (required("id")?, required("from")?, required("to")?);
    let words = query.bytes("text").ok_or_else(|| WebhookError::Malformed("text is missing".to_owned()))?;
    let words = text::decode(words, query.text("coding").as_deref(), query.text("charset").as_deref());
    let Some(from) = phone(&from) else {
        // Names, short codes and numbers without their country cannot be answered.
        tracing::info!(message.id = id, "left out a message whose sender is not a phone number with its country");
        return Ok(WebhookFacts::default());
    };
    let fact = InboundFact {
        provider_message_id: id,
        from: vec![Address { kind: AddressKind::Phone, value: from }],
        to,
        display_name: None,
        content: Content::Text { text: words },
        in_reply_to: None,
        delivery_id: None,
        provider_opt: None,
        provider_time: time(query),
        channel_data: BTreeMap::new(),
    };
    Ok(WebhookFacts { inbound: vec![fact], ..WebhookFacts::default() })
}

/// The number in E.164. In a query a `+` that was not encoded has become a space.
fn phone(value: &str) -> Option<String> {
    let digits = value.trim().trim_start_matches('+');
    let digits = digits.strip_prefix("00").unwrap_or(digits);
    let fits = (8..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    (fits && !digits.starts_with('0')).then(|| format!("+{digits}"))
}

fn time(query: &Form) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(query.text("time")?.parse().ok()?, 0)
}
