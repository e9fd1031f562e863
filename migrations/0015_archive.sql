-- The archive: conversations that were closed long ago stand in files of the file store, and what finds them stands here. The row of a
-- conversation stays where it is, so that lists, counts and references go on; its messages, sessions, participants and changes
-- are in the file. docs/ARCHIVE.md says what is in one.

alter table conversation
  add archived_at timestamptz;                                  -- business time; null: everything of it stands in the tables
create index conversation_to_archive on conversation (closed_at, id) where phase = 'closed' and archived_at is null;
create index conversation_archived on conversation (closed_at, id) where archived_at is not null;

-- Whether a closed conversation is at rest: nothing of it is due, owed, on its way, or waits to be copied or answered.
create function is_at_rest(the_conversation uuid) returns boolean language sql stable parallel safe as $$
  select v.phase = 'closed' and v.archived_at is null
     and not exists (select from conversation_timer t where t.entity = v.id)
     and not exists (select from obligation o where o.conversation_id = v.id)
     and not exists (select from controller_inbox i where i.conversation_id = v.id)
     -- An import may go on tomorrow.
     and not exists (select from imported_conversation i join message m on m.conversation_id = i.conversation_id
                      where i.conversation_id = v.id and m.stored_at > clock_timestamp() - interval '1 day')
     and not exists (select from notification n where n.contact_id = v.contact_id and n.conversation_id = v.id
                                                  and n.state in ('pending', 'waiting'))
     and not exists (select from message m
                       left join delivery d on d.id = m.delivery_id and m.outbound
                       left join notification n on n.id = m.notification_id
                       left join media f on f.message_id = m.id
                      where m.conversation_id = v.id
                        and (d.work in ('queued', 'sending') or n.state in ('pending', 'waiting') or f.state = 'waiting'))
    from conversation v where v.id = the_conversation
$$;

-- A file is announced before it is written, and live once its rows stand: what was announced long ago and is not live was left
-- behind by a crash. One that is dropped is to be removed from the store; the row goes last.
create table archive_file (
  id         bigint generated always as identity primary key,
  name       text not null unique,                              -- in the file store: by its content
  state      text not null default 'announced' check (state in ('announced', 'live', 'dropped')),
  size       bigint not null,                                   -- bytes
  announced_at timestamptz not null default clock_timestamp(),  -- machine time
  dropped_at timestamptz                                        -- machine time
);
create index archive_file_unsettled on archive_file (id) where state <> 'live';

-- Where the record of a conversation lies: a part of a file, which is read and unpacked alone.
create table archived_conversation (
  conversation_id uuid primary key,
  file_id         bigint not null references archive_file,
  first_byte      bigint not null,
  bytes           bigint not null,
  activities      bigint not null,                              -- how many there are
  parts           uuid[] not null                               -- its channel sessions and participants, to find it by them
);
create index archived_conversation_by_file on archived_conversation (file_id, first_byte);
create index archived_conversation_by_part on archived_conversation using gin (parts);

-- What lists of messages ask for; the words are in the file.
create table archived_message (
  id              uuid primary key,
  conversation_id uuid not null,
  seq             bigint not null,
  outbound        boolean not null,
  internal        boolean not null,
  channel_id      int,
  notification_id uuid,
  delivery_id     uuid,
  received_at     timestamptz not null,
  redaction       jsonb                                         -- holds at once, before the file is written anew
);
create index archived_message_by_conversation on archived_message (conversation_id, id);
create index archived_message_by_notification on archived_message (notification_id, id) where notification_id is not null;
create index archived_message_by_delivery on archived_message (delivery_id) where delivery_id is not null;

-- That a contact was erased: what was asked, what went, and what is still to go.
create table erasure (
  id           uuid primary key,                                -- UUIDv7
  contact_id   bigint not null,
  reason       text not null,
  asked_at     timestamptz not null,                            -- business time: from now on nothing of it is read
  done_at      timestamptz,                                     -- business time: the files too are free of it
  erased       jsonb not null                                   -- how many of what went: counts by name
);
create index erasure_by_contact on erasure (contact_id, id);
create index erasure_under_way on erasure (id) where done_at is null;

-- What a file holds and may not hold any more: it is written anew without it, or dropped where nothing else is in it.
create table archive_stain (
  file_id         bigint not null references archive_file,
  conversation_id uuid not null,
  cause           text not null check (cause in ('erased', 'expired', 'redacted', 'changed')),
  erasure_id      uuid references erasure,
  stained_at      timestamptz not null default clock_timestamp(), -- machine time
  primary key (file_id, conversation_id, cause)
);

-- The files that held something of an erased contact, by name: a receipt says when each was gone.
create table erasure_file (
  erasure_id uuid not null references erasure,
  name       text not null,
  file_id    bigint not null,
  removed_at timestamptz,                                       -- business time
  primary key (erasure_id, name)
);
create index erasure_file_left on erasure_file (file_id) where removed_at is null;

-- The copies of files whose messages are gone: the row goes with the file.
alter table media
  add orphaned   boolean not null default false,
  add erasure_id uuid;                                          -- the erasure that took the message away
create index media_orphaned on media (message_id) where orphaned;
create index media_of_erasure on media (erasure_id) where erasure_id is not null;

create index webhook_dead_letter_by_age on webhook_dead_letter using brin (died_at);
