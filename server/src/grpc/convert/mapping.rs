//! Mappings, and the people that they find.

use domain::{
    channel::AddressKind,
    mapping::{Mapped, Source},
};
use proto::v1::{self, variable_mapping::From as Given};

use super::{Faults, common};
use crate::services::triggers::{RowMapping, VariableSource};

const MAX_ADDRESSES: usize = 20;
const MAX_VARIABLES: usize = 100;
const MAX_COLUMN: usize = 63;
const MAX_EXPRESSION: usize = 4000;

/// A mapping, as far as it can be read without its table.
pub fn read(given: v1::Mapping, faults: &mut Faults) -> RowMapping {
    let mut column = |field: &str, value: String| {
        let value = faults.text(field, value, MAX_COLUMN);
        Some(value).filter(|value| !value.is_empty())
    };
    let mut mapping = RowMapping {
        external_id: column("external_id_column", given.external_id_column),
        display_name: column("display_name_column", given.display_name_column),
        country: column("country_column", given.country_column),
        locale: column("locale_column", given.locale_column),
        time_zone: column("time_zone_column", given.time_zone_column),
        ..RowMapping::default()
    };
    faults.country("default_country", &given.default_country);
    mapping.default_country = Some(given.default_country).filter(|country| !country.is_empty());
    let (addresses, variables) = (given.addresses.len(), given.variables.len());
    if addresses > MAX_ADDRESSES {
        faults.note("addresses", format!("has {addresses} entries, at most {MAX_ADDRESSES} are allowed"));
    }
    if variables > MAX_VARIABLES {
        faults.note("variables", format!("has {variables} entries, at most {MAX_VARIABLES} are allowed"));
    }
    for (i, address) in given.addresses.into_iter().enumerate() {
        let read = faults.inside(format!("addresses[{i}]"), |f| {
            let kind = f.code("kind", address.kind, common::address_kind);
            (kind, f.required_text("column", address.column, MAX_COLUMN))
        });
        mapping.addresses.extend(read.0.map(|kind| (kind, read.1)));
    }
    for (i, variable) in given.variables.into_iter().enumerate() {
        let read = faults.inside(format!("variables[{i}]"), |f| read_variable(variable, f));
        mapping.variables.extend(read);
    }
    mapping
}

fn read_variable(given: v1::VariableMapping, faults: &mut Faults) -> Option<VariableSource> {
    let name = faults.required_text("name", given.name, MAX_COLUMN);
    let from = match given.from {
        Some(Given::Column(column)) => Source::Column(faults.required_text("column", column, MAX_COLUMN)),
        Some(Given::Expression(text)) => Source::Expression(faults.required_text("expression", text, MAX_EXPRESSION)),
        Some(Given::Constant(value)) => Source::Constant(common::json(value)),
        None => {
            faults.note("column", "is missing: exactly one of column, expression and constant must be set");
            return None;
        }
    };
    Some(VariableSource { name, from })
}

/// A mapping of the contract.
#[must_use]
pub fn message(mapping: RowMapping) -> v1::Mapping {
    let kind = |kind: AddressKind| match kind {
        AddressKind::Phone => v1::AddressKind::Phone,
        AddressKind::Email => v1::AddressKind::Email,
        AddressKind::WhatsappUser => v1::AddressKind::WhatsappUser,
        AddressKind::External => v1::AddressKind::External,
    };
    let address = |(of, column)| v1::AddressMapping { kind: kind(of).into(), column };
    let variable = |variable: VariableSource| v1::VariableMapping {
        name: variable.name,
        from: Some(match variable.from {
            Source::Column(column) => Given::Column(column),
            Source::Expression(text) | Source::Template(text) => Given::Expression(text),
            Source::Constant(value) => Given::Constant(common::of_json(&value)),
        }),
    };
    v1::Mapping {
        external_id_column: mapping.external_id.unwrap_or_default(),
        display_name_column: mapping.display_name.unwrap_or_default(),
        addresses: mapping.addresses.into_iter().map(address).collect(),
        default_country: mapping.default_country.unwrap_or_default(),
        country_column: mapping.country.unwrap_or_default(),
        locale_column: mapping.locale.unwrap_or_default(),
        time_zone_column: mapping.time_zone.unwrap_or_default(),
        variables: mapping.variables.into_iter().map(variable).collect(),
    }
}

/// A person as a dry run shows one: addresses are masked.
#[must_use]
pub fn person(mapped: &Mapped, contact: Option<i64>) -> v1::MappedPerson {
    let masked = |address: &domain::channel::Address| {
        let value = address.masked();
        common::of_address(domain::channel::Address { kind: address.kind, value })
    };
    let contact_name = contact.map(|id| format!("contacts/{id}")).unwrap_or_default();
    let person = &mapped.contact;
    v1::MappedPerson {
        contact: contact_name,
        external_id: person.external_id.clone().unwrap_or_default(),
        display_name: person.display_name.clone().unwrap_or_default(),
        addresses: person.addresses.iter().map(masked).collect(),
        locale: person.locale.as_ref().map(ToString::to_string).unwrap_or_default(),
        time_zone: person.time_zone.map(|zone| zone.name().to_owned()).unwrap_or_default(),
        variables: Some(common::of_object(&mapped.variables)),
    }
}
