-- What operation needs: keys that a deployment makes for itself, and the age of rows that are removed when they are old.

-- Random keys that all processes of a deployment share and that guard nothing but our own links.
create table deployment_key (
  name       text primary key,
  value      bytea not null,
  created_at timestamptz not null default clock_timestamp()
);

-- Rows come in order of time, so a block range index finds the old ones and costs the writers nothing.
create index provider_ref_by_age on provider_ref using brin (created_at);
create index inbound_ref_by_age on inbound_ref using brin (received_at);
create index receipt_orphan_by_age on receipt_orphan using brin (given_up_at);
