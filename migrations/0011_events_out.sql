-- Events on their way out (the exchange, subscribers' webhooks) and orders on their way in (commands of outside systems).

-- How far a sink has taken the stream. A position moves only after what lies before it was confirmed.
create table event_cursor (
  sink     text primary key,                                   -- exchange
  position bigint not null,                                    -- every event up to this number was confirmed
  moved_at timestamptz not null default clock_timestamp()
) with (fillfactor = 20);

-- A subscriber's address, and how far it was told.
create table webhook (
  id              bigint generated always as identity primary key,
  slug            text not null unique,
  display_name    text not null default '',
  url             text not null,
  definition      jsonb not null,                              -- what is told; the secret is named, never held
  state           text not null default 'enabled' check (state in ('enabled', 'failing', 'disabled')),
  state_reason    text,                                        -- why it fails or was disabled
  position        bigint not null,                             -- events up to this number were told or given up
  failures        int not null default 0,                      -- in a row
  failing_since   timestamptz,                                 -- machine time of the first failure in a row
  batch_since     timestamptz,                                 -- machine time of the first failure of what is tried now
  not_before      timestamptz,                                 -- machine time: not tried again before
  last_success_at timestamptz,                                 -- machine time
  version         int not null default 1,
  created_at      timestamptz not null,
  updated_at      timestamptz not null
) with (fillfactor = 70);

-- Events that a webhook would not take. Their numbers only: what they say stands in event, as long as events are kept.
create table webhook_dead_letter (
  id            bigint generated always as identity primary key,
  webhook_id    bigint not null references webhook on delete cascade,
  first         bigint not null,                               -- the first number of the batch
  last          bigint not null,                               -- its last
  n             int not null,                                  -- events between them that the filter lets through
  failures      int not null,
  reason        text not null,                                 -- what the last try met
  died_at       timestamptz not null default clock_timestamp(),
  replay_at     timestamptz,                                   -- set: it is to be told again
  replayed_at   timestamptz                                    -- it was told after all
);
create index webhook_dead_letter_by_webhook on webhook_dead_letter (webhook_id, id);
create index webhook_dead_letter_to_replay on webhook_dead_letter (webhook_id, id) where replay_at is not null;

-- A command is obeyed once, however often the broker brings it.
create table command_seen (
  source  text not null,                                       -- of the CloudEvent
  id      text not null,                                       -- of the CloudEvent, unique in its source
  seen_at timestamptz not null default clock_timestamp(),
  primary key (source, id)
);
create index command_seen_by_age on command_seen using brin (seen_at);

-- What an outside system was asked to do in a conversation, and owes an end of: run a flow, work on a ticket.
create table outside_order (
  id              uuid primary key,
  conversation_id uuid not null,
  kind            text not null check (kind in ('flow', 'ticket')),
  ordered_at      timestamptz not null,                        -- business time
  ended_at        timestamptz,
  outcome         text                                         -- how it ended, in a word
);
create unique index outside_order_open on outside_order (conversation_id, kind) where ended_at is null;
