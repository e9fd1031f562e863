//! Firings: rows that were captured and fire times that came, on their way to notifications and after it.
//!
//! [`sink`] stores what consumers capture, [`batch`] decides what is pending, [`by_hand`] fires and replays at a person's wish.

pub mod batch;
pub mod by_hand;
pub mod mapper;
mod people;
pub mod sink;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Context, Error, Result};
pub use crate::storage::firings::{FiringRow, ListFilter, State};
use crate::storage::{self, firings};

/// Why a firing stands where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// The column or variable that it is about; empty when none.
    #[serde(default)]
    pub field: String,
    /// For programs: a reason of the contract.
    pub fault: String,
    /// For people, without personal data in full.
    pub reason: String,
}

impl Why {
    /// A reason that is about no field.
    #[must_use]
    pub fn plain(fault: &str, reason: impl Into<String>) -> Self {
        Self { field: String::new(), fault: fault.to_owned(), reason: reason.into() }
    }

    /// The list of this one reason, as it is stored.
    #[must_use]
    pub fn as_json(&self) -> Value {
        list(std::slice::from_ref(self))
    }
}

fn list(whys: &[Why]) -> Value {
    serde_json::json!(whys)
}

/// The reasons of a firing.
#[must_use]
pub fn reasons(row: &FiringRow) -> Vec<Why> {
    serde_json::from_value(row.reasons.clone()).unwrap_or_default()
}

/// A page of firings, the newest first. With no trigger, of all triggers.
///
/// # Errors
/// [`Error::NotFound`] when there is no such trigger.
pub async fn list_page(
    context: &Context,
    trigger: Option<&str>,
    states: Vec<State>,
    reasons: Vec<String>,
    before: i64,
    limit: i64,
) -> Result<Vec<FiringRow>> {
    let conn = &mut *context.lists.conn().await?;
    let trigger_id = match trigger {
        None => None,
        Some(slug) => {
            let found = storage::triggers::find(conn, slug).await?;
            Some(found.ok_or_else(|| Error::NotFound(super::triggers::name(slug)))?.id)
        }
    };
    Ok(firings::list(conn, &ListFilter { trigger_id, states, reasons }, before, limit).await?)
}

/// One firing, of a deleted trigger too.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get(context: &Context, trigger: &str, id: i64) -> Result<FiringRow> {
    let found = firings::find(&mut *context.lists.conn().await?, id).await?;
    found.filter(|row| row.trigger == trigger).ok_or_else(|| Error::NotFound(name(trigger, id)))
}

/// The resource name.
#[must_use]
pub fn name(trigger: &str, id: i64) -> String {
    format!("triggers/{trigger}/firings/{id}")
}
