//! Filters as people write them: what they mean, and what they are told when they slip.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn asha() -> ContactView<'static> {
    ContactView {
        external_id: Some("C-9"),
        display_name: Some("Asha Rao"),
        locale: Some("hi-IN"),
        time_zone: Some("Asia/Kolkata"),
        attributes:
            json!({"district": "Pune", "age": 41, "vip": true, "gone": null, "home": {"town": "Khed"}, "code": "10"})
                .as_object()
                .unwrap()
                .clone(),
        address_kinds: [AddressKind::Phone].into(),
    }
}

#[test]
fn filters_mean_what_they_say() {
    let cases = [
        ("", true),
        (r#"locale = "hi-IN""#, true),
        ("locale = hi-IN", true),
        (r#"locale = "hi*""#, true),
        ("locale = hi*", true),
        (r#"locale = "hi\*""#, false),
        (r#"locale != "hi*""#, false),
        ("locale != en", true),
        ("time_zone = Asia/Kolkata", true),
        ("external_id = 'C-9'", true),
        ("attributes.district = \"Pune\"", true),
        ("attributes.home.town = Khed", true),
        ("attributes.age > 40 AND attributes.age <= 41", true),
        ("attributes.age < 41", false),
        ("attributes.age >= 41.0", true),
        ("attributes.age > -1", true),
        ("attributes.age = \"41\"", false),
        ("attributes.code = \"10\"", true),
        ("attributes.code = 10", false),
        ("attributes.code != 10", true),
        ("attributes.vip = true", true),
        ("attributes.vip != true", false),
        ("attributes.district:*", true),
        ("attributes.gone:*", false),
        ("attributes.none:*", false),
        // What is not there satisfies no comparison; NOT includes it.
        ("attributes.none != \"a\"", false),
        ("NOT attributes.none = \"a\"", true),
        ("has(phone)", true),
        ("has(email)", false),
        ("-has(email)", true),
        ("NOT NOT has(phone)", true),
        (
            r#"locale = "hi-IN" AND attributes.district = "Pune" AND (has(email) OR NOT time_zone = "Europe/Berlin")"#,
            true,
        ),
        // OR binds tighter than AND: no contact with (phone or email) and email matches.
        ("has(phone) OR has(phone) AND has(email)", false),
        ("display_name >= \"Asha\" AND display_name < \"Asi\"", true),
    ];
    for (text, expected) in cases {
        assert_eq!(Filter::parse(text).unwrap().matches(&asha()), expected, "{text}");
    }
}

#[test]
fn the_tree_is_plain() {
    let parsed = Filter::parse("has(email) OR NOT attributes.age >= 18 AND locale = hi*").unwrap();
    let age = Field::Attribute(vec!["age".into()]);
    let compare = |field, operator, value| Filter::Compare { field, operator, value };
    let expected = Filter::And(vec![
        Filter::Or(vec![
            Filter::HasAddress(AddressKind::Email),
            Filter::Not(Box::new(compare(age, Operator::GreaterOrEqual, Value::Number(18.0)))),
        ]),
        compare(Field::Locale, Operator::Equal, Value::Prefix("hi".into())),
    ]);
    assert_eq!(parsed, expected);
}

#[test]
fn errors_name_the_column() {
    let cases = [
        ("locale", 7, "expected =, !=, <"),
        ("locale =", 9, "expected a value after '='"),
        ("locale = AND", 10, "expected a value"),
        ("locale == en", 8, "write one ="),
        ("locale = \"en", 10, "has no end"),
        ("locale = \"e\\n\"", 12, "a backslash stands before"),
        ("language = en", 1, "\"language\" is not a field"),
        ("attributes = 1", 1, "is not a field"),
        ("attributes..x = 1", 1, "joined by dots"),
        ("attributes.x.* = 1", 1, "joined by dots"),
        ("locale = en locale = hi", 13, "expected AND or OR, found \"locale\""),
        ("(locale = en", 1, "has no ')'"),
        ("locale = en)", 12, "without a '('"),
        ("(locale = en locale = hi)", 14, "expected AND, OR or ')'"),
        ("locale = en AND", 16, "expected a field, found the end"),
        ("has(fax)", 5, "phone, email or whatsapp_user"),
        ("has(phone", 10, "expected ')'"),
        ("has phone", 1, "is not a field"),
        ("locale:*", 7, "':*' is for attributes"),
        ("attributes.x:y", 13, "write attributes.NAME:*"),
        ("locale < hi*", 10, "ends with *"),
        ("attributes.v > true", 14, "= and != only"),
        ("locale ! en", 8, "write != or NOT"),
        ("locale = en; drop", 12, "has no meaning here"),
        ("\u{928}\u{93e}\u{92e} = 1", 1, "is not a field"),
        ("locale = \u{928}\u{93e}\u{20b9}", 12, "put texts in double quotes"),
    ];
    for (text, column, part) in cases {
        let error = Filter::parse(text).unwrap_err();
        assert_eq!(error.column, column, "{text}: {error}");
        assert!(error.problem.contains(part), "{text}: {error}");
    }
}

#[test]
fn size_and_depth_are_bounded() {
    let deep = format!("{}locale = en{}", "(".repeat(21), ")".repeat(21));
    assert!(Filter::parse(&deep).unwrap_err().problem.contains("deeper than 20"));
    assert!(Filter::parse(&format!("{} locale = en", "NOT ".repeat(21))).unwrap_err().problem.contains("deeper"));
    assert!(Filter::parse(&format!("{}locale = en{}", "(".repeat(20), ")".repeat(20))).is_ok());
    let many = vec!["locale = en"; 101].join(" OR ");
    assert!(Filter::parse(&many).unwrap_err().problem.contains("more than 100"));
    assert!(Filter::parse(&"x".repeat(5000)).unwrap_err().problem.contains("at most 4096"));
}

/// Filters as trees, to be written out and read back.
fn trees() -> impl Strategy<Value = (String, bool)> {
    let leaf = prop_oneof![
        Just(("has(phone)".to_owned(), true)),
        Just(("has(email)".to_owned(), false)),
        Just(("attributes.age > 40".to_owned(), true)),
        Just(("locale = \"en\"".to_owned(), false)),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|(text, truth)| (format!("NOT ({text})"), !truth)),
            proptest::collection::vec(inner.clone(), 2..4).prop_map(|parts| {
                let text = parts.iter().map(|(t, _)| format!("({t})")).collect::<Vec<_>>().join(" AND ");
                (text, parts.iter().all(|(_, truth)| *truth))
            }),
            proptest::collection::vec(inner, 2..4).prop_map(|parts| {
                let text = parts.iter().map(|(t, _)| format!("({t})")).collect::<Vec<_>>().join(" OR ");
                (text, parts.iter().any(|(_, truth)| *truth))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn logic_is_logic((text, truth) in trees()) {
        prop_assert_eq!(Filter::parse(&text).unwrap().matches(&asha()), truth, "{}", text);
    }

    #[test]
    fn no_text_makes_it_panic(text in "([a-z.:*=<>!()\"'\\\\ -]|AND |OR |NOT |has\\(|\u{928}){0,40}") {
        match Filter::parse(&text) {
            Ok(filter) => { let _ = filter.matches(&asha()); }
            Err(error) => prop_assert!(error.column >= 1 && error.column <= text.chars().count() + 1, "{}: {}", text, error),
        }
    }

    #[test]
    fn quoted_texts_are_taken_as_they_are(name in ".{0,20}") {
        let quoted = name.replace('\\', "\\\\").replace('"', "\\\"").replace('*', "\\*");
        let filter = Filter::parse(&format!("display_name = \"{quoted}\"")).unwrap();
        let contact = ContactView { display_name: Some(&name), ..ContactView::default() };
        prop_assert!(filter.matches(&contact));
    }
}
