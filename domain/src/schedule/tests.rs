//! Schedules on ordinary days, on the days when clocks change, and after a time in which nobody was awake.

use super::*;
use chrono::TimeZone;
use proptest::prelude::*;

fn cron(expression: &str, zone: &str) -> Spec {
    let when = When::Cron { expression: expression.into(), zone: zone.into() };
    Spec { when, each_recipient_zone: false, misfire: Misfire::default() }
}

fn schedule(expression: &str, zone: &str) -> Schedule {
    Schedule::new(&cron(expression, zone)).unwrap()
}

fn utc(text: &str) -> DateTime<Utc> {
    let format = if text.len() > 16 { "%Y-%m-%d %H:%M:%S" } else { "%Y-%m-%d %H:%M" };
    NaiveDateTime::parse_from_str(text, format).unwrap().and_utc()
}

/// The instants of a local day, written as the wall shows them then.
fn day(expression: &str, zone: &str, date: &str) -> Vec<String> {
    let schedule = schedule(expression, zone);
    let tz = schedule.zone();
    let start = zone::resolve(tz, utc(&format!("{date} 00:00")).naive_utc()).0;
    let times = std::iter::successors(schedule.next_after(start - Duration::seconds(1)), |at| schedule.next_after(*at));
    let times = times.map(|at| at.with_timezone(&tz)).take_while(|at| at.date_naive().to_string() == date);
    times.map(|at| at.format("%H:%M%z").to_string()).collect()
}

#[test]
fn daylight_saving_is_as_documented() {
    let (spring, autumn) = ("2026-03-29", "2026-10-25");
    let cases: Vec<(&str, &str, &str, &[&str])> = vec![
        // A skipped time fires at the end of the gap, a repeated one at its first occurrence.
        ("30 2 * * *", "Europe/Berlin", spring, &["03:00+0200"]),
        ("30 2 * * *", "Europe/Berlin", autumn, &["02:30+0200"]),
        ("15,45 2 * * *", "Europe/Berlin", spring, &["03:00+0200"]),
        ("15,45 2 * * *", "Europe/Berlin", autumn, &["02:15+0200", "02:45+0200"]),
        ("*/30 2 * * *", "Europe/Berlin", spring, &["03:00+0200"]),
        ("*/30 2 * * *", "Europe/Berlin", autumn, &["02:00+0200", "02:30+0200"]),
        ("0,30 2,3 * * *", "Europe/Berlin", spring, &["03:00+0200", "03:30+0200"]),
        ("0,30 2,3 * * *", "Europe/Berlin", autumn, &["02:00+0200", "02:30+0200", "03:00+0100", "03:30+0100"]),
        ("30 1 * * *", "Europe/London", spring, &["02:00+0100"]),
        ("30 1 * * *", "Europe/London", autumn, &["01:30+0100"]),
        ("15,45 1 * * *", "Europe/London", spring, &["02:00+0100"]),
        ("15,45 1 * * *", "Europe/London", autumn, &["01:15+0100", "01:45+0100"]),
        ("0 0 * * *", "Europe/London", spring, &["00:00+0000"]),
        ("30 2 * * *", "America/New_York", "2026-03-08", &["03:00-0400"]),
        ("30 1 * * *", "America/New_York", "2026-11-01", &["01:30-0400"]),
        ("15,45 2 * * *", "America/New_York", "2026-03-08", &["03:00-0400"]),
        ("15,45 1 * * *", "America/New_York", "2026-11-01", &["01:15-0400", "01:45-0400"]),
        // Lord Howe Island moves its clocks by half an hour.
        ("30 2 * * *", "Australia/Lord_Howe", "2026-10-04", &["02:30+1100"]),
        ("15,45 2 * * *", "Australia/Lord_Howe", "2026-10-04", &["02:30+1100", "02:45+1100"]),
        ("15,45 1 * * *", "Australia/Lord_Howe", "2026-04-05", &["01:15+1100", "01:45+1100"]),
        // The gap is at midnight: the day begins at one.
        ("0 0 * * *", "Africa/Cairo", "2026-04-24", &["01:00+0300"]),
        // A rhythm follows real time: nothing for the skipped hour, twice for the repeated one.
        (
            "30 * * * *",
            "Europe/Berlin",
            spring,
            &[
                "00:30+0100",
                "01:30+0100",
                "03:30+0200",
                "04:30+0200",
                "05:30+0200",
                "06:30+0200",
                "07:30+0200",
                "08:30+0200",
                "09:30+0200",
                "10:30+0200",
                "11:30+0200",
                "12:30+0200",
                "13:30+0200",
                "14:30+0200",
                "15:30+0200",
                "16:30+0200",
                "17:30+0200",
                "18:30+0200",
                "19:30+0200",
                "20:30+0200",
                "21:30+0200",
                "22:30+0200",
                "23:30+0200",
            ],
        ),
    ];
    for (expression, zone, date, expected) in cases {
        assert_eq!(day(expression, zone, date), expected, "{expression} in {zone} on {date}");
    }
    assert_eq!(day("*/15 * * * *", "Europe/Berlin", spring).len(), 23 * 4);
    assert_eq!(day("*/15 * * * *", "Europe/Berlin", autumn).len(), 25 * 4);
    assert_eq!(day("*/15 0-23 * * *", "Europe/Berlin", autumn).len(), 25 * 4, "all hours in a range are every hour");
    assert_eq!(day("*/30 * * * *", "Australia/Lord_Howe", "2026-04-05").len(), 49);
}

