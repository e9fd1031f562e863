//! Pinned plans: a policy with the template version of each step, written once and never changed.
//!
//! What a plan means is known to [`crate::services::plans`]; here it is a document, a list of ids and their fingerprint.

use chrono::{DateTime, Utc};

use super::{Conn, Result};

/// A plan as it is written.
#[derive(Debug, Clone, Copy)]
pub struct NewPlan<'a> {
    /// The version of a stored policy that it came from; none for a policy that stands in the send itself.
    pub policy_version_id: Option<i64>,
    /// The policy.
    pub definition: &'a serde_json::Value,
    /// The template version of each step, 0 where a step has none.
    pub template_version_ids: &'a [i64],
    /// Of the three above: two equal plans are one row.
    pub fingerprint: &'a [u8],
}

/// A plan as it stands.
#[derive(Debug, Clone)]
pub struct PlanRow {
    /// Its key.
    pub id: i64,
    /// The version of a stored policy that it came from.
    pub policy_version_id: Option<i64>,
    /// The policy.
    pub definition: serde_json::Value,
    /// The template version of each step, 0 where a step has none.
    pub template_version_ids: Vec<i64>,
}

/// Finds the plan with this fingerprint, or writes it. Says its key.
///
/// # Errors
/// What storage says.
pub async fn ensure(conn: &mut Conn, plan: NewPlan<'_>, now: DateTime<Utc>) -> Result<i64> {
    let find = sqlx::query_scalar!("select id from plan where fingerprint = $1", plan.fingerprint);
    if let Some(id) = find.fetch_optional(&mut *conn).await? {
        return Ok(id);
    }
    let inserted = sqlx::query_scalar!(
        r#"insert into plan (policy_version_id, definition, template_version_ids, fingerprint, created_at)
           values ($1, $2, $3, $4, $5) on conflict (fingerprint) do nothing returning id"#,
        plan.policy_version_id,
        plan.definition,
        plan.template_version_ids,
        plan.fingerprint,
        now
    )
    .fetch_optional(&mut *conn)
    .await?;
    match inserted {
        Some(id) => Ok(id),
        // Another transaction wrote it first; it is committed, since the insert waited for it.
        None => Ok(sqlx::query_scalar!("select id from plan where fingerprint = $1", plan.fingerprint)
            .fetch_one(conn)
            .await?),
    }
}

/// One plan, if it exists.
///
/// # Errors
/// What storage says.
pub async fn find(conn: &mut Conn, id: i64) -> Result<Option<PlanRow>> {
    let row = sqlx::query_as!(
        PlanRow,
        "select id, policy_version_id, definition, template_version_ids from plan where id = $1",
        id
    )
    .fetch_optional(conn)
    .await?;
    Ok(row)
}
