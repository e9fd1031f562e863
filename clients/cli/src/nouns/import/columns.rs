//! Which column is what: by flags, or by the names that columns usually have.

use clap::Args;
use csv::StringRecord;
use proto::v1::{Address, AddressKind, Consent, Contact, ImportRow, consent::State};

use crate::error::Error;
use crate::input::pairs;

/// The flags that say which column is what.
#[derive(Debug, Clone, Default, Args)]
#[group(skip)]
pub struct Mapping {
    /// The column with the id of the person in your own system.
    #[arg(long, value_name = "COLUMN")]
    external_id: Option<String>,
    /// The column with the name.
    #[arg(long, value_name = "COLUMN")]
    name: Option<String>,
    /// A column with a phone number; may be given more than once, the preferred first.
    #[arg(long = "phone", value_name = "COLUMN")]
    phones: Vec<String>,
    /// A column with an email address.
    #[arg(long = "email", value_name = "COLUMN")]
    emails: Vec<String>,
    /// A column with a WhatsApp user id.
    #[arg(long = "whatsapp-user", value_name = "COLUMN")]
    whatsapp_users: Vec<String>,
    /// The column with the language.
    #[arg(long, value_name = "COLUMN")]
    locale: Option<String>,
    /// The column with the time zone.
    #[arg(long, value_name = "COLUMN")]
    time_zone: Option<String>,
    /// Keep a column as an attribute: `district=District`.
    #[arg(long = "attribute", value_name = "KEY=COLUMN", value_parser = pairs::parse)]
    attributes: Vec<(String, String)>,
    /// Keep all columns that are not mapped as attributes, under their names in snake case.
    #[arg(long)]
    others: bool,
    /// A column that says yes or no to a channel type and purpose: `sms:marketing=Agreed`; an empty cell says nothing.
    #[arg(long = "consent", value_name = "TYPE:PURPOSE=COLUMN", value_parser = pairs::parse)]
    consents: Vec<(String, String)>,
    /// Where the consents come from.
    #[arg(long, default_value = "import")]
    consent_source: String,
}

/// What one column is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Meaning {
    ExternalId,
    Name,
    Address(AddressKind),
    Locale,
    TimeZone,
    Attribute(String),
    Consent { channel_type: i32, purpose: String },
}

/// The columns of one file: numbers from 0 with their meanings, in the order in which they count.
#[derive(Debug)]
pub struct Columns {
    columns: Vec<(usize, Meaning)>,
    consent_source: String,
}

/// The names that columns usually have, in lower case with underscores.
const USUAL: &[(Meaning, &[&str])] = &[
    (Meaning::ExternalId, &["external_id", "externalid", "id", "employee_id", "emp_id", "empno", "customer_id"]),
    (Meaning::Name, &["name", "display_name", "full_name"]),
    (Meaning::Address(AddressKind::Phone), &["phone", "mobile", "phone_number", "mobile_number", "msisdn", "cell"]),
    (Meaning::Address(AddressKind::Email), &["email", "email_address", "e_mail", "mail"]),
    (Meaning::Address(AddressKind::WhatsappUser), &["whatsapp_user"]),
    (Meaning::Locale, &["locale", "language", "lang"]),
    (Meaning::TimeZone, &["time_zone", "timezone", "tz"]),
];

impl Mapping {
    /// Finds the columns in the header, or by number when there is none.
    ///
    /// # Errors
    /// `Error::Usage` with every column that does not exist.
    pub fn resolve(&self, header: &[String], named: bool) -> Result<Columns, Error> {
        let mut columns = Vec::new();
        let mut problems = Vec::new();
        for (column, meaning) in self.flags()? {
            match find(header, named, &column) {
                Some(index) => columns.push((index, meaning)),
                None => problems.push(format!("there is no column `{column}`")),
            }
        }
        if !problems.is_empty() {
            let all = header.join(", ");
            return Err(Error::Usage(format!("{}; the file has: {all}", problems.join("; "))));
        }
        if named {
            self.fill(header, &mut columns);
        }
        if columns.is_empty() {
            let all = header.join(", ");
            let why = "no column is mapped: use --phone, --email, --external-id and the like";
            return Err(Error::Usage(format!("{why}; the file has: {all}")));
        }
        Ok(Columns { columns, consent_source: self.consent_source.clone() })
    }

