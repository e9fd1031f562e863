//! `compliance`: how often people may be written to, to whom nothing is sent, and who is forgotten.

use clap::Subcommand;
use proto::v1::{self, FrequencyCap, Suppression};

use super::shared::{Paging, Verb};
use crate::error::Error;
use crate::input::{duration, names, pairs};
use crate::session::Session;
use crate::view::table::Columns;

/// What a list of caps shows.
pub const CAPS: Columns = &[
    ("name", "name"),
    ("channel type", "channel_type"),
    ("purpose", "purpose"),
    ("messages", "messages"),
    ("period", "period"),
];

/// What a list of suppressed addresses shows.
pub const SUPPRESSIONS: Columns =
    &[("address", "address"), ("reason", "reason"), ("source", "source"), ("since", "create_time")];

/// What a list of erasures shows.
pub const ERASURES: Columns = &[
    ("name", "name"),
    ("contact", "contact"),
    ("state", "state"),
    ("asked", "create_time"),
    ("done", "done_time"),
    ("reason", "reason"),
];

/// How often people may be written to, to whom nothing is sent, and who is forgotten.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  switchboard-cli compliance cap marketing --messages 3 --period 7d
  switchboard-cli compliance cap '*' --messages 1 --period 1d --channel-type sms
  switchboard-cli compliance suppress +919812345678 email:gone@example.org --reason HARD_BOUNCE
  switchboard-cli compliance suppressed --address +919812345678
  switchboard-cli compliance erase contacts/42 --reason 'request 2026-118'
  switchboard-cli compliance erasures --under-way")]
pub enum Compliance {
    /// Set how many messages of a purpose an address may get in a period.
    Cap {
        /// The purpose, such as marketing; `*` stands for all that can be capped.
        purpose: String,
        /// So many messages.
        #[arg(long, value_name = "N")]
        messages: i32,
        /// In this time, such as 7d.
        #[arg(long, value_name = "DURATION", value_parser = duration::parse_proto)]
        period: prost_types::Duration,
        /// The channel type: whatsapp, sms, voice or email; without it each one by itself.
        #[arg(long, value_name = "TYPE", value_parser = pairs::channel_type)]
        channel_type: Option<i32>,
    },
    /// List the caps.
    Caps(Paging),
    /// Take a cap away.
    Uncap(Verb),
    /// Suppress addresses: nothing more is sent to them.
    Suppress {
        /// The addresses: +919812345678, email:a@example.org, whatsapp_user:ID.
        #[arg(required = true, value_parser = pairs::address)]
        addresses: Vec<v1::Address>,
        /// Why, without personal data.
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
    },
    /// Take addresses off the list of suppressed ones.
    Unsuppress {
        /// The addresses: +919812345678, email:a@example.org, whatsapp_user:ID.
        #[arg(required = true, value_parser = pairs::address)]
        addresses: Vec<v1::Address>,
    },
    /// List suppressed addresses.
    Suppressed {
        /// Only this address.
        #[arg(long, value_parser = pairs::address)]
        address: Option<v1::Address>,
        #[command(flatten)]
        paging: Paging,
    },
    /// Erase a contact for good: it cannot be undone. Prints the receipt.
    Erase {
        /// The contact: its name, or external: and your own key.
        contact: String,
        /// Why, such as the number of a case; without personal data.
        #[arg(long)]
        reason: String,
    },
    /// Show the receipt of an erasure: what went, and when the last of it was gone.
    Erasure {
        /// The erasure, as erasures/UUID or the UUID alone.
        name: String,
    },
    /// List erasures, the newest first.
    Erasures {
        /// Only those of this contact.
        #[arg(long, default_value = "", hide_default_value = true)]
        contact: String,
        /// Only those of which files are still to be written anew or removed.
        #[arg(long)]
        under_way: bool,
        #[command(flatten)]
        paging: Paging,
    },
}

impl Compliance {
    /// Does it.
    ///
    /// # Errors
    /// What the server refused.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        match self {
            Self::Cap { purpose, messages, period, channel_type } => {
                let channel_type = channel_type.unwrap_or_default();
                let cap = FrequencyCap { channel_type, purpose, messages, period: Some(period), ..Default::default() };
                session.show(v1::SetFrequencyCapRequest { frequency_cap: Some(cap), ..Default::default() }).await
            }
            Self::Caps(paging) => session.list(v1::ListFrequencyCapsRequest::default(), CAPS, &paging).await,
            Self::Uncap(Verb { name, etag }) => {
                let name = names::full("frequencyCaps", &name);
                session.show(v1::DeleteFrequencyCapRequest { name, etag, ..Default::default() }).await
            }
            Self::Suppress { addresses, reason } => {
                let suppression =
                    |address| Suppression { address: Some(address), reason: reason.clone(), ..Default::default() };
                let suppressions = addresses.into_iter().map(suppression).collect();
                session.show(v1::AddSuppressionsRequest { suppressions, ..Default::default() }).await
            }
            Self::Unsuppress { addresses } => {
                session.show(v1::RemoveSuppressionsRequest { addresses, ..Default::default() }).await
            }
            Self::Suppressed { address, paging } => {
                let request = v1::ListSuppressionsRequest { address, ..Default::default() };
                session.list(request, SUPPRESSIONS, &paging).await
            }
            Self::Erase { contact, reason } => {
                let contact = names::full("contacts", &contact);
                session.show(v1::EraseContactRequest { contact, reason, ..Default::default() }).await
            }
            Self::Erasure { name } => {
                session.show(v1::GetErasureRequest { name: names::full("erasures", &name) }).await
            }
            Self::Erasures { contact, under_way, paging } => {
                let contact = names::full("contacts", &contact);
                let request = v1::ListErasuresRequest { contact, under_way_only: under_way, ..Default::default() };
                session.list(request, ERASURES, &paging).await
            }
        }
    }
}
