//! Planning a campaign: notifications, deliveries, chunks and events, a page of a thousand in a transaction, against a plain
//! `insert ... select from unnest` of the same rows into the same tables with the same indexes.

use chrono::{DateTime, Utc};
use domain::{channel::Lane, notification::State};
use futures::FutureExt;
use server::{
    storage::{
        beginning,
        planning::{DeliveryRow, NotificationRow},
        queue::NewChunk,
    },
    workers::planner::Planner,
};
use uuid::Uuid;

use crate::{
    bench::Bench,
    cases::Case,
    cpu::{Meter, Spent},
    goal::Goal,
    report::{Entry, compared},
    stats::number,
    world::World,
};

/// See the module.
pub const CASE: Case = Case {
    name: "plan",
    about: "Notifications, deliveries, chunks and events written, against plain inserts of the same rows.",
    run: |bench| measure(bench).boxed(),
};

const PAGE: usize = 1000;
/// Deliveries in a chunk of the bulk lane without a rate.
const CHUNK: usize = 50;

/// What the pages of one side cost.
#[derive(Default)]
struct Side {
    rates: Vec<f64>,
    cpu: Vec<f64>,
}

impl Side {
    fn note(&mut self, spent: &Spent, rows: usize) {
        self.rates.push(spent.rate(rows));
        self.cpu.push(spent.postgres_us(rows));
    }
}

struct Ground {
    world: World,
    contacts: Vec<i64>,
    addresses: Vec<i64>,
    plan_id: i64,
    channel_id: i32,
    group: i64,
}

async fn measure(bench: &Bench) -> anyhow::Result<Vec<Entry>> {
    let ground = ground(bench).await?;
    let (mut raw, mut written, mut campaign) = (Side::default(), Side::default(), Side::default());
    let rows = ground.contacts.len();
    for round in 0..=bench.rounds() {
        let spent = [raw_pages(&ground).await?, our_pages(&ground).await?, whole_campaign(&ground, round).await?];
        if round > 0 {
            // The first round meets cold caches.
            raw.note(&spent[0], rows);
            written.note(&spent[1], rows);
            campaign.note(&spent[2], rows);
        }
        bench.say(&format!("plan: round {round} of {}", bench.rounds()));
    }
    let (raw_name, note) = ("insert .. select unnest", format!("{rows} rows in pages of {PAGE}, one connection"));
    Ok(vec![
        compared("plan/write", "rows/s", &written.rates, raw_name, &raw.rates)
            .goal(Goal::AtLeastTimes(0.8))
            .note(&note),
        compared("plan/write/cpu", "us of Postgres", &written.cpu, raw_name, &raw.cpu),
        compared("plan/campaign", "rows/s", &campaign.rates, raw_name, &raw.rates)
            .goal(Goal::AtLeastTimes(0.5))
            .note(format!("{note}; reading the audience, decisions and who is in the run included")),
        compared("plan/campaign/cpu", "us of Postgres", &campaign.cpu, raw_name, &raw.cpu),
    ])
}

async fn ground(bench: &Bench) -> anyhow::Result<Ground> {
    let world = World::on(bench.database().await?).await?;
    let channel_id = world.channel_at_once("sms").await?;
    let contacts = world.people(bench.scale.of(30_000, 5_000)).await?;
    world.everybody().await?;
    let plan_id = world.plan(&["sms"], |_, _| {}).await?.id;
    let addresses =
        sqlx::query_scalar("select address_id from contact_address order by contact_id").fetch_all(&world.pool).await?;
    let group = sqlx::query_scalar(
        "insert into send_group (channel_id, channel_type, lane, running) values ($1, 'SMS', 'bulk', false) returning id",
    )
    .bind(channel_id)
    .fetch_one(&world.pool)
    .await?;
    Ok(Ground { world, contacts, addresses, plan_id, channel_id, group })
}