    fn flags(&self) -> Result<Vec<(String, Meaning)>, Error> {
        let mut flags = Vec::new();
        let one = |column: &Option<String>, meaning| column.clone().map(|column| (column, meaning));
        flags.extend(one(&self.external_id, Meaning::ExternalId));
        flags.extend(one(&self.name, Meaning::Name));
        flags.extend(one(&self.locale, Meaning::Locale));
        flags.extend(one(&self.time_zone, Meaning::TimeZone));
        for (kind, columns) in [
            (AddressKind::Phone, &self.phones),
            (AddressKind::Email, &self.emails),
            (AddressKind::WhatsappUser, &self.whatsapp_users),
        ] {
            flags.extend(columns.iter().map(|column| (column.clone(), Meaning::Address(kind))));
        }
        flags.extend(self.attributes.iter().map(|(key, column)| (column.clone(), Meaning::Attribute(key.clone()))));
        for (what, column) in &self.consents {
            let (channel_type, purpose) = what.split_once(':').unwrap_or((what, "*"));
            let channel_type = pairs::channel_type(channel_type).map_err(Error::Usage)?;
            flags.push((column.clone(), Meaning::Consent { channel_type, purpose: purpose.to_owned() }));
        }
        Ok(flags)
    }

    /// Adds what the header says by itself: usual names of what no flag maps, and all others when that was asked.
    fn fill(&self, header: &[String], columns: &mut Vec<(usize, Meaning)>) {
        let by_flag: Vec<Meaning> = columns.iter().map(|(_, meaning)| meaning.clone()).collect();
        for (index, name) in header.iter().enumerate() {
            if columns.iter().any(|(used, _)| *used == index) {
                continue;
            }
            let name = snake(name);
            let usual = USUAL.iter().find(|(_, names)| names.contains(&name.as_str())).map(|(meaning, _)| meaning);
            match usual {
                Some(meaning) if !by_flag.contains(meaning) => columns.push((index, meaning.clone())),
                _ if self.others && !name.is_empty() => columns.push((index, Meaning::Attribute(name))),
                _ => {}
            }
        }
    }
}

impl Columns {
    /// Makes a row of the file into a row of the import. Empty cells say nothing.
    ///
    /// # Errors
    /// The field and what is wrong, for a consent that is neither yes nor no.
    pub fn row(&self, line: i64, record: &StringRecord) -> Result<ImportRow, (String, String)> {
        let mut contact = Contact::default();
        let mut consents = Vec::new();
        for (index, meaning) in &self.columns {
            let Some(cell) = record.get(*index).map(str::trim).filter(|cell| !cell.is_empty()) else { continue };
            let text = || cell.to_owned();
            match meaning {
                Meaning::ExternalId => contact.external_id = text(),
                Meaning::Name => contact.display_name = text(),
                Meaning::Locale => contact.locale = text(),
                Meaning::TimeZone => contact.time_zone = text(),
                Meaning::Address(kind) => contact.addresses.push(Address { kind: (*kind).into(), value: text() }),
                Meaning::Attribute(key) => {
                    contact.attributes.insert(key.clone(), text());
                }
                Meaning::Consent { channel_type, purpose } => consents.push(Consent {
                    channel_type: *channel_type,
                    purpose: purpose.clone(),
                    state: agreed(cell, consents.len())?.into(),
                    source: self.consent_source.clone(),
                    ..Default::default()
                }),
            }
        }
        Ok(ImportRow { line, contact: Some(contact), consents })
    }
}

