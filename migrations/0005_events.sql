-- Facts for whoever listens. A statement that moves n entities writes one row; the sequencer numbers rows after commit,
-- so that no reader ever waits for a foreign transaction and none is skipped.

create table event_out (
  id          bigint generated always as identity primary key, -- taken while the entity's lock is held: the order of a batch
  kind        text not null,                                   -- notification, delivery, message, conversation, campaign, trigger, channel, contact
  type        text not null default 'state_changed',
  campaign_id bigint,
  channel_id  int,
  step        smallint,
  from_state  text,
  to_state    text,
  reason      text,
  n           int not null default 1,
  ids         uuid[] not null default '{}',
  subject     text,                                            -- the resource name, where it is one and has no uuid
  data        jsonb,
  at          timestamptz not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

create table event (
  number      bigint primary key,                              -- the first of the n numbers that this row stands for
  kind        text not null,
  type        text not null,
  campaign_id bigint,
  channel_id  int,
  step        smallint,
  from_state  text,
  to_state    text,
  reason      text,
  n           int not null,
  ids         uuid[] not null,
  subject     text,
  data        jsonb,
  at          timestamptz not null
);

create table event_counter (only_row boolean primary key default true check (only_row), next_number bigint not null);
insert into event_counter (next_number) values (1);

-- The fold of campaign events: where everyone stands, in a read that costs the same for ten recipients and ten million.
create table progress (
  campaign_id bigint not null,
  kind        text not null,                                   -- notification or delivery
  channel_id  int not null default 0,
  step        smallint not null default -1,
  state       text not null,
  reason      text not null default '',
  n           bigint not null,
  primary key (campaign_id, kind, channel_id, step, state, reason)
) with (fillfactor = 20);
