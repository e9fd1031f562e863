//! Campaigns as rows: found, locked, written. How they are planned stands in [`planning`], what can be paused and paced in
//! [`groups`], how far they are in [`progress`], who their recipients are in [`recipients`].

pub mod groups;
pub mod planning;
pub mod progress;
pub mod recipients;

use chrono::{DateTime, Utc};
use domain::{campaign::State, price::Money};
use serde_json::Value;

use super::{Conn, Result};

/// A campaign as it stands.
#[derive(Debug, Clone)]
pub struct CampaignRow {
    /// Its key.
    pub id: i64,
    /// Its slug.
    pub slug: String,
    /// What people call it.
    pub display_name: String,
    /// Where it stands.
    pub state: State,
    /// Why it could not begin, or what its planning waits for.
    pub state_reason: Option<String>,
    /// The pinned plan, once it has begun.
    pub plan_id: Option<i64>,
    /// What it sends to whom; [`crate::services::campaigns::spec`] reads it.
    pub definition: Value,
    /// The slug of the schedule that made it.
    pub trigger: Option<String>,
    /// The pinned version of the policy: slug and number.
    pub policy_version: Option<(String, i32)>,
    /// When it begins.
    pub start_at: Option<DateTime<Utc>>,
    /// How far its audience was planned.
    pub plan_cursor: Option<Value>,
    /// When the whole audience was planned.
    pub planned_at: Option<DateTime<Utc>>,
    /// When it was paused; none unless it is.
    pub paused_at: Option<DateTime<Utc>>,
    /// What was reserved of its budget, in millionths.
    pub spent_micros: i64,
    /// Changes with every write of a caller.
    pub version: i32,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
    /// When it began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
}

/// Reads the columns of a [`CampaignRow`]; every query below selects the same.
macro_rules! campaign_row {
    ($r:expr) => {{
        let r = $r;
        CampaignRow {
            id: r.id,
            slug: r.slug,
            display_name: r.display_name,
            state: r.state.parse()?,
            state_reason: r.state_reason,
            plan_id: r.plan_id,
            definition: r.definition,
            trigger: r.trigger,
            policy_version: r.policy.zip(r.policy_number),
            start_at: r.start_at,
            plan_cursor: r.plan_cursor,
            planned_at: r.planned_at,
            paused_at: r.paused_at,
            spent_micros: r.spent_micros,
            version: r.version,
            created_at: r.created_at,
            updated_at: r.updated_at,
            started_at: r.started_at,
            ended_at: r.ended_at,
        }
    }};
}

/// The key of a campaign.
///
/// # Errors
/// What storage says.
pub async fn key(conn: &mut Conn, slug: &str) -> Result<Option<i64>> {
    Ok(sqlx::query_scalar!("select id from campaign where slug = $1", slug).fetch_optional(conn).await?)
}

/// One campaign, by its key.
///
/// # Errors
/// What storage says.
pub async fn load(conn: &mut Conn, id: i64) -> Result<Option<CampaignRow>> {
    Ok(page(conn, &Filter { id: Some(id), ..Filter::default() }, None, 1).await?.pop())
}

/// Locks a campaign, then reads it: the next statement sees what the lock waited for.
///
/// # Errors
/// What storage says.
pub async fn lock(conn: &mut Conn, id: i64) -> Result<Option<CampaignRow>> {
    sqlx::query!("select id from campaign where id = $1 for update", id).fetch_optional(&mut *conn).await?;
    load(conn, id).await
}

/// Which campaigns are listed.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// One campaign.
    pub id: Option<i64>,
    /// Those in these states; empty: all.
    pub states: Vec<State>,
    /// Runs of this trigger.
    pub trigger: Option<String>,
}