/// A cell that says yes or no.
fn agreed(cell: &str, index: usize) -> Result<State, (String, String)> {
    match cell.to_lowercase().as_str() {
        "yes" | "y" | "true" | "1" | "in" | "opted_in" | "opt-in" => Ok(State::OptedIn),
        "no" | "n" | "false" | "0" | "out" | "opted_out" | "opt-out" => Ok(State::OptedOut),
        _ => Err((format!("consents[{index}].state"), format!("`{cell}` must be yes or no"))),
    }
}

fn find(header: &[String], named: bool, column: &str) -> Option<usize> {
    if named && let Some(index) = header.iter().position(|it| it.trim().eq_ignore_ascii_case(column.trim())) {
        return Some(index);
    }
    let number: usize = column.trim().parse().ok()?;
    (1..=header.len()).contains(&number).then(|| number - 1)
}

/// `Date of Birth` as `date_of_birth`.
fn snake(name: &str) -> String {
    let words: Vec<_> = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|it| !it.is_empty()).collect();
    words.join("_").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(names: &[&str]) -> Vec<String> {
        names.iter().map(|it| (*it).to_owned()).collect()
    }

    fn row(mapping: &Mapping, names: &[&str], cells: &[&str]) -> ImportRow {
        let columns = mapping.resolve(&header(names), true).unwrap();
        columns.row(2, &StringRecord::from(cells.to_vec())).unwrap()
    }

    #[test]
    fn usual_names_are_recognised() {
        let row = row(&Mapping::default(), &["ID", "Full Name", "Mobile", "E-Mail"], &["7", "Asha", "98123", ""]);
        let contact = row.contact.unwrap();
        assert_eq!((contact.external_id.as_str(), contact.display_name.as_str()), ("7", "Asha"));
        assert_eq!(contact.addresses.len(), 1, "an empty cell is no address");
    }

    #[test]
    fn flags_win_over_usual_names_and_others_become_attributes() {
        let mapping = Mapping { phones: vec!["Home".into()], others: true, ..Default::default() };
        let row = row(&mapping, &["phone", "home", "Date of Birth"], &["1", "2", "1990"]);
        let contact = row.contact.unwrap();
        assert_eq!(contact.addresses.len(), 1);
        assert_eq!(contact.addresses[0].value, "2");
        assert_eq!(contact.attributes["date_of_birth"], "1990");
        assert_eq!(contact.attributes["phone"], "1");
    }

    #[test]
    fn columns_without_a_header_go_by_number() {
        let mapping = Mapping { phones: vec!["2".into()], ..Default::default() };
        let columns = mapping.resolve(&header(&["1", "2"]), false).unwrap();
        let row = columns.row(1, &StringRecord::from(vec!["Asha", "+9198"])).unwrap();
        assert_eq!(row.contact.unwrap().addresses[0].value, "+9198");
    }

    #[test]
    fn a_column_that_does_not_exist_is_named_with_those_that_do() {
        let mapping = Mapping { phones: vec!["Handy".into()], ..Default::default() };
        let error = mapping.resolve(&header(&["a", "b"]), true).unwrap_err().to_string();
        assert_eq!(error, "there is no column `Handy`; the file has: a, b");
        assert!(
            Mapping::default().resolve(&header(&["a"]), true).unwrap_err().to_string().contains("no column is mapped")
        );
    }

    #[test]
    fn a_consent_is_yes_or_no() {
        let mapping = Mapping { consents: vec![("sms:marketing".into(), "ok".into())], ..Default::default() };
        let columns = mapping.resolve(&header(&["phone", "ok"]), true).unwrap();
        let row = columns.row(2, &StringRecord::from(vec!["+91", "No"])).unwrap();
        assert_eq!(row.consents[0].state(), State::OptedOut);
        let (field, text) = columns.row(2, &StringRecord::from(vec!["+91", "maybe"])).unwrap_err();
        assert_eq!((field.as_str(), text.as_str()), ("consents[0].state", "`maybe` must be yes or no"));
    }
}
