//! Mappings as the owner of a table meets them: faults named at creation, rows that map, rows that cannot.

use super::*;
use crate::channel::Address;
use crate::violation::Violation;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

fn mapping(value: Value) -> Mapping {
    serde_json::from_value(value).unwrap()
}

/// A mapping of a table of grievances that uses every kind of source.
fn grievance() -> Value {
    json!({
        "external_id": {"column": "citizen_id"},
        "display_name": {"template": "{{ first_name }} {{ last_name }}"},
        "locale": {"column": "language"},
        "time_zone": {"constant": "Asia/Kolkata"},
        "addresses": [
            {"kind": "phone", "source": {"column": "mobile"}, "default_country": "IN"},
            {"kind": "email", "source": {"column": "mail"}},
        ],
        "attributes": {"district": {"column": "district"}},
        "variables": {"name": {"column": "first_name"}, "number": {"template": "GR-{{ id }}"}, "office": {"constant": "Pune"}},
        "purpose": {"constant": "service"},
        "dedup_key": {"template": "grievance-{{ id }}"},
        "valid_until": {"column": "answer_by"},
        "zone": "Asia/Kolkata",
    })
}

fn columns() -> Vec<Column> {
    let list = [
        ("id", "bigint"),
        ("citizen_id", "text"),
        ("first_name", "text"),
        ("last_name", "character varying(40)"),
        ("language", "text"),
        ("mobile", "character varying(20)"),
        ("mobile_number", "bigint"),
        ("mail", "citext"),
        ("district", "district_name"),
        ("answer_by", "date"),
        ("open", "boolean"),
        ("tags", "text[]"),
        ("at", "timestamp(3) without time zone"),
        ("payload", "jsonb"),
    ];
    list.map(|(name, data_type)| Column { name: name.into(), data_type: data_type.into() }).into()
}

fn row() -> Map<String, Value> {
    json!({"id": 17, "citizen_id": "C-9", "first_name": "Asha", "last_name": "Rao", "language": "mr_in", "mobile": "98123 45678",
        "mobile_number": 9812345678_u64, "mail": null, "district": "Pune", "answer_by": "2026-11-30", "open": true, "tags": ["a"],
        "at": "2026-11-20T10:00:00", "payload": {"a": 1}}).as_object().unwrap().clone()
}

