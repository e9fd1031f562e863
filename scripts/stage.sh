# shellcheck shell=bash
# What `make demo` and `make up` share: a department's database that Switchboard does not own, Switchboard and the simulator that
# know of each other. Sourced after lib.sh and processes.sh; nothing happens until a function is called.

# What the simulator expects of a caller; the server finds its secrets under these names.
export WHATSAPP_TOKEN=simulated-meta-token WHATSAPP_APP_SECRET=simulated-app-secret
export WHATSAPP_VERIFY_TOKEN=simulated-verify-token TWILIO_TOKEN=simulated-auth-token

# build_programs: all programs of the stage, and where they are (BIN). SWITCHBOARD_BIN names a folder with programs that are
# built already.
build_programs() {
  BIN=${SWITCHBOARD_BIN:-}
  [ -z "$BIN" ] || return 0
  say "building (the first time takes some minutes)"
  (cd "$ROOT" && SQLX_OFFLINE=true cargo build --locked --bin switchboard --bin switchboard-simulator --bin switchboard-cli \
    --bin switchboard-demo </dev/null)
  BIN=$(programs)
}

# choose_ports GRPC HTTP SIMULATOR: the wishes, or the next ones that nobody has.
choose_ports() {
  mkdir -p "$LOCAL/locks"
  GRPC_PORT=$(port_for "$PROCESSES/grpc.port" "$1")
  HTTP_PORT=$(port_for "$PROCESSES/http.port" "$2")
  SIMULATOR_PORT=$(port_for "$PROCESSES/simulator.port" "$3")
}

# url_as URL ROLE PASSWORD DATABASE: the same server for another role in another database.
url_as() { printf '%s\n' "$1" | sed -E "s#^([a-z]+://)([^@/?]*@)?([^/?]*)(/[^?]*)?#\1$2:$3@\3/$4#"; }

# url_of URL DATABASE: the same server and role, another database.
url_of() { printf '%s\n' "$1" | sed -E "s#^([a-z]+://[^/?]*)(/[^?]*)?#\1/$2#"; }

# run_sql URL SQL: psql that stops at the first error and reads nothing but this.
run_sql() { PGOPTIONS='' psql -X -q -A -t -v ON_ERROR_STOP=1 -d "$1" -c "$2" </dev/null; }

# show_sql URL TITLE SQL: shows a script and runs it.
show_sql() {
  say "$2"
  printf '%s\n' "$3" | sed 's/^/    /' >&2
  run_sql "$1" "$3"
}

# make_role ADMIN ROLE PASSWORD: a role that may log in.
make_role() {
  [ -n "$(run_sql "$1" "select 1 from pg_roles where rolname = '$2'")" ] || run_sql "$1" "create role $2"
  run_sql "$1" "alter role $2 login password '$3'"
}

# department ADMIN_URL DATABASE OFFICE_ROLE SWITCHBOARD_ROLE: the department's database with its table, by a role of its own, and
# what Switchboard may do there. Sets OFFICE_URL and SOURCE_URL. Keeps what is there.
department() {
  local admin=$1 database=$2 office=$3 guest=$4 password
  password=$(head -c 12 /dev/urandom | od -An -tx1 | tr -d ' \n')
  OFFICE_URL=$(url_as "$admin" "$office" "$password" "$database")
  SOURCE_URL=$(url_as "$admin" "$guest" "$password" "$database")
  make_role "$admin" "$office" "$password"
  make_role "$admin" "$guest" "$password"
  if [ -z "$(run_sql "$admin" "select 1 from pg_database where datname = '$database'")" ]; then
    # Who is no superuser may give a database away to roles of which it is a member only.
    run_sql "$admin" "grant $office to current_user" 2>/dev/null || true
    run_sql "$admin" "create database $database owner $office"
  fi
  [ -z "$(run_sql "$OFFICE_URL" "select 1 from pg_tables where tablename = 'grievances'")" ] || return 0
  show_sql "$OFFICE_URL" "the department's own table, in a database that belongs to its role $office:" "\
create table grievances (
  id         bigint generated always as identity primary key,
  number     text not null unique,
  citizen_id text not null,
  citizen    text not null,
  phone      text,
  email      text,
  language   text not null default 'en',
  subject    text not null,
  status     text not null default 'open',
  written_at timestamptz not null default now()
);"
  show_sql "$OFFICE_URL" "what Switchboard's role may do there, granted by the owner, and nothing else:" "\
grant connect, create on database $database to $guest;  -- create: a schema of its own for captured rows
grant usage on schema public to $guest;
grant trigger on grievances to $guest;                  -- the watch
grant select on grievances to $guest;                   -- dry runs, replays and audiences"
}

# start_switchboard: with all roles; expects DATABASE, BROKER, SOURCE_URL and the ports.
start_switchboard() {
  start_process switchboard env DATABASE_URL="$DATABASE" AMQP_URL="$BROKER" DEMO_SOURCE_URL="$SOURCE_URL" \
    SWITCHBOARD__GRPC__LISTEN="127.0.0.1:$GRPC_PORT" SWITCHBOARD__HTTP__LISTEN="127.0.0.1:$HTTP_PORT" \
    SWITCHBOARD__HTTP__SPOOL_DIR="$PROCESSES/spool" SWITCHBOARD__FILES__PLACE="$PROCESSES/files" SWITCHBOARD__DEFAULTS__DEFAULT_COUNTRY=IN \
    "$BIN/switchboard" all
  wait_until_healthy switchboard "http://127.0.0.1:$HTTP_PORT/readyz"
}

# start_simulator: after the channels are known, since their webhooks are what it calls.
start_simulator() {
  local addresses META_WEBHOOK='' SMS_WEBHOOK=''
  addresses=$("$BIN/switchboard-demo" channels) || die "the channels could not be created, the cause is above"
  eval "$(printf '%s\n' "$addresses" | grep -E '^(META|SMS)_WEBHOOK=http://[a-zA-Z0-9.:/_-]+$')"
  [ -n "$META_WEBHOOK" ] && [ -n "$SMS_WEBHOOK" ] || die "the channels have no webhook addresses: $addresses"
  start_process switchboard-simulator "$BIN/switchboard-simulator" --listen "127.0.0.1:$SIMULATOR_PORT" \
    --meta-webhook "$META_WEBHOOK" --sms-webhook "$SMS_WEBHOOK"
  wait_until_healthy switchboard-simulator "http://127.0.0.1:$SIMULATOR_PORT/control/health"
}

# addresses: what switchboard-demo and switchboard-cli must know, exported. MAIL is the URL of the SMTP server.
addresses() {
  export SWITCHBOARD_SERVER=http://127.0.0.1:$GRPC_PORT SIMULATOR_URL=http://127.0.0.1:$SIMULATOR_PORT
  export SMTP_PORT=${MAIL##*:} DEMO_OFFICE_URL=$OFFICE_URL DEMO_MAILBOX=$LOCAL/$INSTANCE/smtp/received
}