#[test]
fn previews_say_what_daylight_saving_does() {
    let first = |expression, zone, after| schedule(expression, zone).preview(utc(after), 1).remove(0);
    let gap = first("30 2 * * *", "Europe/Berlin", "2026-03-28 12:00");
    assert_eq!(gap.note.as_deref(), Some("02:30 does not exist on this day: fires at 03:00"));
    assert_eq!((gap.at, gap.local), (utc("2026-03-29 01:00"), utc("2026-03-29 02:30").naive_utc()));
    let fold = first("30 2 * * *", "Europe/Berlin", "2026-10-24 12:00");
    assert_eq!(fold.note.as_deref(), Some("02:30 happens twice on this day: fires the first time"));
    let twice = schedule("30 * * * *", "Europe/Berlin").preview(utc("2026-10-25 00:15"), 3);
    let notes: Vec<_> = twice.iter().map(|p| p.note.as_deref().unwrap_or("")).collect();
    assert_eq!(
        notes,
        [
            "02:30 happens twice on this day: fires the first time",
            "02:30 happens twice on this day: fires the second time too",
            "",
        ]
    );
    assert_eq!(schedule("0 9 * * MON", "Asia/Kolkata").preview(utc("2026-11-20 00:00"), 5).len(), 5);
    assert_eq!(first("0 9 * * MON", "Asia/Kolkata", "2026-11-20 00:00").at, utc("2026-11-23 03:30"));
}

#[test]
fn seconds_and_years_are_optional_fields() {
    let cases = [
        ("*/15 * * * * *", "2026-11-20 10:00:00", "2026-11-20 10:00:15"),
        ("30 5 9 * * *", "2026-11-20 10:00:00", "2026-11-21 09:05:30"),
        ("0 0 12 1 1 * 2030", "2026-11-20 10:00:00", "2030-01-01 12:00:00"),
        ("@daily", "2026-11-20 10:00:00", "2026-11-21 00:00:00"),
        ("0 9 29 2 *", "2026-11-20 10:00:00", "2028-02-29 09:00:00"),
        ("0 9 L * *", "2026-11-20 10:00:00", "2026-11-30 09:00:00"),
        ("0 9 13 * FRI", "2026-11-20 10:00:00", "2026-11-27 09:00:00"),
    ];
    for (expression, after, next) in cases {
        assert_eq!(schedule(expression, "UTC").next_after(utc(after)), Some(utc(next)), "{expression}");
    }
    let in_between = utc("2026-11-20 10:00:14") + Duration::milliseconds(999);
    assert_eq!(schedule("*/15 * * * * *", "UTC").next_after(in_between), Some(utc("2026-11-20 10:00:15")));
}

