-- What wakes the system without a caller: watched tables and schedules, and what became of every row and fire time.

create table source (
  id                int generated always as identity primary key,
  slug              text not null unique,
  display_name      text not null default '',
  own               boolean not null default false,            -- the database that holds these tables
  settings          jsonb not null default '{}',               -- url_env or url_file, never the address itself; limits
  capture_schema    text not null unique,                      -- the schema of our captures in it: of this source alone
  system_identifier text,                                      -- of the cluster, as last seen
  cursor            jsonb,                                     -- what was stored of its captures, moved by compare-and-set
  health            jsonb not null default '{}',
  version           int not null default 1,
  created_at        timestamptz not null,
  updated_at        timestamptz not null
);

create table trigger (
  id            bigint generated always as identity primary key,
  slug          text not null,
  display_name  text not null default '',
  description   text not null default '',
  kind          text not null check (kind in ('table', 'schedule')),
  enabled       boolean not null default true,
  failure       text,                                          -- why an enabled one cannot fire
  source_id     int references source on delete set null,
  definition    jsonb not null,
  plan_id       bigint references plan,                        -- tables: pinned when the trigger was written
  draining      boolean not null default false,                -- tables: taken off its table, rows may still wait in the source
  next_fire_at  timestamptz,                                   -- schedules: business time
  version       int not null default 1,
  created_at    timestamptz not null,
  updated_at    timestamptz not null,
  deleted_at    timestamptz                                    -- its firings stay readable
);
create unique index trigger_slug_key on trigger (slug) where deleted_at is null;
create index trigger_by_source on trigger (source_id) where deleted_at is null;
create index trigger_due on trigger (next_fire_at) where enabled and next_fire_at is not null;

create type firing_state as enum ('pending', 'fired', 'unmappable', 'skipped', 'failed');

create table firing (
  id              bigint generated always as identity primary key,
  trigger_id      bigint not null references trigger on delete cascade,
  event_key       text not null,                               -- the capture's event id, the nominal fire time, or of a hand
  state           firing_state not null default 'pending',
  reason          text,                                        -- why it did not fire, for programs
  reasons         jsonb not null default '[]',                 -- the same for people: [{field, fault, reason}]
  op              text not null default '',                    -- insert, update, delete; empty for a fire time
  row_data        jsonb,
  old_row         jsonb,
  lane            lane not null default 'bulk',
  manual          boolean not null default false,
  captured_at     timestamptz not null,                        -- when the row was written, or the schedule was due
  created_at      timestamptz not null,
  decided_at      timestamptz,
  notification_id uuid,
  campaign_id     bigint,
  tries           smallint not null default 0,                 -- failures while it was taken alone
  retry_at        timestamptz not null default '-infinity',    -- machine time
  replay_of       bigint,
  unique (trigger_id, event_key)
) with (fillfactor = 80);
create index firing_pending on firing (id) where state = 'pending';
create index firing_by_state on firing (trigger_id, state, id);
create index firing_replays on firing (replay_of) where replay_of is not null;

-- What de-duplicating triggers remember: rows with one key within the window are one notification, whoever takes them.
create table firing_key (
  trigger_id bigint not null references trigger on delete cascade,
  key        bytea not null,
  at         timestamptz not null,
  primary key (trigger_id, key)
);
