//! The recipients of a campaign: its notifications in short, a page at a time by id. First it is found who is on the page: every state
//! by its own range of the index (campaign, state, id), every class of failure by its range of (group, class, notification), so that a
//! page costs the same among ten recipients and ten million. Then what is shown of them is read.

use chrono::{DateTime, Utc};
use domain::notification::State;
use uuid::Uuid;

use super::{super::Conn, Result};

/// Which recipients are meant; all that is set must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Those in one of these states; empty: all.
    pub states: Vec<State>,
    /// Those that stand where they stand for one of these reasons; empty: all.
    pub reasons: Vec<String>,
    /// Those whose last failure is of one of these classes; empty: all.
    pub failure_classes: Vec<String>,
}

/// One recipient.
#[derive(Debug, Clone)]
pub struct RecipientRow {
    /// The notification.
    pub id: Uuid,
    /// The person.
    pub contact_id: i64,
    /// What the person is called.
    pub display_name: String,
    /// Where the notification stands.
    pub state: State,
    /// Why.
    pub reason: Option<String>,
    /// Its step.
    pub step: i16,
    /// When it was last changed.
    pub changed_at: DateTime<Utc>,
    /// The last delivery.
    pub last: Option<LastRow>,
}

/// The last delivery of a recipient.
#[derive(Debug, Clone)]
pub struct LastRow {
    /// Its channel's type; none when the channel is gone or none was chosen.
    pub channel_type: Option<String>,
    /// Its work.
    pub work: String,
    /// What is known of it.
    pub evidence: String,
    /// What its failure means.
    pub failure_class: Option<String>,
    /// The provider's code.
    pub failure_code: Option<String>,
}