#[test]
fn faults_are_named_with_their_field() {
    let now = utc("2026-11-20 10:00");
    let cases = [
        (cron("", "UTC"), "when.expression", "is empty"),
        (cron("* * * *", "UTC"), "when.expression", "has 4 fields"),
        (cron("0 0 0 0 0 0 0 0", "UTC"), "when.expression", "has 8 fields"),
        (cron("61 * * * *", "UTC"), "when.expression", "is not understood"),
        (cron("0 9 * * FOO", "UTC"), "when.expression", "is not understood"),
        (cron("0 9 30 2 *", "UTC"), "when.expression", "never fires"),
        (cron("0 0 9 1 1 * 2020", "UTC"), "when.expression", "never fires"),
        (cron(&"1,".repeat(200), "UTC"), "when.expression", "more than 200"),
        (cron("0 9 * * *", "Asia/Pune"), "when.zone", "is not a time zone"),
        (Spec { when: When::Once { at: now, zone: "UTC".into() }, ..cron("", "") }, "when.at", "has passed"),
        (
            Spec { misfire: Misfire { grace_seconds: 100_000, ..Misfire::default() }, ..cron("0 9 * * *", "UTC") },
            "misfire.grace_seconds",
            "at most 86400",
        ),
        (
            Spec { misfire: Misfire { horizon_seconds: 10, ..Misfire::default() }, ..cron("0 9 * * *", "UTC") },
            "misfire.horizon_seconds",
            "between the grace (60)",
        ),
    ];
    for (spec, field, part) in cases {
        let found = spec.validate(now);
        assert!(found.iter().any(|v| v.field == field && v.description.contains(part)), "{spec:?}: {found:?}");
    }
    let both = Schedule::new(&cron("nonsense", "nowhere")).unwrap_err();
    assert_eq!(both.len(), 2, "{both:?}");
    assert_eq!(cron("0 9 * * *", "UTC").validate(now), []);
}

#[test]
fn frequent_schedules_are_warned_of() {
    let now = utc("2026-11-20 10:00");
    assert!(cron("* * * * * *", "UTC").warnings(now)[0].description.contains("every 1 s"));
    assert_eq!(cron("*/9 * * * * *", "UTC").warnings(now).len(), 1, "54 to 60 is six seconds");
    assert_eq!(cron("*/10 * * * * *", "UTC").warnings(now), []);
    assert_eq!(cron("* * * * *", "UTC").warnings(now), []);
}

#[test]
fn specs_are_stable_json() {
    let json = serde_json::json!({
        "when": {"type": "cron", "expression": "0 9 * * MON", "zone": "Asia/Kolkata"},
        "each_recipient_zone": true,
        "misfire": {"policy": "all", "grace_seconds": 60, "horizon_seconds": 3600},
    });
    let spec: Spec = serde_json::from_value(json.clone()).unwrap();
    assert_eq!(serde_json::to_value(&spec).unwrap(), json);
    let once = serde_json::json!({"when": {"type": "once", "at": "2026-11-20T10:00:00Z", "zone": "UTC"}});
    assert_eq!(serde_json::from_value::<Spec>(once).unwrap().misfire, Misfire::default());
}

fn hourly(policy: MisfirePolicy, grace_seconds: u32, horizon_seconds: u32) -> Schedule {
    let misfire = Misfire { policy, grace_seconds, horizon_seconds };
    Schedule::new(&Spec { misfire, ..cron("0 * * * *", "UTC") }).unwrap()
}

#[test]
fn misfires_follow_the_policy() {
    use MisfirePolicy::{All, Once, Skip};
    let hours = |list: &[u32]| list.iter().map(|h| utc(&format!("2026-11-20 {h:02}:00"))).collect::<Vec<_>>();
    // (policy, horizon, now, fires, skipped); next fire stored as 03:00, grace one minute.
    let cases: Vec<(MisfirePolicy, u32, &str, &[u32], bool)> = vec![
        (Skip, 86_400, "02:59:59", &[], false),
        (Skip, 86_400, "03:00:00", &[3], false),
        (Skip, 86_400, "03:01:00", &[3], false),
        (Skip, 86_400, "03:01:01", &[], true),
        (Once, 86_400, "03:01:01", &[3], false),
        (All, 86_400, "03:01:01", &[3], false),
        (Skip, 86_400, "06:30:00", &[], true),
        (Once, 86_400, "06:30:00", &[6], true),
        (All, 86_400, "06:30:00", &[3, 4, 5, 6], false),
        (All, 7200, "06:30:00", &[5, 6], true),
        (Once, 600, "06:30:00", &[], true),
        (Skip, 86_400, "06:00:30", &[6], true),
        (Once, 86_400, "06:00:30", &[6], true),
        (All, 86_400, "06:00:30", &[3, 4, 5, 6], false),
    ];
    for (policy, horizon, now, fires, skipped) in cases {
        let now = utc(&format!("2026-11-20 {now}"));
        let due = hourly(policy, 60, horizon).due(utc("2026-11-20 03:00"), now);
        let times: Vec<_> = due.fires.iter().map(|f| f.nominal).collect();
        assert_eq!((times, due.skipped), (hours(fires), skipped), "{policy} within {horizon} at {now}");
        assert!(due.next.is_some_and(|next| next > now && next - now <= Duration::hours(1)), "{due:?}");
    }
}

