//! Triggers that are ready to map rows, kept as long as they do not change.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use ::triggers::Operation;
use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    channel::Lane,
    mapping::{Compiled, Mapped, Reason},
};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::Why;
use crate::{
    services::{
        Context, Error, Result,
        plans::PinnedPlan,
        triggers::{TableWatch, required},
    },
    storage::{self, Conn, triggers::TriggerRow},
};

/// A table trigger, ready to map rows.
#[derive(Debug)]
pub struct Mapper {
    /// What it says.
    pub watch: TableWatch,
    /// The plan of what begins now.
    pub plan: Arc<PinnedPlan>,
    compiled: Compiled,
}

/// The mappers of this process. Cheap to clone; clones share what is kept.
#[derive(Debug, Clone, Default)]
pub struct Mappers {
    kept: Arc<Mutex<HashMap<i64, Kept>>>,
}

#[derive(Debug, Clone)]
struct Kept {
    version: i32,
    mapper: Arc<Mapper>,
}

/// A mapper, or why nothing of this trigger can fire.
pub type Found = std::result::Result<Arc<Mapper>, Why>;

impl Mappers {
    /// The mappers of triggers, by key. The way is pinned anew, so that a policy's newest version holds for what begins now.
    ///
    /// # Errors
    /// What storage says.
    pub async fn of(
        &self,
        context: &Context,
        conn: &mut Conn,
        triggers: &BTreeSet<i64>,
        now: DateTime<Utc>,
    ) -> Result<HashMap<i64, Found>> {
        let ids: Vec<i64> = triggers.iter().copied().collect();
        let mut found = HashMap::new();
        for row in storage::triggers::by_ids(conn, &ids).await? {
            let mapper = match self.one(context, conn, &row, now).await {
                Ok(mapper) => Ok(mapper),
                Err(Error::Storage(error)) if !matches!(error, storage::Error::Corrupt(_)) => return Err(error.into()),
                Err(error) => Err(Why::plain("TARGET_INVALID", words(&error))),
            };
            found.insert(row.id, mapper);
        }
        Ok(found)
    }

    async fn one(
        &self,
        context: &Context,
        conn: &mut Conn,
        row: &TriggerRow,
        now: DateTime<Utc>,
    ) -> Result<Arc<Mapper>> {
        let watch = TableWatch::read(row)?;
        let plan = watch.way.pin(context, conn, now).await?.map_err(Error::Invalid)?;
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(&row.id).cloned();
        if let Some(kept) = kept.filter(|k| k.version == row.version && k.mapper.plan.id == plan.id) {
            return Ok(kept.mapper);
        }
        let mapper = Arc::new(Mapper::new(context, watch, plan).await?);
        let kept = Kept { version: row.version, mapper: Arc::clone(&mapper) };
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).insert(row.id, kept);
        Ok(mapper)
    }
}

/// What is wrong, field by field.
fn words(error: &Error) -> String {
    match error {
        Error::Invalid(found) => {
            found.iter().map(|v| format!("{} {}", v.field, v.description)).collect::<Vec<_>>().join("; ")
        }
        other => other.to_string(),
    }
}

impl Mapper {
    /// Compiles a trigger.
    ///
    /// # Errors
    /// [`Error::Invalid`] when its mapping does not compile; what storage says.
    pub async fn new(context: &Context, watch: TableWatch, plan: Arc<PinnedPlan>) -> Result<Self> {
        let required = required(&plan, &*context.directory.snapshot(&context.side).await?);
        let compiled = Compiled::new(&watch.mapping.to_domain(), required)
            .map_err(|found| Error::Invalid(found.into_iter().map(Into::into).collect()))?;
        Ok(Self { watch, plan, compiled })
    }

    /// Maps one row.
    ///
    /// # Errors
    /// Every reason, about the columns and variables of the trigger.
    pub fn map(&self, row: Option<&Value>, old: Option<&Value>) -> std::result::Result<Mapped, Vec<Why>> {
        let none = Map::new();
        let row = row.and_then(Value::as_object).unwrap_or(&none);
        let mapped = self.compiled.apply_change(row, old.and_then(Value::as_object));
        mapped.map_err(|unmappable| unmappable.reasons.iter().map(|reason| self.why(reason)).collect())
    }

    fn why(&self, reason: &Reason) -> Why {
        let field = self.watch.mapping.about(&reason.field);
        let words = format!("{field}: {}", reason.reason);
        Why { field, fault: reason.fault.as_str().to_owned(), reason: words }
    }

    /// What makes a row the same as another one; none when every row fires.
    #[must_use]
    pub fn dedup_key(&self, row: Option<&Value>) -> Option<Vec<u8>> {
        if self.watch.dedup_columns.is_empty() {
            return None;
        }
        let mut hash = Sha256::new();
        for column in &self.watch.dedup_columns {
            let value = row.and_then(|row| row.get(column)).unwrap_or(&Value::Null).to_string();
            hash.update(u64::try_from(value.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(value);
        }
        Some(hash.finalize().to_vec())
    }

    /// The lane of a firing.
    #[must_use]
    pub fn lane(&self, by_number: Lane) -> Lane {
        self.watch.lane.unwrap_or(by_number)
    }

    /// Past which time nothing is sent for a row that was written at `captured_at`.
    #[must_use]
    pub fn valid_until(&self, captured_at: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
        match self.watch.valid_for_ms.and_then(TimeDelta::try_milliseconds) {
            Some(valid_for) => captured_at + valid_for,
            None => now + self.plan.valid_for,
        }
    }
}

/// The name under which an operation is stored with a firing.
#[must_use]
pub const fn op(operation: Operation) -> &'static str {
    match operation {
        Operation::Insert => "insert",
        Operation::Update => "update",
        Operation::Delete => "delete",
    }
}
