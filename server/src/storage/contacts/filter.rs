//! A filter as SQL with bound parameters: no text of a caller ever becomes part of a statement.
//!
//! Every comparison is true or false, never null, so that `NOT` means what [`Filter::matches`] says. Texts are ordered by code
//! point. Attributes are texts by contract; one that is written like a number compares with numbers.

use domain::{
    channel::AddressKind,
    filter::{Field, Filter, Operator, Value},
};
use sqlx::{Postgres, QueryBuilder};

/// Appends the condition on the contact `c`.
pub(super) fn push(query: &mut QueryBuilder<Postgres>, filter: &Filter) {
    match filter {
        Filter::All => {
            query.push("true");
        }
        Filter::And(parts) => join(query, parts, " and "),
        Filter::Or(parts) => join(query, parts, " or "),
        Filter::Not(part) => {
            query.push("not (");
            push(query, part);
            query.push(")");
        }
        Filter::HasAddress(kind) => has_address(query, *kind),
        Filter::Present(field) => {
            query.push("coalesce(jsonb_typeof(");
            json(query, field);
            query.push(") <> 'null', false)");
        }
        Filter::Compare { field, operator, value } => compare(query, field, *operator, value),
    }
}

fn join(query: &mut QueryBuilder<Postgres>, parts: &[Filter], word: &str) {
    query.push("(");
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            query.push(word);
        }
        push(query, part);
    }
    query.push(")");
}

fn has_address(query: &mut QueryBuilder<Postgres>, kind: AddressKind) {
    query.push(
        "exists (select from contact_address l join address a on a.id = l.address_id
                  where l.contact_id = c.id and a.kind = ",
    );
    query.push_bind(kind.as_str()).push("::address_kind)");
}

/// `!=` is asked of a field that is there: it is there, and it is not equal.
fn compare(query: &mut QueryBuilder<Postgres>, field: &Field, operator: Operator, value: &Value) {
    if operator == Operator::NotEqual {
        query.push("(");
        push(query, &Filter::Present(field.clone()));
        query.push(" and not ");
        compare(query, field, Operator::Equal, value);
        query.push(")");
        return;
    }
    query.push("coalesce(");
    match value {
        Value::Text(text) => {
            text_of(query, field);
            query.push(operator.as_str()).push(" ").push_bind(text.clone());
        }
        Value::Prefix(prefix) => {
            query.push("starts_with(");
            text_of(query, field);
            query.push(", ").push_bind(prefix.clone()).push(")");
        }
        Value::Number(number) => {
            query.push("case when (");
            json(query, field);
            query.push(" #>> '{}') ~ '^-?[0-9]{1,30}([.][0-9]{1,30})?$' then (");
            json(query, field);
            query
                .push(" #>> '{}')::double precision ")
                .push(operator.as_str())
                .push(" ")
                .push_bind(*number)
                .push(" end");
        }
        Value::Bool(flag) => {
            json(query, field);
            query.push(" = ").push_bind(serde_json::Value::Bool(*flag));
        }
    }
    query.push(", false)");
}

/// The text of a field; null where there is none, or where it is no text.
fn text_of(query: &mut QueryBuilder<Postgres>, field: &Field) {
    query.push("(case jsonb_typeof(");
    json(query, field);
    query.push(") when 'string' then ");
    json(query, field);
    query.push(" #>> '{}' end) collate \"C\" ");
}

/// A field as JSON; null where it is not there.
fn json(query: &mut QueryBuilder<Postgres>, field: &Field) {
    match field {
        Field::ExternalId => query.push("to_jsonb(c.external_id)"),
        Field::DisplayName => query.push("to_jsonb(nullif(c.display_name, ''))"),
        Field::Locale => query.push("to_jsonb(nullif(c.locale, ''))"),
        Field::TimeZone => query.push("to_jsonb(nullif(c.time_zone, ''))"),
        Field::Attribute(path) => query.push("(c.attributes #> ").push_bind(path.clone()).push(")"),
    };
}
