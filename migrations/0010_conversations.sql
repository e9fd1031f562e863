-- The conversation as it is held: who is present (channel sessions, participants), what is owed to the contact, what changed, and
-- what is due. The counters of a conversation are its facts; its state is derived from them (domain::conversation) and kept
-- beside them for lists.

alter table conversation
  add state           text not null default 'CREATED',          -- what the facts make of it, written with them and never alone
  add sessions        int not null default 0 check (sessions >= 0),      -- open channel sessions
  add agents          int not null default 0 check (agents >= 0),        -- agents who take part
  add wrapping_up     int not null default 0 check (wrapping_up >= 0),   -- agents who conclude
  add ever_agent      boolean not null default false,
  add hold            boolean not null default false,
  add priority        smallint not null default 0 check (priority between 0 and 9),
  add labels          text[] not null default '{}',
  add attributes      jsonb not null default '{}',              -- flat: name -> text
  add version         int not null default 1,                   -- the etag: changes with what people change
  add inbound_count   bigint not null default 0,                -- messages of the contact
  add last_message_at timestamptz,
  add close_reason    text,
  add closed_by       text,
  add closing_at      timestamptz,
  add closed_at       timestamptz,
  add merged_into     uuid;
create index conversation_by_label on conversation using gin (labels) where labels <> '{}';

-- The contact's presence on one channel, from one address.
create table channel_session (
  id              uuid primary key,                             -- UUIDv7
  conversation_id uuid not null,
  channel_id      int not null,
  address_id      bigint not null,
  direction       text not null check (direction in ('inbound', 'outbound')),   -- who began it
  state           text not null default 'active' check (state in ('active', 'expiring', 'ended')),
  data            jsonb not null default '{}',                  -- what the connector says: locale, browser, pre-chat form
  wrote           boolean not null default false,               -- whether the contact has written in it
  silent_since    timestamptz,                                  -- since when the contact owes an answer; null: owes none
  last_at         timestamptz not null,                         -- when something was last said in it
  generation      int not null default 0,                       -- of its timer: an older one is a no-op
  started_at      timestamptz not null,
  ended_at        timestamptz,
  end_reason      text,
  ended_by        text,
  check ((state = 'ended') = (ended_at is not null and end_reason is not null))
) with (fillfactor = 70);
create unique index channel_session_open on channel_session (conversation_id, channel_id, address_id) where ended_at is null;
create index channel_session_by_conversation on channel_session (conversation_id, id);
-- For channels that are disabled. Its condition says more than the hot statements do, so that none of them takes this index.
create index channel_session_by_channel on channel_session (channel_id, id) where ended_at is null and state <> 'ended';

-- Who takes part besides the contact, whose presence is its channel sessions.
create table participant (
  id              uuid primary key,                             -- UUIDv7
  conversation_id uuid not null,
  kind            text not null check (kind in ('operator', 'bot', 'controller', 'application')),
  subject         text not null check (subject <> ''),          -- the resource name, such as operators/asha
  display_name    text not null default '',
  role            text not null check (role in ('PRIMARY', 'ASSIST', 'MONITOR', 'SERVICE')),
  joined_at       timestamptz not null,
  left_at         timestamptz,
  left_reason     text
);
create unique index participant_present on participant (conversation_id, subject) where left_at is null;
create index participant_by_conversation on participant (conversation_id, id);

-- What is owed to the contact. Notifications say so themselves, by their state: see notification.conversation_id.
create table obligation (
  conversation_id uuid not null,
  kind            text not null check (kind in ('flow', 'ticket', 'task')),
  subject         text not null check (subject <> ''),          -- the resource name, such as tickets/42
  began_at        timestamptz not null,
  primary key (conversation_id, kind, subject)
);

alter table notification
  add at_send         boolean not null default false,           -- its conversation begins when it is sent, not when it is answered
  add conversation_id uuid;                                     -- where it was sent; while it is unfinished it keeps that open

-- What changed in a conversation, for its timeline, as long as the conversation is kept; events have a shorter life.
create table conversation_change (
  id              bigint generated always as identity primary key,
  conversation_id uuid not null,
  kind            text not null check (kind in ('state_changed', 'channel_session', 'participant')),
  subject         text not null,                                -- the resource name
  word            text not null,                                -- the new state, started, ended, joined, left, ...
  cause           text not null default '',
  actor           text not null default '',
  channel_id      int,
  at              timestamptz not null
);
create index conversation_change_by_conversation on conversation_change (conversation_id, id);

