# shellcheck shell=bash
# Switchboard's own programs in the background, with logs and process ids in .local/<instance>/processes. Sourced after lib.sh.

PROCESSES=$(instance_folder processes)

# programs: the folder of the built programs.
programs() { printf '%s/debug\n' "$(cd "$ROOT" && cargo metadata --format-version 1 --no-deps --offline </dev/null | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')"; }

# process_of NAME: the id of the program, if it runs and is ours. Ids are used again: the environment must carry our mark.
process_of() {
  local pid
  pid=$(cat "$PROCESSES/$1.pid" 2>/dev/null) || return 1
  alive "$pid" && grep -qzxsF "SWITCHBOARD_STARTED_BY=$PROCESSES/$1" "/proc/$pid/environ" && printf '%s\n' "$pid"
}

# start_process NAME COMMAND...: in the background, with a log of its own; KEEP_LOG=yes goes on in the log of the run before.
start_process() {
  local name=$1
  shift
  [ "${KEEP_LOG:-}" = yes ] || : >"$PROCESSES/$name.log"
  detached "$PROCESSES/$name.log" env "SWITCHBOARD_STARTED_BY=$PROCESSES/$name" "$@" >"$PROCESSES/$name.pid"
  # Its mark shows once env has become the program; before, it would be taken for somebody else's.
  wait_for 30 marked_or_gone "$name" || true
}

# marked_or_gone NAME: what was started carries our mark, or ended before it could.
marked_or_gone() { process_of "$1" >/dev/null || ! alive "$(cat "$PROCESSES/$1.pid")"; }

process_ended() { ! process_of "$1" >/dev/null; }

# stop_process NAME: in order, and if that takes longer than 30 seconds, at once.
stop_process() {
  local pid
  pid=$(process_of "$1") || return 0
  say "stopping $1"
  end_by TERM 30 "$pid" || {
    say "$1 does not stop in 30 s: ending it"
    end_by KILL 10 "$pid"
  }
  rm -f "$PROCESSES/$1.pid"
}

healthy_or_ended() { curl -fsS -m 2 -o /dev/null "$2" || process_ended "$1"; }

# wait_until_healthy NAME URL: until the program answers there; its log is shown when it ends or does not answer within a minute.
wait_until_healthy() {
  wait_for 60 healthy_or_ended "$1" "$2" || true
  if process_ended "$1" || ! curl -fsS -m 2 -o /dev/null "$2"; then
    tail -n 30 "$PROCESSES/$1.log" >&2
    die "$1 does not answer at $2, its log is above"
  fi
}
