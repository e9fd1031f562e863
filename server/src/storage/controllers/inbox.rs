//! The intents that wait for a controller: read from the stream of events once, taken in order within a conversation under a
//! lease, kept with what was decided until that was carried out; and the record of what was done.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use crate::storage::{Conn, Result};

/// Reads on in the stream and puts down what enabled controllers wait for. Says how many events were read.
///
/// # Errors
/// What storage says.
pub async fn fill(conn: &mut Conn, limit: i64) -> Result<i64> {
    let read = sqlx::query_scalar!(
        r#"with k as (select id, from_number, answer_secs, position from controller where enabled and deleted_at is null),
                c as (select number from controller_cursor for update),
                s as (select greatest(c.number, (select min(from_number) from k)) as number from c where exists (select from k)),
                e as (select e.* from event e, s where e.number > s.number order by e.number limit $1),
                moved as (update controller_cursor set number = (select max(number) from e) where exists (select from e)),
                put as (
                  insert into controller_inbox (number, controller_id, position, conversation_id, intent, subject, channel_id, reason, at, answer_until)
                  select e.number, k.id, k.position, (e.data ->> 'conversation')::uuid, e.data ->> 'intent', e.ids[1], e.channel_id,
                         coalesce(e.reason, ''), e.at, e.at + make_interval(secs => k.answer_secs)
                    from e join k on e.number > k.from_number
                   where e.data ? 'intent' and e.data ? 'conversation' and e.ids[1] is not null
                  on conflict do nothing)
           select count(*) as "read!" from e"#,
        limit
    )
    .fetch_one(conn)
    .await?;
    Ok(read)
}

/// An intent that waits, or is being answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// The number of its event.
    pub number: i64,
    /// Its controller.
    pub controller_id: i64,
    /// The controller's slug.
    pub controller: String,
    /// The channels of the controller, by slug; empty: every channel.
    pub channels: Vec<String>,
    /// The newest version of the controller.
    pub version: i32,
    /// What it says.
    pub definition: Value,
    /// Where it occurred.
    pub conversation_id: Uuid,
    /// What occurred.
    pub intent: String,
    /// To what: a message, session, participant or conversation.
    pub subject: Uuid,
    /// On which channel.
    pub channel_id: Option<i32>,
    /// Why, where there is a reason.
    pub reason: String,
    /// When, business time.
    pub at: DateTime<Utc>,
    /// Until when a process of the business may decide.
    pub answer_until: Option<DateTime<Utc>>,
    /// What was decided.
    pub decided: Option<Value>,
    /// How much of it was done.
    pub done: i16,
    /// What could not be done.
    pub faults: Vec<String>,
    /// How often it was taken, this time included.
    pub tries: i16,
    /// The lease.
    pub token: Uuid,
}

/// Takes the oldest intent of a conversation whose earlier ones are over, under a lease by machine time. One that a process of the
/// business may still decide is left.
///
/// # Errors
/// What storage says.
pub async fn take(conn: &mut Conn, token: Uuid, lease_secs: f64, now: DateTime<Utc>) -> Result<Option<Waiting>> {
    let row = sqlx::query_as!(
        Waiting,
        r#"with x as (
             select i.number, i.controller_id from controller_inbox i
              where i.not_before <= clock_timestamp()
                and (i.decided is not null or i.answer_until is null or i.answer_until <= $3)
                and not exists (select from controller_inbox e
                                 where e.conversation_id = i.conversation_id
                                   and (e.number, e.position, e.controller_id) < (i.number, i.position, i.controller_id))
              order by i.number, i.position, i.controller_id limit 1 for update of i skip locked),
           u as (
             update controller_inbox i set token = $1, tries = i.tries + 1, not_before = clock_timestamp() + make_interval(secs => $2)
               from x where i.number = x.number and i.controller_id = x.controller_id returning i.*)
           select u.number as "number!", u.controller_id as "controller_id!", c.slug as "controller!", c.channels as "channels!",
                  c.latest as "version!", v.definition as "definition!", u.conversation_id as "conversation_id!",
                  u.intent as "intent!", u.subject as "subject!", u.channel_id as "channel_id?", u.reason as "reason!",
                  u.at as "at!", u.answer_until as "answer_until?", u.decided as "decided?", u.done as "done!",
                  u.faults as "faults!", u.tries as "tries!", u.token as "token!"
             from u join controller c on c.id = u.controller_id
             join controller_version v on v.controller_id = c.id and v.number = c.latest"#,
        token,
        lease_secs,
        now
    )
    .fetch_optional(conn)
    .await?;
    Ok(row)
}

