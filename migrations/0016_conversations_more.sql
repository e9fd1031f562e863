-- Conversations meet the world outside: tickets that are closed before they are opened, visitors who sign in, controllers that take
-- turns.

-- A ticket that was closed before its order was heard of: it is closed when it is ordered.
create table parked_ticket (
  conversation_id uuid not null,
  ticket          uuid not null,                               -- the nil UUID: whichever is ordered first
  outcome         text not null,                               -- how it ended, in a word
  parked_at       timestamptz not null default clock_timestamp(),
  primary key (conversation_id, ticket)
);
create index parked_ticket_by_age on parked_ticket (parked_at);

-- What was ever ordered in a conversation: whether a ticket that is closed was closed before.
create index outside_order_by_conversation on outside_order (conversation_id);

-- The sessions of a contact who turns out to be another one, or is deleted.
create index web_chat_session_by_contact on web_chat_session (contact_id);

-- Which of several controllers answers an intent first: the lower position, then the older one.
alter table controller add position smallint not null default 0 check (position between 0 and 1000);
alter table controller_inbox add position smallint not null default 0;
drop index controller_inbox_order;
create index controller_inbox_order on controller_inbox (conversation_id, number, position, controller_id);
