-- Rates that hold over all processes and restarts, fairness, frequency caps, suppression, prices and budgets.

-- A limit is known by one time: when its allowance is whole again (machine time). What was used up is the distance to it.
create table pace (
  subject text primary key,                                    -- campaign:7, channel:3, channel:3:parts, provider:4, provider:4:parts
  full_at timestamptz not null
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- What providers said about our speed, and what they are granted since.
create table provider_pace (
  provider_id  int primary key references channel_provider on delete cascade,
  throttled    bigint not null default 0,                      -- answers "too fast" so far
  throttled_at timestamptz,                                    -- machine time of the last one
  limit_rate   double precision check (limit_rate > 0),        -- messages a second; null: nothing was lowered
  lowered_at   timestamptz                                     -- machine time: from here on the limit rises again
) with (fillfactor = 50);

alter table channel
  add column parts_per_second    double precision check (parts_per_second > 0),   -- parts of short messages; null: no limit
  add column recipients_per_day  int check (recipients_per_day > 0),              -- people written to first within 24 hours; null: no limit
  add column price_micros        bigint check (price_micros >= 0),                -- of one message, or one part of a short message
  add column price_currency      text check (price_currency ~ '^[A-Z]{3}$'),
  add column provider_parameters jsonb not null default '{}',                     -- what providers are told with every message
  add column required_parameters text[] not null default '{}',                    -- that must be said here or by the template
  add constraint channel_price_has_a_currency check ((price_micros is null) = (price_currency is null));
alter table channel_provider
  add column parts_per_second double precision check (parts_per_second > 0);      -- null: no limit of its own

alter table campaign
  add column spread_per_second double precision check (spread_per_second > 0),    -- what its window leaves; null: it is not spread
  add column budget_micros     bigint check (budget_micros > 0),                  -- null: no budget
  add column spent_micros      bigint not null default 0;                         -- reserved for what was granted

alter table dispatch
  add column parts        int not null default 0,              -- what its deliveries count against rates in parts; 0: one each
  add column price_micros bigint not null default 0,           -- what it costs if all of it goes out
  add column reserved     boolean not null default false,      -- its price was taken from the budget
  add column returned     boolean not null default false;      -- a worker gave it back without having tried: the channel is busy

-- How close the messages to one person on one channel may follow each other, and who was written to within a day.
create table pair_pace (
  channel_id int not null references channel on delete cascade,
  address_id bigint not null references address on delete cascade,
  full_at    timestamptz not null,                             -- machine time: the allowance of the pair is whole again
  counted_at timestamptz not null default '-infinity',         -- machine time: counted against the channel's day then
  primary key (channel_id, address_id)
) with (fillfactor = 70);
create table channel_day (
  channel_id int not null references channel on delete cascade,
  hour       timestamptz not null,                             -- machine time, whole hours
  n          int not null,                                     -- people who were written to first in it
  primary key (channel_id, hour)
) with (fillfactor = 50);

-- At most so many messages of a kind to one address in a period.
create table frequency_cap (
  id           bigint generated always as identity primary key,
  channel_type text not null default '*',                      -- '*': each channel type by itself
  purpose      text not null,                                  -- '*': every purpose but service and transactional, together
  messages     int not null check (messages between 1 and 1000),
  period       interval not null check (period between interval '1 minute' and interval '90 days'),
  version      int not null default 1,
  created_at   timestamptz not null,
  updated_at   timestamptz not null,
  unique (channel_type, purpose)
);

alter table address add column suppression_source text;        -- who said so: API, IMPORT, PROVIDER
create index address_suppressed on address (id) where suppressed_at is not null;

-- Questions to providers and steps stand in one table, and each reader asks for its kind.
drop index timer_due;
create index timer_due on timer (send_group_id, kind, due_at);
create index receipt_inbox_waiting on receipt_inbox (not_before, id);
