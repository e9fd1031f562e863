-- What an administrator defines. Versions are immutable; what runs is pinned to one through a plan.

create type channel_state as enum ('enabled', 'disabled', 'parked');

create table channel (
  id                 int generated always as identity primary key,
  slug               text not null,
  display_name       text not null default '',
  channel_type       text not null,
  service_identifier text not null,                            -- our own address on this channel: number, sender, mailbox
  state              channel_state not null default 'enabled',
  state_reason       text,                                     -- why it was parked or disabled
  rate_per_second    double precision check (rate_per_second > 0),   -- null: as fast as the provider takes it
  in_flight          int check (in_flight between 1 and 10000),      -- open calls at once; null: the connector's default
  version            int not null default 1,
  created_at         timestamptz not null,
  updated_at         timestamptz not null,
  deleted_at         timestamptz                               -- what went over it keeps its name
);

create unique index channel_slug on channel (slug) where deleted_at is null;

create table channel_provider (
  id            int generated always as identity primary key,
  channel_id    int not null references channel on delete cascade,
  name          text not null,                                 -- unique in its channel
  position      smallint not null,                             -- tried in this order
  connector     text not null,
  settings      jsonb not null,                                -- secrets are named (..._env, ..._file), never held
  enabled       boolean not null default true,
  rate_per_second double precision check (rate_per_second > 0),      -- null: the connector's default
  in_flight     int check (in_flight between 1 and 1000),            -- open calls at once; null: the connector's default
  timeout_ms    int check (timeout_ms between 1000 and 120000),      -- of one call; null: the connector's default
  open_until    timestamptz,                                   -- machine time: the circuit breaker is open until then
  last_error    text,
  last_error_at timestamptz,
  unique (channel_id, name)
);

create table template (
  id           bigint generated always as identity primary key,
  slug         text not null,
  display_name text not null default '',
  description  text not null default '',
  latest       int not null default 0,                         -- number of the newest version
  version      int not null default 1,
  created_at   timestamptz not null,
  updated_at   timestamptz not null,
  deleted_at   timestamptz                                     -- what is pinned to its versions goes on
);
create unique index template_slug on template (slug) where deleted_at is null;
create table template_version (
  id          bigint generated always as identity primary key,
  template_id bigint not null references template on delete cascade,
  number      int not null,
  definition  jsonb not null,
  created_at  timestamptz not null,
  unique (template_id, number)
);

create table policy (
  id           bigint generated always as identity primary key,
  slug         text not null,
  display_name text not null default '',
  description  text not null default '',
  latest       int not null default 0,
  version      int not null default 1,
  created_at   timestamptz not null,
  updated_at   timestamptz not null,
  deleted_at   timestamptz                                     -- what is pinned to its versions goes on
);
create unique index policy_slug on policy (slug) where deleted_at is null;
create table policy_version (
  id         bigint generated always as identity primary key,
  policy_id  bigint not null references policy on delete cascade,
  number     int not null,
  definition jsonb not null,
  created_at timestamptz not null,
  unique (policy_id, number)
);

-- A pinned plan: one policy with the template version of each step. Notifications point here, so that a later edit of a
-- policy or template changes nothing that already runs, and workers cache it by id for ever.
create table plan (
  id                   bigint generated always as identity primary key,
  policy_version_id    bigint,                                 -- null: an inline policy of one send
  definition           jsonb not null,                         -- the policy, with the template of each step filled in
  template_version_ids bigint[] not null,                      -- one a step; 0 where a step has none
  fingerprint          bytea not null unique,                  -- of the three above
  created_at           timestamptz not null
);

-- People whom no channel reached, for a person to call.
create table call_list (
  id           bigint generated always as identity primary key,
  slug         text not null unique,
  display_name text not null default '',
  definition   jsonb not null,                                 -- recipients, channel, and when it is mailed
  due_at       timestamptz,                                    -- business time: when it is mailed next; null: nothing waits
  version      int not null default 1,
  created_at   timestamptz not null,
  updated_at   timestamptz not null
);
create index call_list_due on call_list (due_at) where due_at is not null;
create table call_list_entry (
  id              bigint generated always as identity primary key,
  call_list_id    bigint not null references call_list on delete cascade,
  notification_id uuid not null unique,
  contact_id      bigint not null,
  note            text not null default '',
  created_at      timestamptz not null,
  mailed_in       uuid,                                        -- the notification that carried it; set once
  mailed_at       timestamptz,
  withdrawn_at    timestamptz                                  -- the person answered before the list was mailed
);
create index call_list_entry_waiting on call_list_entry (call_list_id, id) where mailed_in is null and withdrawn_at is null;

-- A write that carries a request id: the same id again answers as before.
create table request (
  caller      text not null,
  request_id  uuid not null,
  method      text not null,
  fingerprint bytea not null,
  response    bytea not null,
  created_at  timestamptz not null default clock_timestamp(),
  primary key (caller, request_id)
);
create index request_by_age on request (created_at);
