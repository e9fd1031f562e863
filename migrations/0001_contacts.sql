-- Who can be reached: contacts, their addresses, and consent. Addresses, not contacts, carry consent and suppression, because families share phones.

create table contact (
  id           bigint generated always as identity primary key,
  external_id  text unique check (external_id <> ''),          -- the caller's own key, for upserts
  display_name text not null default '',
  locale       text not null default '',                       -- BCP 47, '' = not known
  time_zone    text not null default '',                       -- IANA name, '' = the deployment's
  attributes   jsonb not null default '{}',                    -- flat: name -> text
  version      int not null default 1,                         -- the etag
  created_at   timestamptz not null,
  updated_at   timestamptz not null,
  deleted_at   timestamptz
);
create index contact_by_attribute on contact using gin (attributes jsonb_path_ops);

-- What every template may use without declaring it: the variable `contact`, to be laid over a notification's own.
create function contact_variable(who contact) returns jsonb language sql stable parallel safe return jsonb_build_object(
  'contact', jsonb_build_object('name', who.display_name, 'locale', who.locale,
                                'external_id', coalesce(who.external_id, ''), 'attributes', who.attributes));

create type address_kind as enum ('phone', 'email', 'whatsapp_user');

create table address (
  id                 bigint generated always as identity primary key,
  kind               address_kind not null,
  value              text not null check (value <> ''),        -- canonical: E.164, lower-case mail
  suppressed_at      timestamptz,                              -- hard bounce, invalid number: nothing more is sent
  suppression_reason text,
  created_at         timestamptz not null,
  unique (kind, value)
);

create table contact_address (
  contact_id bigint not null references contact on delete cascade,
  address_id bigint not null references address on delete cascade,
  position   smallint not null default 0,                      -- the preferred address of a kind comes first
  primary key (contact_id, address_id)
);
create index contact_address_by_address on contact_address (address_id, contact_id);

create table consent (
  address_id   bigint not null references address on delete cascade,
  channel_type text not null,
  purpose      text not null,                                  -- '*' = every purpose
  opted_in     boolean not null,
  source       text not null,                                  -- STOP_WORD, API, IMPORT, PROVIDER
  proof        text not null default '',
  at           timestamptz not null,
  primary key (address_id, channel_type, purpose)
);

-- Whether a consent of one purpose speaks of another: `*` of every purpose but `service`, which is refused only by name.
create function consent_covers(consented text, purpose text) returns boolean language sql immutable parallel safe
return consented = purpose or (consented = '*' and purpose <> 'service');

-- Everything that was ever said, whoever wrote it down: a trigger keeps it, so that no writer can forget it.
create table consent_history (
  id           bigint generated always as identity primary key,
  address_id   bigint not null references address on delete cascade,
  channel_type text not null,
  purpose      text not null,
  opted_in     boolean not null,
  source       text not null,
  proof        text not null,
  at           timestamptz not null,
  recorded_at  timestamptz not null default clock_timestamp()
);
create index consent_history_by_address on consent_history (address_id, channel_type, purpose, at);

create function keep_consent() returns trigger language plpgsql as $$
begin
  insert into consent_history (address_id, channel_type, purpose, opted_in, source, proof, at)
  values (new.address_id, new.channel_type, new.purpose, new.opted_in, new.source, new.proof, new.at);
  return null;
end $$;
create trigger consent_is_kept after insert or update on consent for each row execute function keep_consent();

-- When a person last wrote to one of our channels: opens the provider's service window.
create table service_window (
  address_id bigint not null references address on delete cascade,
  channel_id int not null,
  last_inbound_at timestamptz not null,
  primary key (address_id, channel_id)
);