-- What is due: a session's inactivity, a conversation without messages, the end of a reconnect grace, housekeeping, what a
-- notification has said. Reading locks nothing; whoever acts locks the conversation and reads the timer again.
create table conversation_timer (
  entity          uuid not null,
  kind            text not null check (kind in ('session', 'idle', 'gone', 'housekeeping', 'record')),
  conversation_id uuid,                                         -- null where it is not known yet
  due_at          timestamptz not null,                         -- business time
  generation      int not null default 0,
  tries           smallint not null default 0,
  primary key (entity, kind)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
create index conversation_timer_due on conversation_timer (due_at);

-- A link that carries one of these says who wrote, whatever the address.
create table contact_token (
  token      text primary key,
  contact_id bigint not null references contact on delete cascade,
  created_at timestamptz not null,
  expires_at timestamptz not null
);
create index contact_token_by_age on contact_token (expires_at);

-- Contacts that were made of a message whose sender nobody had named, and who they turned out to be. (A table of its own: the
-- row type of contact is that of an SQL function, and cannot grow.)
create table anonymous_contact (
  contact_id  bigint primary key references contact on delete cascade,
  merged_into bigint
);

alter table channel
  add routing_mode        text not null default 'push' check (routing_mode in ('push', 'pull', 'hybrid')),
  add inactivity_secs     int check (inactivity_secs between 0 and 2592000),   -- null: its type's default; 0: sessions never expire
  add warning_percent     smallint check (warning_percent between 0 and 99),   -- null: 80; 0: no warning
  add warning_text        text,                                 -- null: the warning is not said, only told to the controller
  add greeting            text,                                 -- said when the contact begins a session; null: nothing
  add reconnect_secs      int check (reconnect_secs between 0 and 86400),      -- how long one waits for who left; null: not
  add default_outbound    boolean not null default false;       -- used first where no channel is named
create unique index channel_default_outbound on channel (channel_type) where default_outbound and deleted_at is null;

create or replace view conversation_activity as
with belongs as (
  select v.id as conversation_id, n.id, n.created_at, n.changed_at, n.state
    from conversation v join notification n on n.contact_id = v.contact_id
   where case when n.conversation_id is not null then n.conversation_id = v.id
              else (n.created_at >= v.created_at
                    and n.created_at < coalesce((select min(x.created_at) from conversation x
                                                  where x.contact_id = v.contact_id and x.id > v.id), 'infinity'))
                or exists (select from message m where m.notification_id = n.id and m.conversation_id = v.id) end),
carried as (
  select b.conversation_id, d.id, d.channel_id from belongs b join delivery d on d.notification_id = b.id
  union
  select m.conversation_id, d.id, d.channel_id from message m join delivery d on d.id = m.delivery_id where m.outbound)
select m.conversation_id, m.received_at as at, 2 as rank, 'message' as kind, 'messages/' || m.id as subject,
       case when m.outbound then 'sent' else 'received' end as word, m.id as message_id, m.channel_id,
       ''::text as cause, ''::text as actor
  from message m
union all
select c.conversation_id, a.ended_at, 3, 'delivery', 'deliveries/' || c.id,
       case a.outcome when 'accepted' then 'sent' when 'refused' then 'failed' else 'unknown' end, null, c.channel_id, '', ''
  from carried c join attempt a on a.delivery_id = c.id where a.outcome <> 'not_sent'
union all
select c.conversation_id, r.received_at, 4, 'delivery', 'deliveries/' || c.id, r.evidence::text, null, c.channel_id, '', ''
  from carried c join receipt r on r.delivery_id = c.id
union all
select b.conversation_id, b.created_at, 1, 'notification', 'notifications/' || b.id, 'created', null, null, '', ''
  from belongs b
union all
select b.conversation_id, b.changed_at, 5, 'notification', 'notifications/' || b.id, b.state::text, null, null, '', ''
  from belongs b where b.state not in ('pending', 'waiting')
union all
select v.id, h.at, 6, 'consent', 'contacts/' || v.contact_id,
       lower(h.channel_type) || case when h.opted_in then ' opted in' else ' opted out' end, null, null, '', ''
  from conversation v join contact_address l on l.contact_id = v.contact_id
  join consent_history h on h.address_id = l.address_id
 where h.at >= v.created_at
   and h.at < coalesce((select min(x.created_at) from conversation x where x.contact_id = v.contact_id and x.id > v.id),
                       'infinity')
union all
select g.conversation_id, g.at, case g.kind when 'state_changed' then 8 when 'participant' then 7 else 1 end, g.kind, g.subject,
       g.word, null, g.channel_id, g.cause, g.actor
  from conversation_change g;
