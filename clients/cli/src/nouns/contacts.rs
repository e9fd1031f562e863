//! `contacts`: people, their addresses, their consent.

use clap::{Args, Subcommand};
use proto::v1;

use super::consents::Consents;
use super::import::Import;
use super::shared::{Named, Paging, Verb, mask};
use crate::error::Error;
use crate::input::{definition::Definition, names, pairs};
use crate::session::Session;
use crate::view::table::Columns;

/// What a list of contacts shows.
pub const COLUMNS: Columns = &[
    ("name", "name"),
    ("external id", "external_id"),
    ("called", "display_name"),
    ("addresses", "addresses"),
    ("locale", "locale"),
    ("zone", "time_zone"),
    ("updated", "update_time"),
];

/// People, their addresses, their consent.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  switchboard-cli contacts create --external-id EMP-7 --name 'Asha Rao' --phone +919812345678 --locale hi
  switchboard-cli contacts list --filter 'locale = \"hi\" AND attributes.district = \"Pune\"' --limit 0
  switchboard-cli contacts update 42 --attribute district=Nashik
  switchboard-cli contacts resolve 9812345678 --country IN
  switchboard-cli contacts consent set +919812345678 --channel-type sms --purpose marketing --opt-out
  switchboard-cli contacts import people.csv --country IN --phone mobile")]
pub enum Contacts {
    /// Create a contact.
    Create(Person),
    /// Show a contact: `42`, or `external:EMP-7` by the id in your own system.
    Get(Named),
    /// List contacts.
    List {
        /// Only those that meet a filter, such as `locale = "hi" AND attributes.district = "Pune"`.
        #[arg(long, default_value = "", hide_default_value = true)]
        filter: String,
        #[command(flatten)]
        paging: Paging,
    },
    /// Create the contact with this external id, or change the one that has it.
    Upsert {
        #[command(flatten)]
        person: Person,
        /// Write these fields, even when they are empty.
        #[arg(long, value_name = "FIELDS", value_delimiter = ',')]
        mask: Vec<String>,
    },
    /// Change a contact: what is given is written, addresses as a whole, attributes one by one.
    Update {
        #[command(flatten)]
        which: Verb,
        #[command(flatten)]
        person: Person,
        /// Write these fields, even when they are empty.
        #[arg(long, value_name = "FIELDS", value_delimiter = ',')]
        mask: Vec<String>,
    },
    /// Delete a contact; its unfinished notifications are skipped.
    Delete(Verb),
    /// Find who has an address.
    Resolve {
        /// The address: +919812345678, email:a@example.org, whatsapp_user:ID,
        /// external:telegram:1093.
        #[arg(value_parser = pairs::address)]
        address: v1::Address,
        /// The country of a phone number without `+`, such as IN.
        #[arg(long, default_value = "", hide_default_value = true)]
        country: String,
    },
    /// Record and list what people agreed to.
    #[command(subcommand)]
    Consent(Consents),
    /// Import contacts from a CSV file.
    Import(Import),
}

/// What is known of a person.
#[derive(Debug, Clone, Args)]
#[group(skip)]
pub struct Person {
    /// The id in your own system.
    #[arg(long, value_name = "ID")]
    external_id: Option<String>,
    /// What the person is called.
    #[arg(long = "name", value_name = "TEXT")]
    display_name: Option<String>,
    /// A phone number; may be given more than once, the preferred first.
    #[arg(long = "phone", value_name = "NUMBER")]
    phones: Vec<String>,
    /// An email address; may be given more than once.
    #[arg(long = "email", value_name = "EMAIL")]
    emails: Vec<String>,
    /// A WhatsApp user id.
    #[arg(long = "whatsapp-user", value_name = "ID")]
    whatsapp_users: Vec<String>,
    /// An id in another medium, such as telegram:1093; may be given more than once.
    #[arg(long = "external", value_name = "MEDIUM:ID")]
    externals: Vec<String>,
    /// The language that the person reads, such as hi or en-IN.
    #[arg(long, value_name = "LANGUAGE")]
    locale: Option<String>,
    /// The time zone of the person, such as Asia/Kolkata.
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// Anything else: `district=Pune`.
    #[arg(long = "attribute", value_name = "KEY=VALUE", value_parser = pairs::parse)]
    attributes: Vec<(String, String)>,
    #[command(flatten)]
    definition: Definition,
    /// Check everything and show the result, but store nothing.
    #[arg(long)]
    validate_only: bool,
}

