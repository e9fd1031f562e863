//! The tables as a large deployment has them, so that plans can be judged on them.

use super::run;
use crate::support::World;

/// 200,000 deliveries, chunks and timers, most of both in a paused group that stands in front.
pub async fn fill(world: &World) -> anyhow::Result<()> {
    let channel = world.sms_channel("sms-main", "http://127.0.0.1:9").await?;
    let plan = world.plan(&["sms-main"], |_, _| {}).await?.id;
    let tables =
        "send_group, contact, address, contact_address, notification, delivery, dispatch, timer, attempt, provider_ref,
                  receipt_inbox, inbound_inbox, message, event_out, event";
    let mut conn = world.db.pool.acquire().await?;
    for table in tables.split(',') {
        run(&mut conn, format!("alter table {table} set (autovacuum_enabled = false)")).await?;
    }
    let id = |kind: u8, n: &str| format!("('00000000-0000-7{kind}00-8000-' || lpad(to_hex({n}), 12, '0'))::uuid");
    let (notification, delivery) = (id(0, "i"), id(1, "i"));
    let chunk = id(1, "i * 50 + k");
    let rows = format!(
            "insert into send_group (campaign_id, channel_id, channel_type, lane, running)
               select i, {channel}, 'SMS', 'bulk', i > 1 from generate_series(1, 200) i;
             insert into contact (display_name, created_at, updated_at) select '', now(), now() from generate_series(1, 20000);
             insert into address (kind, value, created_at)
               select 'phone', '+9198' || lpad(i::text, 8, '0'), now() from generate_series(1, 20000) i;
             insert into contact_address (contact_id, address_id) select id, id from address;
             insert into notification (id, plan_id, contact_id, campaign_id, lane, state, variables, created_at, changed_at)
               select {notification}, {plan}, i % 20000 + 1, i % 200 + 1, 'bulk',
                      (array['waiting', 'reached', 'exhausted'])[i % 3 + 1]::notification_state, '{{}}', now(), now()
                 from generate_series(1, 200000) i;
             insert into delivery (id, notification_id, step, send_group_id, channel_id, address_id, work, evidence, attempts, created_at)
               select {delivery}, {notification}, 0, case when i % 2 = 0 then 1 else i % 200 + 1 end, {channel}, i % 20000 + 1,
                      case when i % 4 = 0 then 'done' else 'queued' end::delivery_work,
                      case when i % 4 = 0 then 'sent' else 'none' end::delivery_evidence, 1, now()
                 from generate_series(1, 200000) i;
             insert into dispatch (channel_type, lane, send_group_id, delivery_ids, published_at, lease_until)
               select 'SMS', 'bulk', case when i % 10 < 9 then 1 else i % 200 + 1 end,
                      array(select {chunk} from generate_series(1, 50) k),
                      case when i % 20 = 19 then now() end, case when i % 20 = 19 then now() end
                 from generate_series(0, 2999) i;
             insert into timer (owner, kind, send_group_id, due_at, generation)
               select {notification}, 'step', case when i % 10 < 9 then 1 else i % 200 + 1 end, now() - interval '1 minute', 0
                 from generate_series(1, 50000) i;
             insert into attempt (delivery_id, n, provider_id, started_at, ended_at, outcome, provider_message_id)
               select {delivery}, 1, 1, now(), now(), 'accepted', 'SM' || i from generate_series(1, 100000) i;
             insert into provider_ref (provider_id, provider_message_id, delivery_id, n)
               select 1, 'SM' || i, {delivery}, 1 from generate_series(1, 100000) i;
             insert into receipt_inbox (provider_id, provider_message_id, evidence, body_id)
               select 1, 'SM' || i, 'delivered', 0 from generate_series(1, 20000) i;
             insert into inbound_inbox (channel_id, provider_id, sender, fact, body_id, received_at)
               select {channel}, 1, 'phone:+9198' || lpad(i::text, 8, '0'), '{{}}', 0, now() from generate_series(1, 5000) i;
             insert into conversation (id, contact_id, active_channel_id, created_at, changed_at)
               select {notification}, i, {channel}, now(), now() from generate_series(1, 5000) i;
             insert into channel_session (id, conversation_id, channel_id, address_id, direction, last_at, started_at)
               select {delivery}, {notification}, {channel}, i, 'inbound', now(), now() from generate_series(1, 5000) i;
             insert into message (id, conversation_id, seq, outbound, channel_id, address_id, sender, receiver, content, plain_text,
                                  received_at)
               select {delivery}, {notification}, 1, true, {channel}, 1, '', '', '{{}}', '', now() from generate_series(1, 5000) i;
             insert into trigger (slug, kind, definition, created_at, updated_at) values ('t', 'table', '{{}}', now(), now());
             insert into firing (trigger_id, event_key, lane, state, captured_at, created_at)
               select t.id, i::text, 'bulk', case when i % 10 = 0 then 'pending' else 'fired' end::firing_state, now(), now()
                 from trigger t, generate_series(1, 20000) i;
             insert into event_out (kind, campaign_id, to_state, n, at)
               select 'delivery', 1, 'sent', 1, now() from generate_series(1, 5000);
             insert into event (number, kind, type, n, ids, at)
               select i, 'delivery', 'state_changed', 1, '{{}}', now() from generate_series(1, 20000) i"
        );
    // A transaction each: a long one would keep old rows alive in the databases of other tests.
    for statement in rows.split(';') {
        run(&mut conn, statement.to_owned()).await?;
    }
    Ok(())
}
