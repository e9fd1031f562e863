-- Many people at once: audiences and campaigns. A schedule's fire makes a campaign of its own.

create table audience (
  id           bigint generated always as identity primary key,
  slug         text not null unique,
  display_name text not null default '',
  description  text not null default '',
  kind         text not null check (kind in ('list', 'filter', 'sql')),
  definition   jsonb not null,
  version      int not null default 1,
  created_at   timestamptz not null,
  updated_at   timestamptz not null
);
create table audience_member (
  audience_id bigint not null references audience on delete cascade,
  contact_id  bigint not null references contact on delete cascade,
  variables   jsonb not null default '{}',
  primary key (audience_id, contact_id)
);

create type campaign_state as enum ('draft', 'scheduled', 'running', 'paused', 'completed', 'cancelling', 'cancelled', 'failed');

create table campaign (
  id            bigint generated always as identity primary key,
  slug          text not null unique,
  display_name  text not null default '',
  state         campaign_state not null default 'draft',
  state_reason  text,                                          -- why it could not begin, or what its planning waits for
  audience_id   bigint references audience on delete set null, -- null: it was deleted after the campaign had ended
  policy_id     bigint references policy on delete set null,   -- null: one step of its own
  plan_id       bigint references plan,                        -- pinned when it begins
  definition    jsonb not null,                                -- audience, plan, variables, purpose, rate, weight, window, local time
  rate_per_second double precision check (rate_per_second > 0),-- null: as fast as its channels allow
  trigger_id    bigint,                                        -- the schedule that made it
  fire_time     timestamptz,                                   -- its nominal time
  start_at      timestamptz,
  plan_cursor   jsonb,                                         -- how far the audience was planned
  planner       uuid,                                          -- who plans it now
  planner_until timestamptz,                                   -- machine time: when that lease ends
  planned_at    timestamptz,                                   -- the whole audience is planned
  paused_at     timestamptz,
  version       int not null default 1,
  created_at    timestamptz not null,
  updated_at    timestamptz not null,
  started_at    timestamptz,
  ended_at      timestamptz,
  unique (trigger_id, fire_time)
);
create index campaign_at_work on campaign (state, start_at) where state in ('scheduled', 'running', 'paused', 'cancelling');
create index campaign_by_trigger on campaign (trigger_id, id) where trigger_id is not null;

-- A run holds a contact once. The reading counts how often the audience was read from its beginning: a person who comes
-- again in the same reading is a duplicate, one of an earlier reading was planned before the process died.
create table campaign_contact (
  campaign_id bigint not null references campaign on delete cascade,
  contact_id  bigint not null,
  reading     int not null,
  primary key (campaign_id, contact_id)
);
-- Evidence that came too late is rare, and counted.
create index notification_late on notification (campaign_id) where late;

-- A mail that carried entries of a call list: one notification for each address of the department. It is settled when they
-- have ended; if none of them was sent, its entries wait again.
create table call_list_mail (
  id            uuid primary key,                              -- its first notification: what entries point to
  call_list_id  bigint not null references call_list on delete cascade,
  notifications uuid[] not null,
  entries       int not null,
  created_at    timestamptz not null,
  settled_at    timestamptz,
  failure       text                                           -- why none of them was sent
);
create index call_list_mail_open on call_list_mail (created_at) where settled_at is null;
create index call_list_entry_by_mail on call_list_entry (mailed_in) where mailed_in is not null;