/// A page of recipients, in the order of their creation.
///
/// # Errors
/// What storage says.
pub async fn list(
    conn: &mut Conn,
    campaign_id: i64,
    filter: &Filter,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<RecipientRow>> {
    let found = match filter.failure_classes.is_empty() {
        true => by_state(conn, campaign_id, filter, after, limit).await?,
        false => by_failure(conn, campaign_id, filter, after, limit).await?,
    };
    shown(conn, &found).await
}

/// Recipients by state or reason.
async fn by_state(
    conn: &mut Conn,
    campaign_id: i64,
    filter: &Filter,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Uuid>> {
    let found = sqlx::query_scalar!(
        r#"select n.id as "id!"
             from (select m.id from unnest($2::text[]) as s(state)
                    cross join lateral (
                          select n.id from notification n
                           where n.campaign_id = $1 and n.state = s.state::notification_state
                             and n.id > coalesce($4::uuid, '00000000-0000-0000-0000-000000000000')
                           order by n.id limit $5) m
                    where cardinality($3::text[]) = 0
                   union all
                   -- Few have a reason: walked by state, a page of them would read nearly all of a large campaign.
                   select m.id from (select distinct r.reason from unnest($3::text[]) as r(reason)) r
                    cross join lateral (
                          select n.id from notification n
                           where n.campaign_id = $1 and n.reason = r.reason and n.state = any($2::text[]::notification_state[])
                             and n.id > coalesce($4::uuid, '00000000-0000-0000-0000-000000000000')
                           order by n.id limit $5) m) n
            order by n.id limit $5"#,
        campaign_id,
        &states(filter) as &[&str],
        &filter.reasons,
        after,
        limit
    );
    Ok(found.fetch_all(conn).await?)
}

/// Recipients by the class of their last failure, from the few deliveries that failed: each group of the campaign and each class is
/// a range of its own. A recipient has one last failure, and so comes once.
async fn by_failure(
    conn: &mut Conn,
    campaign_id: i64,
    filter: &Filter,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Uuid>> {
    let found = sqlx::query_scalar!(
        r#"select m.id as "id!"
             from send_group g
            cross join (select distinct c.class from unnest($4::text[]) as c(class)) c
            cross join lateral (
                  select e.notification_id as id from delivery e
                   cross join lateral (select y.state, y.reason from notification y where y.id = e.notification_id offset 0) n
                   where e.send_group_id = g.id and e.failure_class = c.class
                     and e.notification_id > coalesce($5::uuid, '00000000-0000-0000-0000-000000000000')
                     and n.state = any($2::text[]::notification_state[])
                     and (cardinality($3::text[]) = 0 or n.reason = any($3))
                     and (select l.step from (select y.step, y.failure_class from delivery y
                                               where y.notification_id = e.notification_id offset 0) l
                           where l.failure_class is not null order by l.step desc limit 1) = e.step
                   order by e.notification_id limit $6) m
            where g.campaign_id = $1
            order by m.id limit $6"#,
        campaign_id,
        &states(filter) as &[&str],
        &filter.reasons,
        &filter.failure_classes,
        after,
        limit
    );
    Ok(found.fetch_all(conn).await?)
}

/// What is shown of recipients, in the order of their creation.
async fn shown(conn: &mut Conn, ids: &[Uuid]) -> Result<Vec<RecipientRow>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query!(
        r#"select n.id as "id!", n.contact_id as "contact_id!", coalesce(c.display_name, '') as "display_name!",
                  n.state::text as "state!", n.reason as "reason?", n.step as "step!", n.changed_at as "changed_at!",
                  d.work::text as "work?", d.evidence::text as "evidence?", d.failure_class as "failure_class?",
                  d.failure_code as "failure_code?", h.channel_type as "channel_type?"
             from notification n
             left join contact c on c.id = n.contact_id
             left join lateral (select e.* from delivery e where e.notification_id = n.id order by e.step desc limit 1) d on true
             left join channel h on h.id = d.channel_id
            where n.id = any($1) order by n.id"#,
        ids
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|r| {
            let last = r.work.zip(r.evidence).map(|(work, evidence)| LastRow {
                channel_type: r.channel_type,
                work,
                evidence,
                failure_class: r.failure_class,
                failure_code: r.failure_code,
            });
            Ok(RecipientRow {
                id: r.id,
                contact_id: r.contact_id,
                display_name: r.display_name,
                state: r.state.parse()?,
                reason: r.reason,
                step: r.step,
                changed_at: r.changed_at,
                last,
            })
        })
        .collect()
}

/// How many recipients are meant.
///
/// # Errors
/// What storage says.
pub async fn count(conn: &mut Conn, campaign_id: i64, filter: &Filter) -> Result<i64> {
    if !filter.failure_classes.is_empty() {
        return count_by_failure(conn, campaign_id, filter).await;
    }
    let n = sqlx::query_scalar!(
        r#"select count(*) as "n!" from notification n
            where n.campaign_id = $1 and n.state = any($2::text[]::notification_state[])
              and (cardinality($3::text[]) = 0 or n.reason = any($3))"#,
        campaign_id,
        &states(filter) as &[&str],
        &filter.reasons
    )
    .fetch_one(conn)
    .await?;
    Ok(n)
}

async fn count_by_failure(conn: &mut Conn, campaign_id: i64, filter: &Filter) -> Result<i64> {
    let n = sqlx::query_scalar!(
        r#"select count(*) as "n!"
             from send_group g
            cross join (select distinct c.class from unnest($4::text[]) as c(class)) c
            cross join lateral (
                  select e.notification_id from delivery e
                   cross join lateral (select y.state, y.reason from notification y where y.id = e.notification_id offset 0) n
                   where e.send_group_id = g.id and e.failure_class = c.class
                     and n.state = any($2::text[]::notification_state[])
                     and (cardinality($3::text[]) = 0 or n.reason = any($3))
                     and (select l.step from (select y.step, y.failure_class from delivery y
                                               where y.notification_id = e.notification_id offset 0) l
                           where l.failure_class is not null order by l.step desc limit 1) = e.step
                  offset 0) m
            where g.campaign_id = $1"#,
        campaign_id,
        &states(filter) as &[&str],
        &filter.reasons,
        &filter.failure_classes
    )
    .fetch_one(conn)
    .await?;
    Ok(n)
}

fn states(filter: &Filter) -> Vec<&'static str> {
    let asked = if filter.states.is_empty() { State::ALL } else { &filter.states };
    asked.iter().map(|state| state.as_str()).collect()
}