/// Campaigns, the newest first, before a key.
///
/// # Errors
/// What storage says.
pub async fn page(conn: &mut Conn, filter: &Filter, before: Option<i64>, limit: i64) -> Result<Vec<CampaignRow>> {
    let states: Vec<&str> = filter.states.iter().map(|s| s.as_str()).collect();
    let rows = sqlx::query!(
        r#"select c.id as "id!", c.slug as "slug!", c.display_name as "display_name!", c.state::text as "state!",
                  c.state_reason as "state_reason?", c.plan_id as "plan_id?", c.definition as "definition!",
                  t.slug as "trigger?", p.slug as "policy?", v.number as "policy_number?", c.start_at as "start_at?",
                  c.plan_cursor as "plan_cursor?", c.planned_at as "planned_at?", c.paused_at as "paused_at?",
                  c.spent_micros as "spent_micros!",
                  c.version as "version!", c.created_at as "created_at!", c.updated_at as "updated_at!",
                  c.started_at as "started_at?", c.ended_at as "ended_at?"
             from campaign c left join trigger t on t.id = c.trigger_id left join plan n on n.id = c.plan_id
             left join policy_version v on v.id = n.policy_version_id left join policy p on p.id = v.policy_id
            where ($1::bigint is null or c.id = $1) and (cardinality($2::text[]) = 0 or c.state = any($2::text[]::campaign_state[]))
              and ($3::text is null or t.slug = $3) and ($4::bigint is null or c.id < $4)
            order by c.id desc limit $5"#,
        filter.id,
        &states as &[&str],
        filter.trigger.as_deref(),
        before,
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(|r| Ok(campaign_row!(r))).collect()
}

/// What is written of a campaign.
#[derive(Debug, Clone)]
pub struct CampaignWrite<'a> {
    /// What people call it.
    pub display_name: &'a str,
    /// Its audience.
    pub audience_id: i64,
    /// Its policy, where it has a stored one.
    pub policy_id: Option<i64>,
    /// What it sends to whom.
    pub definition: &'a Value,
    /// How many deliveries a second it may begin.
    pub rate_per_second: Option<f64>,
    /// What it may cost.
    pub budget: Option<&'a Money>,
    /// When it begins.
    pub start_at: Option<DateTime<Utc>>,
}

/// Writes a new campaign in DRAFT; with a trigger, the run of its fire time.
///
/// # Errors
/// [`super::Error::Exists`] when the slug, or the run, stands already.
pub async fn insert(
    conn: &mut Conn,
    slug: &str,
    write: &CampaignWrite<'_>,
    run_of: Option<(i64, DateTime<Utc>)>,
    now: DateTime<Utc>,
) -> Result<i64> {
    let id = sqlx::query_scalar!(
        r#"insert into campaign (slug, display_name, audience_id, policy_id, definition, rate_per_second, start_at, trigger_id,
                                 fire_time, created_at, updated_at, budget_micros)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10, $11) returning id"#,
        slug,
        write.display_name,
        write.audience_id,
        write.policy_id,
        write.definition,
        write.rate_per_second,
        write.start_at,
        run_of.map(|r| r.0),
        run_of.map(|r| r.1),
        now,
        write.budget.map(|budget| budget.micros)
    )
    .fetch_one(conn)
    .await?;
    Ok(id)
}

/// Changes a campaign that the caller has locked.
///
/// # Errors
/// What storage says.
pub async fn update(conn: &mut Conn, id: i64, write: &CampaignWrite<'_>, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        r#"update campaign set display_name = $2, audience_id = $3, policy_id = $4, definition = $5, rate_per_second = $6,
                               start_at = $7, version = version + 1, updated_at = $8, budget_micros = $9 where id = $1"#,
        id,
        write.display_name,
        write.audience_id,
        write.policy_id,
        write.definition,
        write.rate_per_second,
        write.start_at,
        now,
        write.budget.map(|budget| budget.micros)
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Moves a campaign that the caller has locked, with its event.
///
/// # Errors
/// What storage says.
pub async fn set_state(
    conn: &mut Conn,
    campaign: &CampaignRow,
    to: State,
    reason: Option<&str>,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        r#"with u as (
             update campaign
                set state = $2::text::campaign_state, state_reason = $3, version = version + 1, updated_at = $4,
                    started_at = case when $2 = 'running' then coalesce(started_at, $4) else started_at end,
                    paused_at = case when $2 = 'paused' then $4 end,
                    ended_at = case when $5 then $4 else ended_at end
              where id = $1 returning slug)
           insert into event_out (kind, subject, from_state, to_state, reason, at)
           select 'campaign', 'campaigns/' || slug, $6, $2, $3, $4 from u"#,
        campaign.id,
        to.as_str(),
        reason,
        now,
        to.is_ended(),
        campaign.state.as_str()
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Pins a plan to a campaign that the caller has locked.
///
/// # Errors
/// What storage says.
pub async fn pin(conn: &mut Conn, id: i64, plan_id: i64) -> Result<()> {
    sqlx::query!("update campaign set plan_id = $2 where id = $1", id, plan_id).execute(conn).await?;
    Ok(())
}

/// Deletes a campaign that the caller has locked, with its progress. Its notifications stay with their contacts.
///
/// # Errors
/// What storage says.
pub async fn delete(conn: &mut Conn, id: i64) -> Result<()> {
    sqlx::query!("delete from progress where campaign_id = $1", id).execute(&mut *conn).await?;
    sqlx::query!("delete from campaign where id = $1", id).execute(conn).await?;
    Ok(())
}

/// The slugs of all call lists.
///
/// # Errors
/// What storage says.
pub async fn call_lists(conn: &mut Conn) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar!("select slug from call_list order by slug").fetch_all(conn).await?)
}
