-- Controllers: what conversations do by themselves, in versions; the occasions that wait for one; and what it did.

create table controller (
  id           bigint generated always as identity primary key,
  slug         text not null,
  display_name text not null default '',
  description  text not null default '',
  latest       int not null default 0,
  enabled      boolean not null,
  channels     text[] not null default '{}',                   -- slugs; empty: every channel
  answer_secs  int check (answer_secs between 1 and 3600),     -- a process of the business may decide so long; null: the rules do
  from_number  bigint not null,                                -- events up to this number were before it, or while it was disabled
  version      int not null default 1,
  created_at   timestamptz not null,
  updated_at   timestamptz not null,
  deleted_at   timestamptz
);
create unique index controller_slug on controller (slug) where deleted_at is null;
create table controller_version (
  id            bigint generated always as identity primary key,
  controller_id bigint not null references controller on delete cascade,
  number        int not null,
  definition    jsonb not null,
  created_at    timestamptz not null,
  unique (controller_id, number)
);

-- How far the stream of events was read for intents.
create table controller_cursor (only_row boolean primary key default true check (only_row), number bigint not null);
insert into controller_cursor (number) values (0);

-- An intent that waits for its controller; taken in order within its conversation. What was decided stands here until it was
-- carried out, so that a crash in the middle repeats no action that is done.
create table controller_inbox (
  number          bigint not null,                             -- of the event
  controller_id   bigint not null,
  conversation_id uuid not null,
  intent          text not null,
  subject         uuid not null,                               -- the message, session, participant or conversation
  channel_id      int,
  reason          text not null default '',
  at              timestamptz not null,                        -- business time
  answer_until    timestamptz,                                 -- business time; null: the rules decide
  decided         jsonb,                                       -- the actions, with who decided
  done            smallint not null default 0,                 -- how many of them were carried out or given up
  faults          text[] not null default '{}',
  not_before      timestamptz not null default '-infinity',    -- machine time: a lease, or a pause after a failure
  token           uuid,
  tries           smallint not null default 0,
  primary key (number, controller_id)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
create index controller_inbox_order on controller_inbox (conversation_id, number, controller_id);
create index controller_inbox_waiting on controller_inbox (controller_id, number) where answer_until is not null and decided is null;

create table controller_run (
  id              bigint generated always as identity primary key,
  number          bigint not null,
  controller_id   bigint not null,
  version         int not null,                                -- 0: a process of the business decided
  conversation_id uuid not null,
  intent          text not null,
  outcome         text not null check (outcome in ('done', 'partly', 'failed')),
  rules           text[] not null,
  actions         int not null,
  faults          text[] not null,
  at              timestamptz not null
);
create index controller_run_by_conversation on controller_run (conversation_id, id);
create index controller_run_by_controller on controller_run (controller_id, id);
create index controller_run_by_age on controller_run using brin (at);