fn required(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

fn apply(mapping: &Mapping, row: &Map<String, Value>) -> Result<Mapped, Unmappable> {
    Compiled::new(mapping, required(&["name"])).unwrap().apply(row)
}

#[test]
fn a_good_mapping_has_no_violations_and_its_json_is_stable() {
    let good = mapping(grievance());
    assert_eq!(good.validate(&columns(), &required(&["name", "number"])), Vec::<Violation>::new());
    let once = serde_json::to_value(&good).unwrap();
    assert_eq!(once, grievance());
}

#[test]
fn each_fault_is_named_with_its_field() {
    let phone = |source: Value| json!([{"kind": "phone", "source": source}]);
    let cases = [
        (
            "external_id",
            json!({"column": "citizen"}),
            "external_id",
            "has no column citizen; its columns are id, citizen_id",
        ),
        ("external_id", json!({"constant": "x"}), "external_id", "all rows would be one"),
        ("display_name", json!({"template": "{{ name }}"}), "display_name", "no column name"),
        ("display_name", json!({"template": "{{ first_name"}), "display_name", "line 1: syntax error"),
        ("addresses", json!([]), "addresses", "is empty"),
        ("addresses", phone(json!({"column": "phone"})), "addresses[0]", "no column phone"),
        ("addresses", phone(json!({"column": "mobile_number"})), "addresses[0]", "set default_country"),
        ("addresses", phone(json!({"column": "payload"})), "addresses[0]", "is jsonb, which cannot hold"),
        ("addresses", phone(json!({"column": "tags"})), "addresses[0]", "is text[], which cannot hold"),
        ("addresses", phone(json!({"constant": "12"})), "addresses[0]", "needs a country code"),
        ("addresses", phone(json!({"constant": null})), "addresses[0]", "is empty"),
        (
            "addresses",
            json!([{"kind": "phone", "source": {"column": "mobile"}, "default_country": "India"}]),
            "addresses[0].default_country",
            "two letters",
        ),
        (
            "addresses",
            json!([{"kind": "email", "source": {"column": "mail"}, "default_country": "IN"}]),
            "addresses[0].default_country",
            "phones only",
        ),
        ("time_zone", json!({"constant": "Asia/Pune"}), "time_zone", "is not a time zone"),
        ("locale", json!({"constant": "marathi"}), "locale", "is not a language"),
        ("locale", json!({"constant": ""}), "locale", "is empty"),
        ("purpose", json!({"constant": "to inform"}), "purpose", "is not a purpose"),
        ("valid_until", json!({"column": "open"}), "valid_until", "is boolean, which is not a time"),
        ("valid_until", json!({"constant": "tomorrow"}), "valid_until", "is not a time"),
        ("zone", json!("IST+5"), "zone", "is not a time zone"),
        ("variables", json!({"number": {"column": "id"}}), "variables.name", "required by the template"),
        (
            "variables",
            json!({"name": {"column": "id"}, "my var": {"column": "id"}}),
            "variables.my var",
            "not a digit first",
        ),
        ("attributes", json!({"district": {"column": "town"}}), "attributes.district", "no column town"),
    ];
    for (field, value, expected, part) in cases {
        let mut json = grievance();
        json[field] = value;
        let found = mapping(json).validate(&columns(), &required(&["name"]));
        assert!(
            found.iter().any(|v| v.field == expected && v.description.contains(part)),
            "{expected} {part}: {found:#?}"
        );
    }
}

#[test]
fn all_faults_are_reported_at_once() {
    let mut json = grievance();
    json["time_zone"] = json!({"constant": "Mars"});
    json["external_id"] = json!({"column": "nobody"});
    json["addresses"] = json!([]);
    let fields: BTreeSet<String> =
        mapping(json).validate(&columns(), &required(&["other"])).into_iter().map(|v| v.field).collect();
    assert_eq!(fields, required(&["addresses", "external_id", "time_zone", "variables.other"]));
}

#[test]
fn a_row_becomes_a_notification() {
    let mapped = apply(&mapping(grievance()), &row()).unwrap();
    assert_eq!(mapped.contact.external_id.as_deref(), Some("C-9"));
    assert_eq!(mapped.contact.display_name.as_deref(), Some("Asha Rao"));
    assert_eq!(mapped.contact.locale.unwrap().as_str(), "mr-IN");
    assert_eq!(mapped.contact.time_zone, Some(chrono_tz::Tz::Asia__Kolkata));
    assert_eq!(mapped.contact.addresses, [Address { kind: AddressKind::Phone, value: "+919812345678".into() }]);
    assert_eq!(Value::Object(mapped.contact.attributes), json!({"district": "Pune"}));
    assert_eq!(Value::Object(mapped.variables), json!({"name": "Asha", "number": "GR-17", "office": "Pune"}));
    assert_eq!((mapped.purpose.as_deref(), mapped.dedup_key.as_deref()), (Some("service"), Some("grievance-17")));
    assert_eq!(mapped.valid_until.unwrap().to_rfc3339(), "2026-11-30T18:30:00+00:00", "the end of the day in the zone");
    assert_eq!(
        mapped.notes,
        [Reason { field: "addresses[1]".into(), fault: Fault::NoAddress, reason: "no email".into() }]
    );
}

#[test]
fn times_are_read_in_the_zone_of_the_mapping() {
    let cases = [
        (json!("2026-11-20T10:00:00"), Some("2026-11-20T04:30:00+00:00")),
        (json!("2026-11-20T10:00:00+00:00"), Some("2026-11-20T10:00:00+00:00")),
        (json!("2026-11-20"), Some("2026-11-19T18:30:00+00:00")),
        (json!("infinity"), None),
        (json!(null), None),
    ];
    let mut json = grievance();
    json["deliver_after"] = json!({"column": "at"});
    for (value, expected) in cases {
        let mut row = row();
        row.insert("at".into(), value.clone());
        let mapped = apply(&mapping(json.clone()), &row).unwrap();
        assert_eq!(mapped.deliver_after.map(|t| t.to_rfc3339()).as_deref(), expected, "{value}");
    }
}

#[test]
fn a_row_that_cannot_be_mapped_says_why_and_shows_no_number() {
    let cases = [
        ("mobile", json!(null), "addresses[0]", "no phone"),
        ("mobile", json!("  "), "addresses[0]", "no phone"),
        ("mobile", json!("+91 98123456"), "addresses[0]", "phone is too short (+91*******56)"),
        ("mobile", json!("ask her brother"), "addresses[0]", "phone is not a phone number (*************er)"),
        ("mobile", json!({"a": 1}), "addresses[0]", "is a list or an object"),
        ("first_name", json!(null), "variables.name", "is required and has no value"),
        ("answer_by", json!("soon"), "valid_until", "is not a time"),
    ];
    for (column, value, field, part) in cases {
        let mut row = row();
        row.insert(column.into(), value.clone());
        let reasons = apply(&mapping(grievance()), &row).unwrap_err().reasons;
        assert!(reasons.iter().any(|r| r.field == field && r.reason.contains(part)), "{column} {value}: {reasons:?}");
    }
}

#[test]
fn a_column_that_was_renamed_is_named_in_each_field_that_uses_it() {
    let mut row = row();
    row.remove("first_name");
    let error = apply(&mapping(grievance()), &row).unwrap_err();
    let fields: Vec<&str> = error.reasons.iter().map(|r| r.field.as_str()).collect();
    assert!(fields.contains(&"display_name") && fields.contains(&"variables.name"), "{error}");
    assert!(error.to_string().contains("the row has no column first_name"));
}

#[test]
fn an_expression_sees_the_row_and_the_row_before() {
    let mut json = grievance();
    json["variables"]["name"] = json!({"expression": "row.first_name ~ ' (' ~ old.district | lower ~ ')'"});
    let mapping = mapping(json.clone());
    assert_eq!(mapping.validate(&columns(), &required(&["name"])), []);
    assert!(mapping.columns().unwrap().is_superset(&required(&[
        "first_name",
        "district",
        "mobile",
        "id",
        "answer_by"
    ])));
    let compiled = Compiled::new(&mapping, required(&["name"])).unwrap();
    let old = json!({"district": "PUNE"}).as_object().unwrap().clone();
    assert_eq!(compiled.apply_change(&row(), Some(&old)).unwrap().variables["name"], "Asha (pune)");
    assert_eq!(compiled.apply(&row()).unwrap_err().reasons[0].fault, Fault::ExpressionFailed, "there is no row before");
    for (wrong, part) in
        [("row.town", "no column town"), ("first_name", "row.first_name"), ("row.id }} {{ row.id", "syntax")]
    {
        json["variables"]["name"] = json!({"expression": wrong});
        let found = super::tests::mapping(json.clone()).validate(&columns(), &required(&["name"]));
        assert!(
            found.iter().any(|v| v.field == "variables.name" && v.description.contains(part)),
            "{wrong}: {found:?}"
        );
    }
}

#[test]
fn the_country_of_the_row_wins_over_the_mappings() {
    let mut json = grievance();
    json["country"] = json!({"column": "district"});
    let mut row = row();
    row.insert("district".into(), json!("gb"));
    row.insert("mobile".into(), json!("020 7946 0018"));
    assert_eq!(apply(&mapping(json), &row).unwrap().contact.addresses[0].value, "+442079460018");
}

#[test]
fn what_is_wrong_beside_the_point_is_noted_and_left_out() {
    let mut json = grievance();
    json["time_zone"] = json!({"column": "citizen_id"});
    let mut row = row();
    row.insert("language".into(), json!("marathi"));
    row.insert("mail".into(), json!("asha@home"));
    let mapped = apply(&mapping(json), &row).unwrap();
    let fields: Vec<&str> = mapped.notes.iter().map(|n| n.field.as_str()).collect();
    assert_eq!(fields, ["locale", "time_zone", "addresses[1]"]);
    assert_eq!((mapped.contact.locale, mapped.contact.time_zone), (None, None));
}

#[test]
fn numbers_are_phones_and_one_address_is_kept_once() {
    let mut json = grievance();
    json["addresses"][1] = json!({"kind": "phone", "source": {"column": "mobile_number"}, "default_country": "IN"});
    assert_eq!(apply(&mapping(json), &row()).unwrap().contact.addresses.len(), 1);
}

proptest::proptest! {
    #[test]
    fn no_row_makes_it_panic_and_no_reason_shows_a_number(mobile in "[0-9+ a-z-]{8,20}", name in ".{0,10}") {
        let mut row = row();
        row.insert("mobile".into(), json!(mobile));
        row.insert("first_name".into(), json!(name));
        if let Err(error) = apply(&mapping(grievance()), &row) {
            proptest::prop_assert!(!error.to_string().contains(mobile.trim()) || mobile.trim().len() < 3);
        }
    }
}
