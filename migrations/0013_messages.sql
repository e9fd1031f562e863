-- The message itself: what makes it readable on its own, what keeps it as it was stored, how it is searched, and what
-- gathers around it (read marks, copies of media, history from elsewhere).

alter table message
  add column envelope   jsonb,                                 -- the rest of the document, from version 2.0 on
  add column dictionary text not null default 'simple',        -- of Postgres's text search, by the language of the words
  add column internal   boolean not null default false,        -- a note or a notice: never sent, has no channel and no address
  add column redaction  jsonb,                                 -- who took the words away, when and why
  alter column channel_id drop not null,
  alter column address_id drop not null,
  add constraint message_has_a_channel check (internal or (channel_id is not null and address_id is not null));

-- The dictionary of a language (BCP 47), `simple` for one that Postgres does not know. A name, not a regconfig: a column of
-- that type would forbid pg_upgrade.
create function search_dictionary(locale text) returns text
language sql immutable parallel safe as $$
  select case lower(split_part(split_part(locale, '-', 1), '_', 1))
    when 'ar' then 'arabic'     when 'hy' then 'armenian'  when 'eu' then 'basque'     when 'ca' then 'catalan'
    when 'da' then 'danish'     when 'nl' then 'dutch'     when 'en' then 'english'    when 'fi' then 'finnish'
    when 'fr' then 'french'     when 'de' then 'german'    when 'el' then 'greek'      when 'hi' then 'hindi'
    when 'hu' then 'hungarian'  when 'id' then 'indonesian' when 'ga' then 'irish'     when 'it' then 'italian'
    when 'lt' then 'lithuanian' when 'ne' then 'nepali'    when 'no' then 'norwegian'  when 'nb' then 'norwegian'
    when 'nn' then 'norwegian'  when 'pt' then 'portuguese' when 'ro' then 'romanian'  when 'ru' then 'russian'
    when 'sr' then 'serbian'    when 'es' then 'spanish'   when 'sv' then 'swedish'    when 'ta' then 'tamil'
    when 'tr' then 'turkish'    when 'yi' then 'yiddish'
    else 'simple' end
$$;

-- What is found of a message: its words as they stand, and in the form of its dictionary. The first 20,000 characters, since
-- a vector may not be longer than a megabyte and a mail may be. The dictionaries are those that Postgres brings along, which
-- change with its major version only: after such an upgrade, `reindex index message_by_words`.
create function message_words(dictionary text, words text) returns tsvector
language sql immutable parallel safe as $$
  select case dictionary
    when 'simple' then to_tsvector('pg_catalog.simple', left(words, 20000))
    else to_tsvector('pg_catalog.simple', left(words, 20000))
      || to_tsvector(('pg_catalog.' || dictionary)::regconfig, left(words, 20000)) end
$$;
-- New words wait in the index's pending list, so that an insert writes a few pages and not one for each word.
create index message_by_words on message using gin (message_words(dictionary, plain_text)) with (fastupdate = on);

-- A stored message stays as it is. The one change that there is takes its words away, once; where two conversations become one,
-- it moves, and says what it said.
create function message_is_immutable() returns trigger language plpgsql as $$
begin
  if new.conversation_id <> old.conversation_id
     and to_jsonb(new) - array['conversation_id', 'seq'] = to_jsonb(old) - array['conversation_id', 'seq'] then
    return new;
  end if;
  if old.redaction is null and new.redaction is not null and new.content = '{"type": "redacted"}'::jsonb
     and to_jsonb(new) - array['content', 'plain_text', 'envelope', 'redaction']
       = to_jsonb(old) - array['content', 'plain_text', 'envelope', 'redaction'] then
    return new;
  end if;
  raise exception 'a stored message never changes; its words can be taken away once'
    using errcode = 'check_violation', constraint = 'message_is_immutable', table = 'message';
end $$;
create trigger message_is_immutable before update on message for each row execute function message_is_immutable();

-- How far the business has read a conversation, each reader for itself; '' is the business as a whole.
create table read_mark (
  conversation_id uuid not null,
  reader          text not null,
  seq             bigint not null,                             -- of the last message that was read
  message_id      uuid not null,
  read_at         timestamptz not null,                        -- business time
  primary key (conversation_id, reader)
);

-- Small signs to a provider that change nothing of ours: a message was read, somebody types. Tried a few times, then dropped.
create table courtesy (
  id                  bigint generated always as identity primary key,
  channel_id          int not null,
  provider_message_id text not null,                           -- of the contact's message
  typing              boolean not null,
  expires_at          timestamptz not null,                    -- machine time
  not_before          timestamptz not null default '-infinity', -- machine time
  tries               smallint not null default 0
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- The files of messages: fetched from the provider before its link expires, kept in the object store by their content.
create table media (
  message_id uuid primary key,
  channel_id int not null,
  provider_id int,                                             -- that brought it; null: any of the channel
  reference  text not null,                                    -- the provider's id or link
  state      text not null default 'waiting' check (state in ('waiting', 'stored', 'refused', 'lost', 'redacted')),
  mime_type  text not null,                                    -- as declared; as fetched once it is stored
  sha256     bytea,
  size       bigint,                                           -- bytes
  problem    text,                                             -- why it is not stored yet, or never will be
  tries      smallint not null default 0,
  not_before timestamptz not null default '-infinity',         -- machine time
  created_at timestamptz not null default clock_timestamp(),
  stored_at  timestamptz,
  check ((state = 'stored') <= (sha256 is not null and size is not null))
);
create index media_waiting on media (not_before) where state = 'waiting';
create index media_by_content on media (sha256) where sha256 is not null;

-- History that was brought from elsewhere: each message once, and for each contact one closed conversation that holds it.
create table imported_message (
  channel_id          int not null,
  provider_message_id text not null,
  message_id          uuid not null,
  primary key (channel_id, provider_message_id)
);
create table imported_conversation (
  contact_id      bigint primary key,
  conversation_id uuid not null unique
);
