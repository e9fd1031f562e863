//! Reading fields: each function checks one kind of value, notes what is wrong, and then reads it as a default, so that
//! reading goes on and all violations are found. What was read counts only when [`Faults::finish`] says so.

use std::ops::RangeInclusive;

use chrono::{DateTime, TimeDelta, Utc};
use domain::{channel::Address, locale::Locale, slug::Slug};
use proto::v1;

use super::common;
use crate::services::{self, Violation, error::all_right};

/// What was found wrong so far, and in which part of the request one reads.
#[derive(Debug, Default)]
pub struct Faults {
    found: Vec<Violation>,
    path: Vec<String>,
    country: Option<String>,
}

impl Faults {
    /// Reading in which phone numbers without `+` belong to a country; without one they are wrong.
    #[must_use]
    pub fn in_country(country: Option<String>) -> Self {
        Self { country, ..Self::default() }
    }

    /// Another country from here on; empty leaves it. One that does not exist is noted.
    pub fn country(&mut self, field: &str, country: &str) {
        if country.is_empty() {
            return;
        }
        match domain::phone::is_country(country) {
            true => self.country = Some(country.to_owned()),
            false => self.note(field, "must be a country in ISO 3166-1 alpha-2, such as IN"),
        }
    }

    /// Notes that a field is wrong.
    pub fn note(&mut self, field: impl AsRef<str>, description: impl Into<String>) {
        self.add(Violation::new(field.as_ref(), description));
    }

    /// Notes a violation of a field in the part that is read.
    pub fn add(&mut self, violation: Violation) {
        let path = self.path.join(".");
        self.found.push(violation.inside(&path));
    }

    /// Reads a part of the request: its faults are noted beneath `field`.
    pub fn inside<T>(&mut self, field: impl Into<String>, read: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(field.into());
        let value = read(self);
        self.path.pop();
        value
    }

    /// How many faults were noted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// Whether nothing was noted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Hands over what was noted so far, to be said together with what is found later.
    #[must_use]
    pub fn take(&mut self) -> Vec<Violation> {
        std::mem::take(&mut self.found)
    }

    /// What was noted.
    #[must_use]
    pub fn into_violations(self) -> Vec<Violation> {
        self.found
    }

    /// Ends reading.
    ///
    /// # Errors
    /// Everything that was noted.
    pub fn finish(self) -> services::Result<()> {
        all_right(self.found)
    }

    /// A message that must be there.
    pub fn required<T: Default>(&mut self, field: &str, value: Option<T>) -> T {
        if value.is_none() {
            self.note(field, "is missing");
        }
        value.unwrap_or_default()
    }

    /// A text of at most `max` characters without control characters; line breaks are allowed.
    pub fn text(&mut self, field: &str, value: String, max: usize) -> String {
        let count = value.chars().count();
        if count > max {
            self.note(field, format!("has {count} characters, at most {max} are allowed"));
        }
        if value.chars().any(|c| c.is_control() && c != '\n' && c != '\t' && c != '\r') {
            self.note(field, "has control characters");
        }
        value
    }

    /// A text that must not be empty.
    pub fn required_text(&mut self, field: &str, value: String, max: usize) -> String {
        if value.trim().is_empty() {
            self.note(field, "is missing");
        }
        self.text(field, value, max)
    }

    /// The id of a new definition.
    pub fn slug(&mut self, field: &str, value: &str) -> String {
        if let Err(error) = Slug::parse(value) {
            self.note(field, format!("{error}, such as sms-main"));
        }
        value.to_owned()
    }

    /// The slug in a resource name such as `channels/sms-main`.
    pub fn name(&mut self, field: &str, collection: &str, value: &str) -> String {
        let slug = value.strip_prefix(collection).and_then(|rest| rest.strip_prefix('/'));
        if slug.is_none_or(|slug| Slug::parse(slug).is_err()) {
            self.note(field, format!("must be written {collection}/{{id}}, such as {collection}/main-1"));
        }
        slug.unwrap_or_default().to_owned()
    }

    /// The same where it may be empty.
    pub fn optional_name(&mut self, field: &str, collection: &str, value: &str) -> Option<String> {
        if value.is_empty() { None } else { Some(self.name(field, collection, value)) }
    }

    /// The slug and the number in a name such as `templates/welcome` (0: the newest) or `templates/welcome/versions/3`.
    pub fn versioned_name(&mut self, field: &str, collection: &str, value: &str) -> (String, i32) {
        match value.split_once("/versions/") {
            None => (self.name(field, collection, value), 0),
            Some((name, number)) => {
                let number = number.parse::<i32>().ok().filter(|n| *n > 0);
                if number.is_none() {
                    self.note(field, format!("must end in a number from 1, such as {collection}/main-1/versions/3"));
                }
                (self.name(field, collection, name), number.unwrap_or(1))
            }
        }
    }

    /// A length of time in a range.
    pub fn duration(
        &mut self,
        field: &str,
        value: Option<prost_types::Duration>,
        range: RangeInclusive<TimeDelta>,
    ) -> Option<TimeDelta> {
        let value = value?;
        let span = common::duration(&value);
        match span.filter(|d| range.contains(d)) {
            Some(span) => Some(span),
            None => {
                let (least, most) = (common::words(*range.start()), common::words(*range.end()));
                self.note(field, format!("must be from {least} to {most}"));
                None
            }
        }
    }

    /// A point in time.
    pub fn time(&mut self, field: &str, value: Option<prost_types::Timestamp>) -> Option<DateTime<Utc>> {
        let value = value?;
        let time = common::time(&value);
        if time.is_none() {
            self.note(field, "is no time between the years 1 and 9999");
        }
        time
    }

