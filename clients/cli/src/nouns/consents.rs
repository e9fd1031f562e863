//! `contacts consent`: what the holders of addresses agreed to.

use clap::Subcommand;
use proto::v1::{self, consent::State};

use super::shared::Paging;
use crate::error::Error;
use crate::input::{names, pairs, time};
use crate::session::Session;
use crate::view::table::Columns;

/// What a list of consents shows.
pub const COLUMNS: Columns = &[
    ("address", "address"),
    ("channel type", "channel_type"),
    ("purpose", "purpose"),
    ("state", "state"),
    ("source", "source"),
    ("said at", "consent_time"),
    ("proof", "proof"),
];

/// What people agreed to.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  switchboard-cli contacts consent set +919812345678 --channel-type whatsapp --opt-in --source web-form --proof 'form 88'
  switchboard-cli contacts consent list --contact 42 --history")]
pub enum Consents {
    /// Record that the holder of an address opted in or out.
    Set {
        /// The address: +919812345678, email:a@example.org, whatsapp_user:ID,
        /// external:telegram:1093.
        #[arg(value_parser = pairs::address)]
        address: v1::Address,
        /// The channel type: whatsapp, sms, voice or email.
        #[arg(long, value_name = "TYPE", value_parser = pairs::channel_type)]
        channel_type: i32,
        /// The purpose, such as marketing; `*` stands for all.
        #[arg(long, default_value = "*")]
        purpose: String,
        /// The person agreed to be written to.
        #[arg(long, required_unless_present = "opt_out", conflicts_with = "opt_out")]
        opt_in: bool,
        /// The person refused to be written to.
        #[arg(long)]
        opt_out: bool,
        /// Where it came from.
        #[arg(long, default_value = "cli")]
        source: String,
        /// What proves it: the words, the id of a form, a link.
        #[arg(long, default_value = "", hide_default_value = true)]
        proof: String,
        /// When it was said, such as 2026-11-20T09:00:00Z; without it now.
        #[arg(long, value_name = "TIME", value_parser = time::parse)]
        at: Option<prost_types::Timestamp>,
    },
    /// List what is recorded of a contact or of one address.
    List {
        /// All addresses of this contact.
        #[arg(long, required_unless_present = "address", conflicts_with = "address")]
        contact: Option<String>,
        /// This address.
        #[arg(long, value_parser = pairs::address)]
        address: Option<v1::Address>,
        /// Show earlier records too.
        #[arg(long)]
        history: bool,
        #[command(flatten)]
        paging: Paging,
    },
}

impl Consents {
    /// Does it.
    ///
    /// # Errors
    /// What the server refused.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        match self {
            Self::Set { address, channel_type, purpose, opt_in, source, proof, at, .. } => {
                let state = if opt_in { State::OptedIn } else { State::OptedOut };
                let consent = v1::Consent {
                    address: Some(address),
                    channel_type,
                    purpose,
                    state: state.into(),
                    source,
                    proof,
                    consent_time: at,
                    create_time: None,
                };
                session.show(v1::SetConsentRequest { consent: Some(consent), ..Default::default() }).await
            }
            Self::List { contact, address, history, paging } => {
                let contact = names::optional("contacts", contact.as_deref());
                let request = v1::ListConsentsRequest { contact, address, history, ..Default::default() };
                session.list(request, COLUMNS, &paging).await
            }
        }
    }
}
