-- The hot path: what is to be sent, what is on its way, what is later. docs/ARCHITECTURE.md explains the protocol.
-- No index stands on a delivery's state, lease or times: its updates stay heap-only, and the chunk row is the queue.

create type lane as enum ('interactive', 'bulk');
create type notification_state as enum
  ('pending', 'waiting', 'skipped', 'cancelled', 'expired', 'exhausted', 'reached', 'replied', 'acknowledged');
create type delivery_work as enum ('queued', 'sending', 'done', 'skipped', 'cancelled', 'expired');
create type delivery_evidence as enum ('none', 'unknown', 'sent', 'failed', 'delivered', 'read');
create type attempt_outcome as enum ('accepted', 'refused', 'not_sent', 'unknown');

-- What can be paused, weighed and paced: one row for each (campaign or direct traffic, channel, lane).
create table send_group (
  id           bigint generated always as identity primary key,
  campaign_id  bigint,                                         -- null: direct traffic
  channel_id   int not null references channel,
  channel_type text not null,
  lane         lane not null,
  running      boolean not null default true,
  weight       int not null default 1 check (weight between 1 and 1000),
  clock_shift  interval not null default '0',                  -- how long this group stood still: its timers run in this clock
  paused_at    timestamptz,
  not_before   timestamptz not null default '-infinity',       -- business time: nothing is published before (sending window)
  quiet_until  timestamptz not null default '-infinity',       -- business time: no wait ends before (catch-up after an interruption)
  unique nulls not distinct (campaign_id, channel_id, lane)
) with (fillfactor = 50);

create table notification (
  id            uuid primary key,                              -- UUIDv7: ordered by time
  plan_id       bigint not null references plan,
  contact_id    bigint not null,
  campaign_id   bigint,
  trigger_id    bigint,
  lane          lane not null,
  state         notification_state not null,
  step          smallint not null default 0,
  generation    int not null default 0,                        -- of its timers: an older one is a no-op
  reason        text,
  purpose       text not null default 'service',
  variables     jsonb not null,
  labels        jsonb,                                         -- the caller's own marks, name -> text; null: none
  valid_until   timestamptz,
  deliver_after timestamptz,
  created_at    timestamptz not null,
  changed_at    timestamptz not null,
  answered_by   uuid,                                          -- the message that answered it
  late          boolean not null default false                 -- evidence or an answer came after its step was left
) with (fillfactor = 80);
create index notification_by_state on notification (campaign_id, state, id);
create index notification_by_reason on notification (campaign_id, reason, id) where reason is not null;
create index notification_by_contact on notification (contact_id, id);
create index notification_by_trigger on notification (trigger_id, id) where trigger_id is not null;

-- Files for the steps that go by email.
create table notification_attachment (
  notification_id uuid not null references notification on delete cascade,
  position        smallint not null,
  file_name       text not null,
  mime_type       text not null,
  data            bytea not null,
  primary key (notification_id, position)
);

create table delivery (
  id                  uuid primary key,
  notification_id     uuid,
  message_id          uuid,                                    -- a conversation's message; null: rendered from the plan
  step                smallint not null,
  send_group_id       bigint,                                  -- null: skipped before any group was chosen
  channel_id          int,
  address_id          bigint,
  work                delivery_work not null,
  evidence            delivery_evidence not null default 'none',
  reason              text,                                    -- why it was skipped, cancelled or failed
  failure_class       text,
  failure_code        text,
  attempts            smallint not null default 0,             -- the open attempt stands here until its outcome is known
  failures            smallint not null default 0,             -- temporary refusals that count against the step's attempts
  throttles           smallint not null default 0,
  refuted             smallint not null default 0,             -- the last attempt that a receipt said failed for the moment: it forbids no repeat
  chunk_id            bigint,                                  -- of a conversation's message and of a repeat after a receipt: the chunk that carries it
  provider_id         int,                                     -- of the open attempt
  attempt_started_at  timestamptz,
  token               uuid,
  lease_until         timestamptz,
  first_sent_at       timestamptz,                             -- in its group's clock: the wait of its step began here
  valid_until         timestamptz,                             -- the earlier of the notification's and the step's
  created_at          timestamptz not null
) with (fillfactor = 70);
create unique index delivery_by_notification on delivery (notification_id, step) where notification_id is not null;
create index delivery_by_address on delivery (address_id, id);
create index delivery_failed on delivery (send_group_id, failure_code, id) where failure_code is not null;

create table attempt (
  delivery_id         uuid not null,
  n                   smallint not null,
  provider_id         int not null,
  started_at          timestamptz not null,                    -- machine time
  ended_at            timestamptz not null,
  outcome             attempt_outcome not null,
  failure_class       text,
  code                text,
  detail              text,
  provider_message_id text,
  primary key (delivery_id, n)
);

create table provider_ref (
  provider_id         int not null,
  provider_message_id text not null,
  delivery_id         uuid not null,
  n                   smallint not null,
  created_at          timestamptz not null default clock_timestamp(),
  primary key (provider_id, provider_message_id)
);

-- A chunk: queue, claim and lease in one row, for 1 delivery (interactive) or up to 100 (bulk).
create table dispatch (
  id            bigint generated always as identity primary key,
  channel_type  text not null,
  lane          lane not null,
  send_group_id bigint not null references send_group,
  delivery_ids  uuid[] not null check (cardinality(delivery_ids) between 1 and 100),
  not_before    timestamptz not null default '-infinity',      -- machine time: back-off
  published_at  timestamptz,
  lease_until   timestamptz,
  token         uuid,
  tries         smallint not null default 0                    -- claims whose lease ended without an outcome
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
create index dispatch_waiting on dispatch (channel_type, lane, send_group_id, not_before, id) where published_at is null;
create index dispatch_leased on dispatch (lease_until) where published_at is not null;

create table timer (
  owner         uuid not null,
  kind          text not null,
  send_group_id bigint not null references send_group,
  due_at        timestamptz not null,                          -- business time, in the group's clock
  generation    int not null,
  tries         smallint not null default 0,                   -- of a question to a provider
  primary key (owner, kind)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);
create index timer_due on timer (send_group_id, due_at);

-- When receipts and answers could last reach us, in machine time: silence during our own outage is not silence.
create table receiving (only_row boolean primary key default true check (only_row), seen_at timestamptz not null);
insert into receiving (seen_at) values ('-infinity');          -- nobody received yet
-- The processes that take webhooks, each by the identity of its spool.
create table receiver (
  id       uuid primary key,
  told_at  timestamptz not null,                               -- machine time: when it last said how it stands
  spooling boolean not null                                    -- webhooks wait on its disk, and the rulebook does not know them
);

-- Since when what people and providers say may lie where the rulebook does not see it: nobody has said for 3 seconds that
-- webhooks are taken, a process has some on its disk, or one has fallen silent. A process that is silent for more than a minute
-- holds no decision any longer (for a quarter of an hour, if it had a spool): it is gone. Null: everything is known.
create function deaf_since() returns timestamptz language sql stable parallel safe as $$
  select least(
    (select seen_at from receiving where seen_at > '-infinity' and seen_at < clock_timestamp() - interval '3 s'),
    (select min(told_at) from receiver
      where spooling and told_at > clock_timestamp() - interval '15 min'
         or told_at between clock_timestamp() - interval '1 min' and clock_timestamp() - interval '3 s'))
$$;