/// Keeps what was decided, while the lease is ours. Says whether it is.
///
/// # Errors
/// What storage says.
pub async fn decide(conn: &mut Conn, of: &Waiting, decided: &Value, faults: &[String]) -> Result<bool> {
    let done = sqlx::query!(
        "update controller_inbox set decided = $4, faults = $5 where number = $1 and controller_id = $2 and token = $3",
        of.number,
        of.controller_id,
        of.token,
        decided,
        faults
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// One more action is done or given up, with what went wrong. Says whether the lease is still ours: if not, nothing may be
/// committed.
///
/// # Errors
/// What storage says.
pub async fn step(conn: &mut Conn, of: &Waiting, done: i16, fault: Option<&str>, lease_secs: f64) -> Result<bool> {
    let moved = sqlx::query!(
        r#"update controller_inbox set done = $4::smallint, faults = case when $5::text is null then faults else faults || $5::text end,
                  not_before = clock_timestamp() + make_interval(secs => $6)
            where number = $1 and controller_id = $2 and token = $3 and done = $4::smallint - 1"#,
        of.number,
        of.controller_id,
        of.token,
        done,
        fault,
        lease_secs
    )
    .execute(conn)
    .await?;
    Ok(moved.rows_affected() > 0)
}

/// What became of an intent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended<'a> {
    /// The version that decided; 0: a process of the business.
    pub version: i32,
    /// `done`, `partly` or `failed`.
    pub outcome: &'a str,
    /// The rules that acted.
    pub rules: &'a [String],
    /// How many actions were carried out.
    pub actions: i32,
    /// When, business time.
    pub at: DateTime<Utc>,
}

/// Records what became of an intent and lets the next of its conversation go on, while the lease is ours. What was nobody's concern
/// (`record` is false) leaves no record.
///
/// # Errors
/// What storage says.
pub async fn end(conn: &mut Conn, of: &Waiting, ended: &Ended<'_>, record: bool) -> Result<bool> {
    let done = sqlx::query!(
        r#"with i as (delete from controller_inbox where number = $1 and controller_id = $2 and token = $3 returning *)
           insert into controller_run (number, controller_id, version, conversation_id, intent, outcome, rules, actions, faults, at)
           select i.number, i.controller_id, $4, i.conversation_id, i.intent, $5, $6, $7, i.faults, $8 from i where $9"#,
        of.number,
        of.controller_id,
        of.token,
        ended.version,
        ended.outcome,
        ended.rules,
        ended.actions,
        ended.at,
        record
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Lets an intent be taken again after a pause by machine time.
///
/// # Errors
/// What storage says.
pub async fn pause(conn: &mut Conn, of: &Waiting, secs: f64) -> Result<()> {
    sqlx::query!(
        r#"update controller_inbox set token = null, not_before = clock_timestamp() + make_interval(secs => $4)
            where number = $1 and controller_id = $2 and token = $3"#,
        of.number,
        of.controller_id,
        of.token,
        secs
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// How many actions a controller took in a conversation since a time.
///
/// # Errors
/// What storage says.
pub async fn actions_since(conn: &mut Conn, controller: i64, conversation: Uuid, since: DateTime<Utc>) -> Result<i64> {
    Ok(sqlx::query_scalar!(
        r#"select coalesce(sum(actions), 0)::bigint as "n!" from controller_run
            where conversation_id = $2 and controller_id = $1 and at > $3"#,
        controller,
        conversation,
        since
    )
    .fetch_one(conn)
    .await?)
}

/// When the next intent that waits for a process of the business is decided by rules instead.
///
/// # Errors
/// What storage says.
pub async fn next_deadline(conn: &mut Conn) -> Result<Option<DateTime<Utc>>> {
    Ok(sqlx::query_scalar!(
        "select min(answer_until) from controller_inbox where answer_until is not null and decided is null"
    )
    .fetch_one(conn)
    .await?)
}

/// An intent that a process of the business may decide.
#[derive(Debug, Clone, PartialEq)]
pub struct Open {
    /// The number of its event.
    pub number: i64,
    /// Where it occurred.
    pub conversation_id: Uuid,
    /// What occurred.
    pub intent: String,
    /// To what.
    pub subject: Uuid,
    /// On which channel.
    pub channel_id: Option<i32>,
    /// Why, where there is a reason.
    pub reason: String,
    /// When, business time.
    pub at: DateTime<Utc>,
    /// Until when it waits.
    pub answer_until: DateTime<Utc>,
}

/// The intents of a controller that wait for a decision, behind one number.
///
/// # Errors
/// What storage says.
pub async fn open(conn: &mut Conn, controller: i64, after: i64, now: DateTime<Utc>, limit: i64) -> Result<Vec<Open>> {
    let rows = sqlx::query_as!(
        Open,
        r#"select number, conversation_id, intent, subject, channel_id, reason, at, answer_until as "answer_until!"
             from controller_inbox
            where controller_id = $1 and number > $2 and answer_until is not null and decided is null and answer_until > $3
            order by number limit $4"#,
        controller,
        after,
        now,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// Takes the decision of a process of the business. Says whether it still waited for one.
///
/// # Errors
/// What storage says.
pub async fn decide_outside(
    conn: &mut Conn,
    controller: i64,
    number: i64,
    decided: &Value,
    now: DateTime<Utc>,
) -> Result<bool> {
    let done = sqlx::query!(
        r#"update controller_inbox set decided = $3
            where controller_id = $1 and number = $2 and decided is null and answer_until > $4"#,
        controller,
        number,
        decided,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// What a controller did, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its key.
    pub id: i64,
    /// The controller's slug.
    pub controller: String,
    /// The version that decided; 0: a process of the business.
    pub version: i32,
    /// Where.
    pub conversation_id: Uuid,
    /// What occurred.
    pub intent: String,
    /// `done`, `partly` or `failed`.
    pub outcome: String,
    /// The rules that acted.
    pub rules: Vec<String>,
    /// How many actions were carried out.
    pub actions: i32,
    /// What could not be done.
    pub faults: Vec<String>,
    /// When.
    pub at: DateTime<Utc>,
}

/// Which runs are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The controller's slug.
    pub controller: Option<String>,
    /// The conversation.
    pub conversation: Option<Uuid>,
    /// How they ended.
    pub outcome: Option<String>,
    /// The key that the page before ended with.
    pub below: Option<i64>,
}

/// A page of runs, the newest first.
///
/// # Errors
/// What storage says.
pub async fn runs(conn: &mut Conn, wanted: &Wanted, limit: i64) -> Result<Vec<Run>> {
    let rows = sqlx::query_as!(
        Run,
        r#"select r.id as "id!", c.slug as "controller!", r.version as "version!", r.conversation_id as "conversation_id!",
                  r.intent as "intent!", r.outcome as "outcome!", r.rules as "rules!", r.actions as "actions!",
                  r.faults as "faults!", r.at as "at!"
             from controller_run r join controller c on c.id = r.controller_id
            where ($1::text is null or c.slug = $1) and ($2::uuid is null or r.conversation_id = $2)
              and ($3::text is null or r.outcome = $3) and ($4::bigint is null or r.id < $4)
            order by r.id desc limit $5"#,
        wanted.controller,
        wanted.conversation,
        wanted.outcome,
        wanted.below,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// Forgets runs that are older than this.
///
/// # Errors
/// What storage says.
pub async fn forget(conn: &mut Conn, before: DateTime<Utc>, limit: i64) -> Result<u64> {
    let done = sqlx::query!(
        "delete from controller_run where id = any (array(select id from controller_run where at < $1 limit $2))",
        before,
        limit
    );
    Ok(done.execute(conn).await?.rows_affected())
}
