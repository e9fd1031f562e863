//! The statements of one batch of due timers, as the rulebook's caller runs them, with nothing decided in between: the baseline of a
//! storm.

use domain::{
    channel::{ChannelType, Lane},
    delivery::Work,
    notification::{Reason, State},
};
use server::{
    services::Context,
    storage::{
        Conn,
        deciding::{self, Locked},
        planning::{self, DeliveryRow, Move},
        queue::{self, NewChunk},
        recipients,
    },
};
use uuid::Uuid;

/// Timers in one transaction, as ours.
const BATCH: i64 = 500;
/// Deliveries in a chunk.
const CHUNK: usize = 50;

/// One batch. Says whether there may be more.
///
/// # Errors
/// What storage says.
pub async fn pass(context: &Context) -> anyhow::Result<bool> {
    let now = context.clock.now();
    let snapshot = context.directory.snapshot(&context.side).await?;
    let channel = snapshot.by_slug("second").map(|channel| channel.row.id).unwrap_or_default();
    let mut tx = context.db.begin().await?;
    let due = deciding::due_timers(&mut tx, "step", now, BATCH).await?;
    let mut ids: Vec<Uuid> = due.iter().map(|timer| timer.owner).collect();
    ids.sort_unstable();
    let locked = deciding::lock(&mut tx, &ids, true).await?;
    deciding::deliveries(&mut tx, &ids).await?;
    deciding::unmerged_for(&mut tx, &ids).await?;
    deciding::clocks(&mut tx, &ids, now).await?;
    let contacts: Vec<i64> = locked.iter().map(|n| n.contact_id).collect();
    let people = recipients::load(&mut tx, &contacts).await?;
    let group = planning::send_group(&mut tx, None, channel, ChannelType::Sms, Lane::Bulk, 1).await?;
    planning::cancel_queued(&mut tx, &ids, Work::Cancelled, Reason::TakenBack.as_str(), now).await?;
    let moves: Vec<Move> = locked.iter().map(next_step).collect();
    if !moves.is_empty() {
        planning::move_notifications(&mut tx, &moves, now).await?;
    }
    deciding::remove_timers(&mut tx, "step", &due).await?;
    planning::disarm_timers(&mut tx, &ids).await?;
    let rows: Vec<DeliveryRow> = locked
        .iter()
        .filter_map(|n| Some(delivery(n, channel, group, people.get(&n.contact_id)?.addresses.first()?.id)))
        .collect();
    write(&mut tx, &rows, group, now).await?;
    tx.commit().await?;
    Ok(i64::try_from(due.len())? >= BATCH)
}

fn next_step(n: &Locked) -> Move {
    Move {
        id: n.id,
        campaign_id: n.campaign_id,
        from: n.state,
        to: State::Waiting,
        step: 1,
        reason: None,
        answered_by: None,
        late: false,
    }
}

fn delivery(n: &Locked, channel_id: i32, group: i64, address_id: i64) -> DeliveryRow {
    DeliveryRow {
        id: Uuid::now_v7(),
        notification_id: n.id,
        step: 1,
        send_group_id: Some(group),
        channel_id: Some(channel_id),
        address_id: Some(address_id),
        skipped: None,
        valid_until: n.valid_until,
    }
}

async fn write(
    conn: &mut Conn,
    rows: &[DeliveryRow],
    group: i64,
    now: chrono::DateTime<chrono::Utc>,
) -> anyhow::Result<()> {
    let inserted = planning::insert_deliveries(conn, rows, now).await?;
    let chunk = |ids: &[Uuid]| NewChunk {
        channel_type: "SMS".into(),
        lane: Lane::Bulk,
        send_group_id: group,
        delivery_ids: ids.to_vec(),
        delay_secs: 0.0,
        parts: 0,
        price_micros: 0,
    };
    let chunks: Vec<NewChunk> = inserted.chunks(CHUNK).map(chunk).collect();
    if !chunks.is_empty() {
        queue::enqueue(conn, &chunks).await?;
    }
    Ok(())
}
