//! Quiet hours over midnight, over days, and over both changes of the clock.

use super::*;
use proptest::prelude::*;

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn allowed(window: &str, zone: Tz, now: &str) -> DateTime<Utc> {
    Window::parse(window).unwrap().next_allowed(utc(now), zone)
}

#[test]
fn a_night_ends_in_the_morning_of_the_contacts_zone() {
    let zone = chrono_tz::Asia::Kolkata;
    let cases = [
        ("2026-11-20T15:29:59Z", "2026-11-20T15:29:59Z"),
        ("2026-11-20T15:30:00Z", "2026-11-21T03:30:00Z"),
        ("2026-11-20T20:00:00Z", "2026-11-21T03:30:00Z"),
        ("2026-11-21T03:29:59Z", "2026-11-21T03:30:00Z"),
        ("2026-11-21T03:30:00Z", "2026-11-21T03:30:00Z"),
    ];
    for (now, expected) in cases {
        assert_eq!(allowed("21:00-09:00", zone, now), utc(expected), "at {now}");
    }
}

#[test]
fn days_are_those_on_which_a_window_begins() {
    let zone = chrono_tz::UTC;
    let cases = [
        // 2026-11-20 is a Friday.
        ("fri 22:00-06:00", "2026-11-21T05:00:00Z", "2026-11-21T06:00:00Z"),
        ("sat 22:00-06:00", "2026-11-21T05:00:00Z", "2026-11-21T05:00:00Z"),
        ("sat,sun 00:00-24:00", "2026-11-21T05:00:00Z", "2026-11-23T00:00:00Z"),
        ("fri-mon 00:00-00:00", "2026-11-21T05:00:00Z", "2026-11-24T00:00:00Z"),
        ("mon-fri 09:00-17:00", "2026-11-20T09:00:00Z", "2026-11-20T17:00:00Z"),
    ];
    for (window, now, expected) in cases {
        assert_eq!(allowed(window, zone, now), utc(expected), "{window} at {now}");
    }
}

#[test]
fn an_end_that_the_clock_leaps_over_is_the_end_of_the_leap() {
    let zone = chrono_tz::America::New_York;
    // 2026-03-08: 02:00 EST becomes 03:00 EDT, which is 07:00Z.
    assert_eq!(allowed("22:00-02:30", zone, "2026-03-08T05:00:00Z"), utc("2026-03-08T07:00:00Z"));
    assert_eq!(allowed("22:00-09:00", zone, "2026-03-08T05:00:00Z"), utc("2026-03-08T13:00:00Z"));
}

#[test]
fn a_day_that_a_country_left_out_is_no_day_of_quiet() {
    let zone = chrono_tz::Pacific::Apia;
    // Samoa went from the end of 29 December 2011 to 31 December.
    assert_eq!(allowed("thu 20:00-08:00", zone, "2011-12-30T08:00:00Z"), utc("2011-12-30T10:00:00Z"));
}

#[test]
fn an_hour_that_comes_twice_is_quiet_twice() {
    let zone = chrono_tz::America::New_York;
    // 2026-11-01: 02:00 EDT becomes 01:00 EST; 01:30 is 05:30Z and 06:30Z.
    assert_eq!(allowed("22:00-01:30", zone, "2026-11-01T04:00:00Z"), utc("2026-11-01T05:30:00Z"));
    assert_eq!(allowed("22:00-01:30", zone, "2026-11-01T05:45:00Z"), utc("2026-11-01T05:45:00Z"));
    assert_eq!(allowed("22:00-01:30", zone, "2026-11-01T06:10:00Z"), utc("2026-11-01T06:30:00Z"));
    assert_eq!(allowed("22:00-09:00", zone, "2026-11-01T04:00:00Z"), utc("2026-11-01T14:00:00Z"));
}

#[test]
fn says_what_is_wrong_with_a_text() {
    for text in ["", "21-09", "21:00", "24:00-09:00", "21:0-09:00", "21:00-24:01", "21:60-09:00", "+1:00-02:00"] {
        assert!(matches!(Window::parse(text), Err(WindowError::Times(_))), "{text:?}");
    }
    assert_eq!(Window::parse("funday 21:00-09:00"), Err(WindowError::Day("funday".into())));
    assert_eq!(Window::parse("09:00-09:00"), Err(WindowError::Empty));
    assert_eq!(Window::parse("00:00-24:00"), Err(WindowError::Always));
    assert_eq!(Window::parse("mon-sun 00:00-00:00"), Err(WindowError::Always));
}

#[test]
fn windows_that_meet_are_one_quiet_time() {
    let parse = |t: &&str| Window::parse(t).unwrap();
    let windows: Vec<_> = ["21:00-09:00", "sat,sun 08:00-20:00", "20:00-21:00"].iter().map(parse).collect();
    let next = next_allowed(&windows, utc("2026-11-21T23:00:00Z"), chrono_tz::UTC);
    assert_eq!(next, Some(utc("2026-11-23T09:00:00Z")));
    let always: Vec<_> = ["00:00-12:00", "12:00-24:00"].iter().map(parse).collect();
    assert_eq!(next_allowed(&always, utc("2026-11-21T23:00:00Z"), chrono_tz::UTC), None);
}

proptest! {
    #[test]
    fn what_is_allowed_is_never_quiet_and_never_in_the_past(
        from in 0_u32..1440, length in 1_u32..1440, days in 1_u8..128, now in 1_700_000_000_i64..1_900_000_000,
        zone in prop::sample::select(vec![
            chrono_tz::Asia::Kolkata, chrono_tz::America::New_York, chrono_tz::Australia::Lord_Howe, chrono_tz::UTC,
            chrono_tz::Africa::Cairo, chrono_tz::America::St_Johns,
        ]),
    ) {
        let to = match (from + length) % 1440 { 0 => 1440, to => to };
        let window = Window { from, to, days };
        let now = DateTime::from_timestamp(now, 0).unwrap();
        let next = window.next_allowed(now, zone);
        prop_assert!(!window.is_quiet(next, zone));
        prop_assert!(next >= now);
        prop_assert_eq!(next == now, !window.is_quiet(now, zone));
        prop_assert!(next == now || window.is_quiet(next - TimeDelta::seconds(1), zone));
    }

    #[test]
    fn text_and_window_are_the_same_thing(from in 0_u32..1440, to in 1_u32..=1440, days in 1_u8..128) {
        prop_assume!(from != to && !(from == 0 && to == 1440));
        let window = Window { from, to, days };
        prop_assert_eq!(Window::parse(&window.to_string()), Ok(window));
    }
}
