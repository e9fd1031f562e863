-- Channels that need no third party, and connectors outside the process.

alter type address_kind add value 'external';

-- A chunk of a channel that connectors outside serve is granted by the relay like any other, and claimed from here: it is never
-- published on the bus. Both columns say who may have it; queue, claim and lease are what they were.
alter table dispatch
  add column pulled boolean not null default false,            -- left to connectors outside when it was granted
  add column holder text;                                      -- the instance that claimed it last; null: a worker of ours
create index dispatch_pulled on dispatch (send_group_id, id) where pulled and published_at is not null;

-- The processes that serve a provider from outside: whether any is there decides whether the provider counts as down.
create table connector_instance (
  provider_id int not null references channel_provider on delete cascade,
  name        text not null,                                   -- chosen by the process; kept over its restarts
  epoch       bigint not null default 1,                       -- rises with every connection: an older one gives way
  connected   boolean not null,
  software    text not null default '',
  in_flight   int not null,                                    -- deliveries that it takes at once
  healthy     boolean not null default true,                   -- what it said of itself
  detail      text not null default '',
  started_at  timestamptz not null default clock_timestamp(),  -- machine time
  seen_at     timestamptz not null default clock_timestamp(),  -- machine time
  primary key (provider_id, name)
);

-- One person at one web chat. The row's lock gives the lines their order: a number is seen only when all below it are.
create table web_chat_visitor (
  channel_id            int not null references channel,
  address_id            bigint not null references address on delete cascade,
  last_seq              bigint not null default 0,
  version               bigint not null default 0,             -- rises with whatever a stream must show
  contact_typing_until  timestamptz,                           -- business time
  business_typing_until timestamptz,                           -- business time
  primary key (channel_id, address_id)
);

-- What was said to a visitor, for the stream that shows it.
create table web_chat_line (
  channel_id  int not null,
  address_id  bigint not null,
  seq         bigint not null,                                 -- without gaps
  delivery_id uuid not null unique,
  provider_id int not null,
  content     jsonb not null,
  evidence    delivery_evidence not null default 'sent',       -- what the visitor acknowledged
  stored_at   timestamptz not null,                            -- business time
  primary key (channel_id, address_id, seq),
  foreign key (channel_id, address_id) references web_chat_visitor on delete cascade
);
create index web_chat_line_by_age on web_chat_line (stored_at);

create table web_chat_session (
  id           uuid primary key,
  channel_id   int not null references channel,
  address_id   bigint not null references address on delete cascade,
  contact_id   bigint not null references contact on delete cascade,
  display_name text not null default '',
  locale       text not null default '',
  data         jsonb not null default '{}',                    -- what the application knows: browser, page, pre-chat form
  started_at   timestamptz not null,
  ended_at     timestamptz,
  end_reason   text
);
create unique index web_chat_session_open on web_chat_session (channel_id, address_id) where ended_at is null;