    /// A value of an enum that must be said; `T` is what it means here.
    pub fn code<E, T>(&mut self, field: &str, value: i32, read: impl FnOnce(E) -> Option<T>) -> Option<T>
    where
        E: TryFrom<i32>,
    {
        let known = E::try_from(value).ok().and_then(read);
        if known.is_none() {
            self.note(field, if value == 0 { "is missing" } else { "has a value that this server does not know" });
        }
        known
    }

    /// The same where 0 means that nothing was said.
    pub fn optional_code<E, T>(&mut self, field: &str, value: i32, read: impl FnOnce(E) -> Option<T>) -> Option<T>
    where
        E: TryFrom<i32>,
    {
        if value == 0 { None } else { self.code(field, value, read) }
    }

    /// A number in a range, with a default for 0.
    pub fn number(&mut self, field: &str, value: i32, range: RangeInclusive<i32>) -> Option<i32> {
        if value == 0 {
            return None;
        }
        if !range.contains(&value) {
            self.note(field, format!("is {value}, must be from {} to {}", range.start(), range.end()));
        }
        Some(value)
    }

    /// A language, or none.
    pub fn locale(&mut self, field: &str, value: &str) -> String {
        if value.is_empty() {
            return String::new();
        }
        match Locale::parse(value) {
            Ok(locale) => locale.to_string(),
            Err(error) => {
                self.note(field, error.to_string());
                String::new()
            }
        }
    }

    /// A time zone, or none.
    pub fn time_zone(&mut self, field: &str, value: String) -> String {
        if !value.is_empty() && value.parse::<chrono_tz::Tz>().is_err() {
            let text = "is not in the IANA database; write it like Asia/Kolkata";
            self.add(Violation::new(field, text).because("TIME_ZONE_UNKNOWN").with("time_zone", value.as_str()));
        }
        value
    }

    /// An address, in its canonical form.
    pub fn address(&mut self, field: &str, value: Option<v1::Address>) -> Option<Address> {
        let Some(value) = value else {
            self.note(field, "is missing");
            return None;
        };
        self.inside(field, |faults| {
            let kind = faults.code("kind", value.kind, common::address_kind)?;
            match Address::parse(kind, &value.value, faults.country.as_deref()) {
                Ok(address) => Some(address),
                Err(error) => {
                    let violation = Violation::new("value", error.to_string());
                    faults.add(violation.because("ADDRESS_INVALID").with("kind", kind.as_str()));
                    None
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(read: impl FnOnce(&mut Faults)) -> Vec<String> {
        let mut faults = Faults::default();
        read(&mut faults);
        faults.into_violations().into_iter().map(|v| v.field).collect()
    }

    #[test]
    fn every_fault_is_noted_with_its_path() {
        let found = fields(|f| {
            f.slug("channel_id", "Not ok");
            f.inside("channel", |f| {
                f.text("display_name", "x".repeat(201), 200);
                f.inside("providers[0]", |f| f.slug("id", ""));
                f.time_zone("time_zone", "Nowhere/Here".into());
            });
        });
        assert_eq!(found, ["channel_id", "channel.display_name", "channel.providers[0].id", "channel.time_zone"]);
    }

    #[test]
    fn names_are_read_with_and_without_versions() {
        let mut faults = Faults::default();
        assert_eq!(faults.name("name", "channels", "channels/sms-main"), "sms-main");
        assert_eq!(faults.versioned_name("name", "templates", "templates/hello"), ("hello".into(), 0));
        assert_eq!(faults.versioned_name("name", "templates", "templates/hello/versions/3"), ("hello".into(), 3));
        assert!(faults.is_empty());
        for wrong in ["sms-main", "channels/", "channels/A", "templates/sms-main", "channels/a/b"] {
            assert_eq!(fields(|f| drop(f.name("name", "channels", wrong))), ["name"], "{wrong}");
        }
        assert_eq!(fields(|f| drop(f.versioned_name("n", "templates", "templates/hello/versions/x"))), ["n"]);
    }

    #[test]
    fn addresses_become_canonical_or_say_why_not() {
        let address = |kind: i32, value: &str| Some(v1::Address { kind, value: value.into() });
        let mut faults = Faults::in_country(Some("IN".into()));
        let phone = faults.address("address", address(1, "98123 45678"));
        assert_eq!(phone.map(|a| a.value), Some("+919812345678".to_owned()));
        faults.address("address", address(2, "nobody"));
        faults.address("address", address(0, "x"));
        faults.address("address", address(77, "x"));
        faults.address("address", None);
        let found = faults.into_violations();
        let fields: Vec<&str> = found.iter().map(|v| v.field.as_str()).collect();
        assert_eq!(fields, ["address.value", "address.kind", "address.kind", "address"]);
        assert_eq!(found[0].reason, "ADDRESS_INVALID");
    }

    #[test]
    fn durations_lie_in_their_range() {
        let range = TimeDelta::seconds(1)..=TimeDelta::days(30);
        let of = |seconds, nanos| Some(prost_types::Duration { seconds, nanos });
        let mut faults = Faults::default();
        assert_eq!(faults.duration("wait", of(90, 500_000_000), range.clone()), Some(TimeDelta::milliseconds(90_500)));
        assert_eq!(faults.duration("wait", None, range.clone()), None);
        assert!(faults.is_empty());
        for wrong in [of(0, 0), of(-5, 0), of(i64::MAX, 0), of(2_592_001, 0)] {
            let found = fields(|f| {
                let _ = f.duration("wait", wrong, range.clone());
            });
            assert_eq!(found, ["wait"], "{wrong:?}");
        }
    }
}