#[test]
fn catching_up_is_bounded() {
    let misfire = Misfire { policy: MisfirePolicy::All, grace_seconds: 0, horizon_seconds: 31 * 86_400 };
    let schedule = Schedule::new(&Spec { misfire, ..cron("* * * * * *", "UTC") }).unwrap();
    let now = utc("2026-11-20 10:00");
    let due = schedule.due(now - Duration::days(20), now);
    assert_eq!((due.fires.len(), due.skipped), (MAX_FIRES, true));
    assert_eq!(due.fires.last().unwrap().nominal, now);
    assert_eq!(due.next, Some(now + Duration::seconds(1)));
}

#[test]
fn one_time_fires_once_and_is_over() {
    let at = utc("2026-11-20 10:00");
    let spec = Spec { when: When::Once { at, zone: "Asia/Kolkata".into() }, ..cron("", "") };
    let schedule = Schedule::new(&spec).unwrap();
    assert_eq!(schedule.next_after(at - Duration::seconds(1)), Some(at));
    let due = schedule.due(at, at + Duration::seconds(5));
    assert_eq!(
        due,
        Due {
            fires: vec![Fire { nominal: at, local: utc("2026-11-20 15:30").naive_utc() }],
            next: None,
            skipped: false
        }
    );
    assert_eq!(schedule.due(at, at + Duration::days(2)).fires, []);
}

#[test]
fn each_recipient_zone_opens_in_the_first_zone_and_closes_after_the_last() {
    let spec = Spec { each_recipient_zone: true, ..cron("0 9 * * MON", "Asia/Kolkata") };
    let schedule = Schedule::new(&spec).unwrap();
    let opens = schedule.next_after(utc("2026-11-20 00:00")).unwrap();
    assert_eq!(opens, utc("2026-11-22 19:00"), "Monday nine o'clock at UTC+14");
    let due = schedule.due(opens, opens);
    assert_eq!(due.fires.len(), 1);
    assert_eq!(due.fires[0].local, utc("2026-11-23 09:00").naive_utc());
    assert_eq!(schedule.window(&due.fires[0]), (opens, utc("2026-11-23 21:00")));
    assert_eq!(schedule.next_after(opens), Some(opens + Duration::days(7)));
    let zones =
        [Tz::America__New_York, Tz::Asia__Kolkata, Tz::Pacific__Kiritimati, Tz::Asia__Kolkata, Tz::Etc__GMTPlus12];
    let times = recipient_zones(due.fires[0].local, &zones);
    let expected = [
        (Tz::Pacific__Kiritimati, utc("2026-11-22 19:00")),
        (Tz::Asia__Kolkata, utc("2026-11-23 03:30")),
        (Tz::America__New_York, utc("2026-11-23 14:00")),
        (Tz::Etc__GMTPlus12, utc("2026-11-23 21:00")),
    ];
    assert_eq!(times, expected);
}

#[test]
fn every_zone_of_the_world_is_inside_the_window() {
    let spec = Spec { each_recipient_zone: true, ..cron("30 2 * * *", "UTC") };
    let schedule = Schedule::new(&spec).unwrap();
    for month in [1, 3, 7, 10] {
        let after = Utc.with_ymd_and_hms(2026, month, 1, 0, 0, 0).unwrap();
        for fire in schedule.preview(after, 31) {
            let fire = Fire { nominal: fire.at, local: fire.local };
            let (opens, closes) = schedule.window(&fire);
            for (zone, at) in recipient_zones(fire.local, &chrono_tz::TZ_VARIANTS) {
                assert!(opens <= at && at <= closes, "{zone} {fire:?}");
            }
        }
    }
}

/// All fires between two instants by looking at each minute: slow, and plainly what the documentation says.
fn by_brute_force(expression: &str, zone: Tz, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let cron: croner::Cron = expression.parse().unwrap();
    let matches = |wall: NaiveDateTime| cron.is_time_matching(&wall).unwrap();
    let minutes = |start: NaiveDateTime, end| {
        std::iter::successors(Some(start), |t| Some(*t + Duration::minutes(1))).take_while(move |t| *t <= end)
    };
    let mut found: Vec<DateTime<Utc>> = if cron.pattern.hours.values().len() == 24 {
        minutes(from.naive_utc(), to.naive_utc())
            .map(|t| t.and_utc())
            .filter(|t| matches(zone::local(zone, *t)))
            .collect()
    } else {
        let (start, end) = ((from - Duration::hours(20)).naive_utc(), (to + Duration::hours(20)).naive_utc());
        minutes(start, end).filter(|w| matches(*w)).map(|w| zone::resolve(zone, w).0).collect()
    };
    found.retain(|t| *t > from && *t <= to);
    found.sort();
    found.dedup();
    found
}

