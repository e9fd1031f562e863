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
create unique index message_by_delivery on message (delivery_id) where delivery_id is not null and outbound;

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
