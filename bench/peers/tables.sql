drop table if exists orders_plain, orders_note, orders_post;

create table orders_plain (id bigint generated always as identity primary key, customer text not null, total numeric not null);

create table orders_note (like orders_plain including all);

create table orders_post (like orders_plain including all);

create or replace function order_as_job() returns trigger language plpgsql as $$
begin
  perform graphile_worker.add_job(tg_argv[0], json_build_object('to', new.customer, 'total', new.total));
  return null;
end $$;

create trigger orders_note_job after insert on orders_note for each row execute function order_as_job('note');

create trigger orders_post_job after insert on orders_post for each row execute function order_as_job('post');
