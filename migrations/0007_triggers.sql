-- What wakes the system without a caller: watched tables and schedules, and what became of every row and fire time.

create table source (
  id                int generated always as identity primary key,
  slug              text not null unique,
  display_name      text not null default '',
  own               boolean not null default false,            -- the database that holds these tables
  settings          jsonb not null default '{}',               -- url_env or url_file, never the address itself
  system_identifier text,                                      -- of the cluster that the cursor belongs to
  cursor            jsonb,
  health            jsonb not null default '{}',
  version           int not null default 1,
  created_at        timestamptz not null,
  updated_at        timestamptz not null
);

create table trigger (
  id           bigint generated always as identity primary key,
  slug         text not null unique,
  display_name text not null default '',
  kind         text not null check (kind in ('table', 'schedule')),
  enabled      boolean not null default true,
  source_id    int references source,
  definition   jsonb not null,
  next_fire_at timestamptz,                                    -- schedules: business time
  version      int not null default 1,
  created_at   timestamptz not null,
  updated_at   timestamptz not null
);
create index trigger_due on trigger (next_fire_at) where enabled and next_fire_at is not null;

create type firing_state as enum ('pending', 'fired', 'unmappable', 'skipped', 'failed');

create table firing (
  id              bigint generated always as identity primary key,
  trigger_id      bigint not null references trigger on delete cascade,
  event_key       text not null,                               -- the capture's event id, or the nominal fire time
  state           firing_state not null default 'pending',
  reasons         jsonb not null default '[]',
  op              text not null default '',                    -- insert, update, delete, fire
  row_data        jsonb,
  old_row         jsonb,
  captured_at     timestamptz not null,
  decided_at      timestamptz,
  notification_id uuid,
  campaign_id     bigint,
  tries           smallint not null default 0,
  replay_of       bigint,
  unique (trigger_id, event_key)
);
create index firing_pending on firing (id) where state = 'pending';
create index firing_by_state on firing (trigger_id, state, id);
create index firing_by_notification on firing (notification_id) where notification_id is not null;