fn expressions() -> impl Strategy<Value = String> {
    let minute = prop_oneof![
        "[0-5]?[0-9]",
        Just("*/15".to_owned()),
        Just("*/7".to_owned()),
        Just("15,45".to_owned()),
        Just("*".to_owned())
    ];
    let hour = prop_oneof![
        Just("*".to_owned()),
        Just("*/2".to_owned()),
        Just("0-5".to_owned()),
        Just("2".to_owned()),
        Just("1,2,3".to_owned()),
        Just("*/1".to_owned()),
        "(0|1|2|3)",
    ];
    let day = prop_oneof![Just("* * *".to_owned()), Just("* * SUN".to_owned()), Just("25-31 * *".to_owned())];
    (minute, hour, day).prop_map(|(minute, hour, day)| format!("{minute} {hour} {day}"))
}

/// Three days around a change of the clocks.
fn changes() -> impl Strategy<Value = (Tz, DateTime<Utc>)> {
    let list = [
        (Tz::Europe__Berlin, "2026-03-28 00:00"),
        (Tz::Europe__Berlin, "2026-10-24 00:00"),
        (Tz::Europe__London, "2026-03-28 00:00"),
        (Tz::Europe__London, "2026-10-24 00:00"),
        (Tz::America__New_York, "2026-03-07 00:00"),
        (Tz::America__New_York, "2026-10-31 00:00"),
        (Tz::Australia__Lord_Howe, "2026-10-03 00:00"),
        (Tz::Australia__Lord_Howe, "2026-04-04 00:00"),
        (Tz::Africa__Cairo, "2026-04-23 00:00"),
        (Tz::Asia__Kolkata, "2026-11-20 00:00"),
        (Tz::Pacific__Apia, "2011-12-29 00:00"),
        (Tz::Africa__Casablanca, "2026-02-14 00:00"),
    ];
    proptest::sample::select(list.map(|(zone, from)| (zone, utc(from))).to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn fires_are_those_of_the_rule_forwards_and_backwards(expression in expressions(), (zone, from) in changes()) {
        let to = from + Duration::days(3);
        let expected = by_brute_force(&expression, zone, from, to);
        let schedule = schedule(&expression, zone.name());
        let forwards: Vec<Fire> = std::iter::successors(schedule.next_fire(from), |f| schedule.next_fire(f.nominal))
            .take_while(|f| f.nominal <= to).collect();
        let nominal: Vec<_> = forwards.iter().map(|f| f.nominal).collect();
        prop_assert_eq!(&nominal, &expected, "{} in {}", expression, zone);
        let mut backwards: Vec<Fire> =
            std::iter::successors(schedule.previous_fire(to), |f| schedule.previous_fire(f.nominal - Duration::seconds(1)))
                .take_while(|f| f.nominal > from).collect();
        backwards.reverse();
        prop_assert_eq!(&backwards, &forwards, "{} in {} backwards", expression, zone);
        prop_assert!(nominal.windows(2).all(|pair| pair[0] < pair[1]), "strictly increasing");
        if !expression.split(' ').nth(1).is_some_and(|hour| hour == "*" || hour == "*/1") {
            let locals: std::collections::BTreeSet<_> = forwards.iter().map(|f| f.local).collect();
            prop_assert_eq!(locals.len(), forwards.len(), "each nominal local time once");
        }
    }

    #[test]
    fn asking_in_any_rhythm_fires_each_time_once(steps in proptest::collection::vec(1_i64..90, 1..60), (zone, from) in changes()) {
        let misfire = Misfire { policy: MisfirePolicy::All, grace_seconds: 0, horizon_seconds: 86_400 };
        let schedule = Schedule::new(&Spec { misfire, ..cron("*/20 1-3 * * *", zone.name()) }).unwrap();
        let (mut now, mut next, mut fired) = (from, schedule.next_after(from), Vec::new());
        for step in steps {
            now += Duration::minutes(step);
            let Some(at) = next else { break };
            let due = schedule.due(at, now);
            fired.extend(due.fires.iter().map(|f| f.nominal));
            next = due.next;
        }
        prop_assert_eq!(fired, by_brute_force("*/20 1-3 * * *", zone, from, now));
    }

    #[test]
    fn no_expression_makes_it_panic(text in "[0-9*/,L#W@A-Z -]{0,20}", zone in "(UTC|Europe/Berlin|x)") {
        if let Ok(schedule) = Schedule::new(&cron(&text, &zone)) {
            let _ = schedule.preview(utc("2026-03-28 00:00"), 3);
        }
    }
}