async fn clear(world: &World) -> anyhow::Result<()> {
    world
        .sql("truncate notification, notification_attachment, delivery, dispatch, timer, event_out, event, campaign_contact
              cascade")
        .await?;
    world.sql("checkpoint").await
}

fn variables() -> serde_json::Value {
    serde_json::json!({"number": "GR-1"})
}

/// The pages as our functions write them, from rows that are there already: nothing is read and nothing decided.
async fn our_pages(ground: &Ground) -> anyhow::Result<Spent> {
    clear(&ground.world).await?;
    let db = &ground.world.context.db;
    let meter = Meter::start(&ground.world.pool).await?;
    for (contacts, addresses) in ground.contacts.chunks(PAGE).zip(ground.addresses.chunks(PAGE)) {
        let now = Utc::now();
        let valid_until = now + chrono::TimeDelta::days(1);
        let notifications: Vec<NotificationRow> =
            contacts.iter().map(|contact| notification(ground, *contact, valid_until)).collect();
        let deliveries: Vec<DeliveryRow> =
            notifications.iter().zip(addresses).map(|(n, address)| delivery(ground, n, *address)).collect();
        let mut tx = db.begin().await?;
        let ids: Vec<Uuid> = deliveries.iter().map(|delivery| delivery.id).collect();
        let chunks: Vec<NewChunk> = ids.chunks(CHUNK).map(|ids| chunk(ground, ids)).collect();
        beginning::begin(&mut tx, &notifications, &deliveries, &chunks, now).await?;
        tx.commit().await?;
    }
    meter.stop().await
}

fn notification(ground: &Ground, contact_id: i64, valid_until: DateTime<Utc>) -> NotificationRow {
    NotificationRow {
        id: Uuid::now_v7(),
        plan_id: ground.plan_id,
        contact_id,
        campaign_id: Some(1),
        trigger_id: None,
        lane: Lane::Bulk,
        state: State::Waiting,
        step: 0,
        reason: None,
        purpose: "service".into(),
        variables: variables(),
        valid_until: Some(valid_until),
        deliver_after: None,
    }
}

fn delivery(ground: &Ground, n: &NotificationRow, address_id: i64) -> DeliveryRow {
    DeliveryRow {
        id: Uuid::now_v7(),
        notification_id: n.id,
        step: 0,
        send_group_id: Some(ground.group),
        channel_id: Some(ground.channel_id),
        address_id: Some(address_id),
        skipped: None,
        valid_until: n.valid_until,
    }
}

fn chunk(ground: &Ground, ids: &[Uuid]) -> NewChunk {
    NewChunk {
        channel_type: "SMS".into(),
        lane: Lane::Bulk,
        send_group_id: ground.group,
        delivery_ids: ids.to_vec(),
        delay_secs: 0.0,
        parts: 0,
        price_micros: 0,
    }
}

/// The same rows by the plainest statements that write them.
async fn raw_pages(ground: &Ground) -> anyhow::Result<Spent> {
    clear(&ground.world).await?;
    let meter = Meter::start(&ground.world.pool).await?;
    let mut conn = ground.world.pool.acquire().await?;
    for (contacts, addresses) in ground.contacts.chunks(PAGE).zip(ground.addresses.chunks(PAGE)) {
        let now = Utc::now();
        let notifications: Vec<Uuid> = contacts.iter().map(|_| Uuid::now_v7()).collect();
        let deliveries: Vec<Uuid> = contacts.iter().map(|_| Uuid::now_v7()).collect();
        let all_variables: Vec<serde_json::Value> = contacts.iter().map(|_| variables()).collect();
        let mut tx = sqlx::Connection::begin(&mut *conn).await?;
        sqlx::query(
            "insert into notification (id, plan_id, contact_id, campaign_id, lane, state, step, purpose, variables, valid_until,
                                       created_at, changed_at)
             select x.id, $1, x.contact_id, 1, 'bulk', 'waiting', 0, 'service', x.variables, $2, $3, $3
               from unnest($4::uuid[], $5::bigint[], $6::jsonb[]) as x(id, contact_id, variables)",
        )
        .bind(ground.plan_id)
        .bind(now + chrono::TimeDelta::days(1))
        .bind(now)
        .bind(&notifications)
        .bind(contacts)
        .bind(&all_variables)
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "insert into delivery (id, notification_id, step, send_group_id, channel_id, address_id, work, valid_until,
                                   created_at)
             select x.id, x.notification_id, 0, $1, $2, x.address_id, 'queued', $3, $4
               from unnest($5::uuid[], $6::uuid[], $7::bigint[]) as x(id, notification_id, address_id)",
        )
        .bind(ground.group)
        .bind(ground.channel_id)
        .bind(now + chrono::TimeDelta::days(1))
        .bind(now)
        .bind(&deliveries)
        .bind(&notifications)
        .bind(addresses)
        .execute(&mut *tx)
        .await?;
        raw_rest(ground, &mut tx, &notifications, &deliveries, now).await?;
        tx.commit().await?;
    }
    meter.stop().await
}

async fn raw_rest(
    ground: &Ground,
    tx: &mut sqlx::PgConnection,
    notifications: &[Uuid],
    deliveries: &[Uuid],
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    sqlx::query(
        "insert into dispatch (channel_type, lane, send_group_id, delivery_ids)
         select 'SMS', 'bulk', $1, array_agg(x.id) from unnest($2::uuid[]) with ordinality as x(id, place)
          group by (x.place - 1) / $3",
    )
    .bind(ground.group)
    .bind(deliveries)
    .bind(i64::try_from(CHUNK)?)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "insert into event_out (kind, type, campaign_id, channel_id, step, to_state, n, ids, at)
         values ('notification', 'created', 1, null, 0, 'waiting', cardinality($1), $1, $3),
                ('delivery', 'created', 1, $4, 0, 'queued', cardinality($2), $2, $3)",
    )
    .bind(notifications)
    .bind(deliveries)
    .bind(now)
    .bind(ground.channel_id)
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// A campaign over the same people, from its start to its last page.
async fn whole_campaign(ground: &Ground, round: usize) -> anyhow::Result<Spent> {
    clear(&ground.world).await?;
    let world = &ground.world;
    world.sql("update campaign set state = 'completed'").await?;
    world.start_campaign(&format!("news-{round}"), "all", "sms").await?;
    let meter = Meter::start(&world.pool).await?;
    let mut planner = Planner::new(world.context.clone());
    while planner.pass().await? {}
    let spent = meter.stop().await?;
    let planned = world.count("select count(*) from delivery where work = 'queued'").await?;
    anyhow::ensure!(number(usize::try_from(planned)?) == number(ground.contacts.len()), "{planned} were planned");
    Ok(spent)
}
