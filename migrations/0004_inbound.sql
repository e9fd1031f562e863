-- What comes back: webhooks as they came, receipts, messages from people, and the conversation that they begin.

create table webhook_body (
  id          bigint generated always as identity,
  received_at timestamptz not null default clock_timestamp(),
  provider_id int not null,
  body        bytea not null
) partition by range (received_at);
create table webhook_body_default partition of webhook_body default;

-- Stored, not yet merged; nearly empty.
create table receipt_inbox (
  id                  bigint generated always as identity primary key,
  provider_id         int not null,
  provider_message_id text not null,
  delivery_id         uuid,                                    -- echoed by the provider, with n
  n                   smallint,
  evidence            delivery_evidence not null,
  failure_class       text,
  failure_code        text,
  provider_time       timestamptz,
  received_at         timestamptz not null default clock_timestamp(),
  body_id             bigint not null,
  not_before          timestamptz not null default '-infinity', -- machine time: parked until then, its attempt is not known yet
  tries               smallint not null default 0
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
create index receipt_inbox_by_ref on receipt_inbox (provider_id, provider_message_id);
create index receipt_inbox_by_delivery on receipt_inbox (delivery_id) where delivery_id is not null;

create table receipt (
  delivery_id   uuid not null,
  n             smallint not null,
  evidence      delivery_evidence not null,
  failure_code  text,
  provider_time timestamptz,
  received_at   timestamptz not null,
  late          boolean not null default false,                -- its step had been left
  body_id       bigint not null
);
create index receipt_by_delivery on receipt (delivery_id);
-- Receipts that no attempt ever claimed, kept for a person to look at.
create table receipt_orphan (
  like receipt_inbox including defaults,
  given_up_at timestamptz not null default clock_timestamp()
);

-- One message of a person is taken once, however often its provider repeats it.
create table inbound_ref (
  channel_id          int not null,
  provider_message_id text not null,
  received_at         timestamptz not null default clock_timestamp(),
  primary key (channel_id, provider_message_id)
);
create table inbound_inbox (
  id            bigint generated always as identity primary key,
  channel_id    int not null,
  provider_id   int not null,
  sender        text not null,                                 -- kind:value; taken in order for each sender
  fact          jsonb not null,
  body_id       bigint not null,
  received_at   timestamptz not null,                          -- business time
  stored_at     timestamptz not null default clock_timestamp(),
  tries         smallint not null default 0,
  parked_at     timestamptz,
  parked_reason text
);
create index inbound_inbox_by_sender on inbound_inbox (sender, id);

create table conversation (
  id                    uuid primary key,
  contact_id            bigint not null,
  phase                 text not null default 'open' check (phase in ('open', 'closing', 'closed')),
  active_channel_id     int not null,
  previous_conversation uuid,
  last_seq              bigint not null default 0,
  created_at            timestamptz not null,
  changed_at            timestamptz not null
);
create unique index conversation_open on conversation (contact_id) where phase = 'open';
create index conversation_by_contact on conversation (contact_id, id);
create index conversation_by_activity on conversation (changed_at, id);

create table message (
  id                  uuid primary key,
  conversation_id     uuid not null,
  seq                 bigint not null,
  outbound            boolean not null,
  channel_id          int not null,
  address_id          bigint not null,
  sender              text not null,                           -- as displayed
  receiver            text not null,                           -- as displayed
  content             jsonb not null,
  plain_text          text not null,
  schema_version      text not null default '1.0',
  provider_message_id text,
  in_reply_to         uuid,
  notification_id     uuid,
  delivery_id         uuid,
  provider_time       timestamptz,
  received_at         timestamptz not null,
  stored_at           timestamptz not null default clock_timestamp(),
  unique (conversation_id, seq)
);
create index message_by_notification on message (notification_id) where notification_id is not null;
create index message_by_channel on message (channel_id, id);
create unique index message_by_delivery on message (delivery_id) where delivery_id is not null and outbound;

-- The delivery that must be over before this message of a conversation may go: the latest earlier one to the same address on the
-- same channel that is queued or on the wire. Null: it is its turn. The 20 that were said before it are looked at.
create function must_follow(the_message uuid) returns uuid language sql stable parallel safe as $$
  select d.id
    from message m
   cross join lateral (select e.delivery_id, e.seq, e.address_id, e.channel_id from message e
                        where e.conversation_id = m.conversation_id and e.seq < m.seq and e.outbound
                        order by e.seq desc limit 20) earlier
    join delivery d on d.id = earlier.delivery_id and d.work in ('queued', 'sending')
   where m.id = the_message and earlier.address_id = m.address_id and earlier.channel_id = m.channel_id
   order by earlier.seq desc limit 1
$$;

-- Since when evidence that could stop this notification lies stored and unmerged: a receipt of one of its attempts, or a
-- message of its contact that was not yet taken up. Null: nothing. Fallback and the mark of a later step wait for it.
create function unmerged_evidence_since(the_notification uuid, the_contact bigint) returns timestamptz
language sql stable parallel safe as $$
  select least(
    (select min(i.received_at) from delivery d join receipt_inbox i on i.delivery_id = d.id
      where d.notification_id = the_notification),
    (select min(i.received_at) from delivery d join attempt a on a.delivery_id = d.id
        join receipt_inbox i on i.provider_id = a.provider_id and i.provider_message_id = a.provider_message_id
      where d.notification_id = the_notification),
    (select min(i.stored_at) from contact_address c join address s on s.id = c.address_id
        join inbound_inbox i on i.sender = s.kind::text || ':' || s.value
      where c.contact_id = the_contact and i.parked_at is null))
$$;

-- What happened in a conversation, one row each: its messages; what became of the deliveries of its notifications; the
-- notifications of its contact that began while it was the latest one, or that it answers; and what was consented to.
create view conversation_activity as
with belongs as (
  select v.id as conversation_id, n.id, n.created_at, n.changed_at, n.state
    from conversation v join notification n on n.contact_id = v.contact_id
   where (n.created_at >= v.created_at
          and n.created_at < coalesce((select min(x.created_at) from conversation x
                                        where x.contact_id = v.contact_id and x.id > v.id), 'infinity'))
      or exists (select from message m where m.notification_id = n.id and m.conversation_id = v.id)),
carried as (
  select b.conversation_id, d.id, d.channel_id from belongs b join delivery d on d.notification_id = b.id
  union
  select m.conversation_id, d.id, d.channel_id from message m join delivery d on d.id = m.delivery_id where m.outbound)
select m.conversation_id, m.received_at as at, 2 as rank, 'message' as kind, 'messages/' || m.id as subject,
       case when m.outbound then 'sent' else 'received' end as word, m.id as message_id, m.channel_id
  from message m
union all
select c.conversation_id, a.ended_at, 3, 'delivery', 'deliveries/' || c.id,
       case a.outcome when 'accepted' then 'sent' when 'refused' then 'failed' else 'unknown' end, null, c.channel_id
  from carried c join attempt a on a.delivery_id = c.id where a.outcome <> 'not_sent'
union all
select c.conversation_id, r.received_at, 4, 'delivery', 'deliveries/' || c.id, r.evidence::text, null, c.channel_id
  from carried c join receipt r on r.delivery_id = c.id
union all
select b.conversation_id, b.created_at, 1, 'notification', 'notifications/' || b.id, 'created', null, null from belongs b
union all
select b.conversation_id, b.changed_at, 5, 'notification', 'notifications/' || b.id, b.state::text, null, null
  from belongs b where b.state not in ('pending', 'waiting')
union all
select v.id, h.at, 6, 'consent', 'contacts/' || v.contact_id,
       lower(h.channel_type) || case when h.opted_in then ' opted in' else ' opted out' end, null, null
  from conversation v join contact_address l on l.contact_id = v.contact_id
  join consent_history h on h.address_id = l.address_id
 where h.at >= v.created_at
   and h.at < coalesce((select min(x.created_at) from conversation x where x.contact_id = v.contact_id and x.id > v.id),
                       'infinity');