impl Person {
    fn contact(&self) -> Result<v1::Contact, Error> {
        let mut contact: v1::Contact = self.definition.read()?;
        let given = |value: &Option<String>, field: &mut String| {
            if let Some(value) = value {
                field.clone_from(value);
            }
        };
        given(&self.external_id, &mut contact.external_id);
        given(&self.display_name, &mut contact.display_name);
        given(&self.locale, &mut contact.locale);
        given(&self.time_zone, &mut contact.time_zone);
        let kinds = [
            (v1::AddressKind::Phone, &self.phones),
            (v1::AddressKind::Email, &self.emails),
            (v1::AddressKind::WhatsappUser, &self.whatsapp_users),
            (v1::AddressKind::External, &self.externals),
        ];
        for (kind, values) in kinds {
            contact.addresses.extend(values.iter().map(|it| v1::Address { kind: kind.into(), value: it.clone() }));
        }
        contact.attributes.extend(self.attributes.iter().cloned());
        Ok(contact)
    }

    /// The mask of an update. Attributes that are given one by one must not wipe out the others, so each has its path.
    fn update_mask(&self, contact: &v1::Contact, mask: Vec<String>) -> Vec<String> {
        if !mask.is_empty() || self.attributes.is_empty() || !self.definition.is_empty() {
            return mask;
        }
        let mut paths: Vec<String> = self.attributes.iter().map(|(key, _)| format!("attributes.{key}")).collect();
        let set = [
            ("external_id", !contact.external_id.is_empty()),
            ("display_name", !contact.display_name.is_empty()),
            ("locale", !contact.locale.is_empty()),
            ("time_zone", !contact.time_zone.is_empty()),
            ("addresses", !contact.addresses.is_empty()),
        ];
        paths.extend(set.iter().filter(|(_, set)| *set).map(|(name, _)| (*name).to_owned()));
        paths
    }
}

impl Contacts {
    /// Does it.
    ///
    /// # Errors
    /// What the server refused, or a file that is wrong.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        match self {
            Self::Create(person) => {
                let contact = Some(person.contact()?);
                let validate_only = person.validate_only;
                session.show(v1::CreateContactRequest { contact, validate_only, ..Default::default() }).await
            }
            Self::Get(Named { name }) => {
                session.show(v1::GetContactRequest { name: names::full("contacts", &name) }).await
            }
            Self::List { filter, paging } => {
                session.list(v1::ListContactsRequest { filter, ..Default::default() }, COLUMNS, &paging).await
            }
            Self::Upsert { person, mask: paths } => {
                let contact = person.contact()?;
                let update_mask = mask(&person.update_mask(&contact, paths));
                let (contact, validate_only) = (Some(contact), person.validate_only);
                let request = v1::UpsertContactRequest { contact, update_mask, validate_only, ..Default::default() };
                session.show(request).await
            }
            Self::Update { which, person, mask: paths } => {
                let mut contact = person.contact()?;
                contact.name = names::full("contacts", &which.name);
                contact.etag = which.etag;
                let update_mask = mask(&person.update_mask(&contact, paths));
                let (contact, validate_only) = (Some(contact), person.validate_only);
                let request = v1::UpdateContactRequest { contact, update_mask, validate_only, ..Default::default() };
                session.show(request).await
            }
            Self::Delete(Verb { name, etag }) => {
                let name = names::full("contacts", &name);
                session.show(v1::DeleteContactRequest { name, etag, ..Default::default() }).await
            }
            Self::Resolve { address, country } => {
                session.show(v1::ResolveContactRequest { address: Some(address), default_country: country }).await
            }
            Self::Consent(consents) => consents.run(session).await,
            Self::Import(import) => import.run(session).await,
        }
    }
}
