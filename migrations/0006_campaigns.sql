-- Many people at once: audiences and campaigns. A schedule's fire makes a campaign of its own.

create table audience (
  id           bigint generated always as identity primary key,
  slug         text not null unique,
  display_name text not null default '',
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
  state_reason  text,
  audience_id   bigint not null references audience,
  policy_id     bigint not null references policy,
  plan_id       bigint references plan,                        -- pinned at start
  definition    jsonb not null,                                -- variables, purpose, validity, start time, weight, own zones
  trigger_id    bigint,                                        -- the schedule that made it
  fire_time     timestamptz,                                   -- its nominal time
  start_at      timestamptz,
  plan_cursor   jsonb,                                         -- how far the audience was planned
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

-- A run holds a contact once.
create table campaign_contact (
  campaign_id bigint not null references campaign on delete cascade,
  contact_id  bigint not null,
  primary key (campaign_id, contact_id)
);
