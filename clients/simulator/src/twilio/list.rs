//! Lists of messages and calls, so that a caller can ask what became of a request whose answer it never saw.
//!
//! Filters and paging as Twilio documents them: `To`, `From`, dates with `<` and `>`, `PageSize`, `Page`; newest first.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use http::HeaderMap;
use serde_json::{Value, json};

use super::authorize;
use super::errors::TwilioError;
use super::form::Form;
use crate::core::Core;
use crate::ledger::{AcceptedCall, Provider};

/// The greatest page that is given.
const LARGEST_PAGE: usize = 1000;

/// What a list is asked for.
#[derive(Debug, Clone, PartialEq, Default)]
struct Filter {
    to: Option<String>,
    from: Option<String>,
    status: Option<String>,
    not_before: Option<DateTime<Utc>>,
    before: Option<DateTime<Utc>>,
}

/// The list of messages.
pub(super) async fn messages(
    State(core): State<Arc<Core>>,
    Path(account): Path<String>,
    uri: http::Uri,
    headers: HeaderMap,
) -> Result<Json<Value>, TwilioError> {
    authorize(&core, &account, uri.path(), &headers)?;
    let form = Form::of_query(&uri);
    let filter = Filter::read(&form, "DateSent")?;
    page(&core, Provider::Sms, &form, &filter, uri.path(), "messages", super::messages::resource)
}

/// The list of calls.
pub(super) async fn calls(
    State(core): State<Arc<Core>>,
    Path(account): Path<String>,
    uri: http::Uri,
    headers: HeaderMap,
) -> Result<Json<Value>, TwilioError> {
    authorize(&core, &account, uri.path(), &headers)?;
    let form = Form::of_query(&uri);
    let filter = Filter::read(&form, "StartTime")?;
    page(&core, Provider::Voice, &form, &filter, uri.path(), "calls", super::calls::resource)
}

fn page(
    core: &Core,
    channel: Provider,
    form: &Form,
    filter: &Filter,
    path: &str,
    name: &str,
    resource: fn(&Core, &AcceptedCall) -> Value,
) -> Result<Json<Value>, TwilioError> {
    let size = number(form, "PageSize", 50)?.clamp(1, LARGEST_PAGE);
    let page = number(form, "Page", 0)?;
    let mut found = core.ledger.calls(|call| call.channel == channel && filter.takes(call));
    found.reverse();
    let start = page.saturating_mul(size).min(found.len());
    let end = start.saturating_add(size).min(found.len());
    let entries: Vec<Value> = found[start..end].iter().map(|call| resource(core, call)).collect();
    let address = |page: usize| {
        let mut kept: Vec<_> =
            form.0.iter().filter(|(key, _)| !matches!(key.as_str(), "Page" | "PageSize")).cloned().collect();
        kept.push(("PageSize".into(), size.to_string()));
        kept.push(("Page".into(), page.to_string()));
        format!("{path}?{}", crate::webhook::encode(&kept))
    };
    Ok(Json(json!({
        name: entries,
        "page": page,
        "page_size": size,
        "start": start,
        "end": end.saturating_sub(1).max(start),
        "uri": address(page),
        "first_page_uri": address(0),
        "next_page_uri": (end < found.len()).then(|| address(page + 1)),
        "previous_page_uri": page.checked_sub(1).map(address),
    })))
}

fn number(form: &Form, name: &str, default: usize) -> Result<usize, TwilioError> {
    form.get(name).map_or(Ok(default), |text| {
        text.parse().map_err(|_| TwilioError::new(20001, format!("Invalid parameter: {name}={text} is not a number")))
    })
}

impl Filter {
    fn read(form: &Form, date: &str) -> Result<Self, TwilioError> {
        let owned = |name: &str| form.get(name).map(str::to_owned);
        let mut filter = Self { to: owned("To"), from: owned("From"), status: owned("Status"), ..Self::default() };
        // `DateSent<=2026-11-20` is parsed as the name `DateSent<` with the value `2026-11-20`.
        if let Some(text) = form.get(date) {
            let (start, end) = moment(text, date)?;
            (filter.not_before, filter.before) = (Some(start), Some(end));
        }
        if let Some(text) = form.get(&format!("{date}>")) {
            filter.not_before = Some(moment(text, date)?.0);
        }
        if let Some(text) = form.get(&format!("{date}<")) {
            filter.before = Some(moment(text, date)?.1);
        }
        Ok(filter)
    }

    fn takes(&self, call: &AcceptedCall) -> bool {
        let same = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        same(&self.to, &call.to)
            && same(&self.from, &call.from)
            && same(&self.status, &call.status)
            && self.not_before.is_none_or(|start| call.at >= start)
            && self.before.is_none_or(|end| call.at < end)
    }
}

/// A date or moment as the range of time it covers: a whole day, or one second.
fn moment(text: &str, name: &str) -> Result<(DateTime<Utc>, DateTime<Utc>), TwilioError> {
    if let Ok(day) = text.parse::<NaiveDate>() {
        let start = day.and_time(NaiveTime::MIN).and_utc();
        return Ok((start, start.checked_add_days(Days::new(1)).unwrap_or(start)));
    }
    let wrong =
        |_| TwilioError::new(20001, format!("Invalid parameter: {name}={text} is not a date such as 2026-11-20"));
    let start = DateTime::parse_from_rfc3339(text).map_err(wrong)?.to_utc();
    Ok((start, crate::clock::later(start, std::time::Duration::from_secs(1))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_means_the_whole_day_and_a_range_its_ends() {
        let day = Filter::read(&Form::parse("To=%2B91980&DateSent=2026-11-20"), "DateSent").unwrap();
        assert_eq!(day.to.as_deref(), Some("+91980"));
        assert_eq!(day.before.unwrap() - day.not_before.unwrap(), chrono::TimeDelta::days(1));
        let range =
            Filter::read(&Form::parse("DateSent%3E=2026-11-20T10:00:00Z&DateSent<=2026-11-21"), "DateSent").unwrap();
        assert_eq!(range.not_before.unwrap().to_rfc3339(), "2026-11-20T10:00:00+00:00");
        assert_eq!(range.before.unwrap().to_rfc3339(), "2026-11-22T00:00:00+00:00");
        assert_eq!(Filter::read(&Form::parse("DateSent=yesterday"), "DateSent").unwrap_err().code, 20001);
    }
}
