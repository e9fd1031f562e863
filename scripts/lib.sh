# shellcheck shell=bash
# What all scripts share: saying what happens, folders, ports and locks of private instances, and daemons that outlive us.
# Sourced, never run. Messages go to standard error, so that standard output holds only what a caller may want to capture.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
LOCAL=$ROOT/.local
INSTANCE=${INSTANCE:-main}
# rustup puts cargo here without telling shells that were started before it.
command -v cargo >/dev/null || PATH=$PATH:${CARGO_HOME:-${HOME:-/root}/.cargo}/bin

# say TEXT: one line about what is being done.
say() { printf '%s\n' "$*" >&2; }

# die TEXT...: the cause and the remedy, then the end.
die() {
  printf 'error: %s\n' "$1" >&2
  shift
  [ $# = 0 ] || printf '       %s\n' "$@" >&2
  exit 1
}

# progress TEXT COMMAND...: runs a command with its output kept in a log, shows that time passes, and prints the log if it fails.
progress() {
  local text=$1 log began=$SECONDS status=0 pid
  shift
  log=$(mktemp)
  "$@" >"$log" 2>&1 </dev/null &
  pid=$!
  if [ -t 2 ]; then
    while kill -0 "$pid" 2>/dev/null; do
      printf '\r%s ... %d s ' "$text" $((SECONDS - began)) >&2
      sleep 0.2
    done
    printf '\r\033[K' >&2
  fi
  wait "$pid" || status=$?
  if [ "$status" = 0 ]; then
    say "$text: done in $((SECONDS - began)) s"
  else
    say "$text: FAILED after $((SECONDS - began)) s"
    sed 's/^/  | /' "$log" >&2
  fi
  rm -f "$log"
  return "$status"
}

# instance_folder SERVICE: the folder of this instance's service, made when it is missing.
instance_folder() {
  [[ $INSTANCE =~ ^[a-z0-9][a-z0-9-]{0,62}$ ]] \
    || die "INSTANCE=$INSTANCE is not a name for an instance" "Use small letters, digits and hyphens, at most 63 of them."
  local folder=$LOCAL/$INSTANCE/$1
  mkdir -p "$folder" 2>/dev/null \
    || die "cannot create $folder" "If an earlier run was made by another user (root?), run as that user, or remove $LOCAL as that user."
  printf '%s\n' "$folder"
}

# is_for_tests: may this instance give up safety against a crash of the machine for speed?
is_for_tests() { case $INSTANCE in test | test-*) return 0 ;; *) return 1 ;; esac; }

# take_lock NAME: one caller at a time for an instance's service; held until this script ends (file descriptor 9).
take_lock() {
  mkdir -p "$LOCAL/locks"
  exec 9>>"$LOCAL/locks/$1" || die "cannot write $LOCAL/locks/$1" "It probably belongs to another user; remove $LOCAL as that user."
  flock -w 180 9 || die "another process has been starting or stopping $1 for three minutes"
}

# taken PORT: does anything listen on it, on whatever address? Read from the kernel: connecting would disturb the listener.
taken() {
  local hex
  hex=$(printf ':%04X' "$1")
  cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v port="$hex" '$4 == "0A" && substr($2, length($2) - 4) == port { found = 1 } END { exit !found }'
}

# port_for FILE WISH: the port remembered in FILE, or the first one from WISH on that is neither in use nor remembered by
# another instance of this checkout. Asked for only while our own server does not run: a listener is then somebody else's.
port_for() {
  local file=$1 port=$2 remembered
  (
    exec 8>>"$LOCAL/locks/ports"
    flock -w 30 8
    remembered=$(cat "$file" 2>/dev/null) || true
    if [ -n "$remembered" ] && ! taken "$remembered"; then printf '%s\n' "$remembered" && return; fi
    while taken "$port" || grep -qxs "$port" "$LOCAL"/*/*/*.port; do port=$((port + 1)); done
    printf '%s\n' "$port" | tee "$file"
  )
}

# short_id TEXT: eight hexadecimal digits that stand for a text, for names that must be short.
short_id() { printf %s "$1" | sha256sum | cut -c1-8; }

# close_inherited: drops every descriptor above standard error, so that a daemon keeps neither our lock nor a caller's pipe.
close_inherited() {
  local entry number
  for entry in /proc/"$BASHPID"/fd/*; do
    number=${entry##*/}
    if [ "$number" -gt 2 ] && [ "$number" != 255 ]; then eval "exec $number>&-"; fi
  done
}

# detached LOG COMMAND...: starts a command in a session of its own and prints its process id.
detached() {
  local log=$1
  shift
  (
    close_inherited
    exec setsid "$@" >>"$log" 2>&1 </dev/null
  ) >/dev/null &
  printf '%s\n' "$!"
}

# wait_for SECONDS COMMAND...: until the command succeeds.
wait_for() {
  local until=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$until" ] || return 1
    sleep 0.1
  done
}

# alive PID: does it run? A zombie does not, unless threads of it are still ending: until then its ports are taken.
alive() {
  local threads
  [ -n "$1" ] && [ -r "/proc/$1/stat" ] || return 1
  threads=("/proc/$1/task"/*)
  ! grep -qs '^State:[[:space:]]*Z' "/proc/$1/status" || [ "${#threads[@]}" -gt 1 ]
}

# ended PID...: none of them is alive. Asked by id, since what else tells a process of ours vanishes before its ports do.
ended() {
  local pid
  for pid in "$@"; do ! alive "$pid" || return 1; done
}

# end_by SIGNAL SECONDS PID...: sends the signal and waits for the end.
end_by() {
  local signal=$1 seconds=$2
  shift 2
  [ $# -gt 0 ] || return 0
  kill "-$signal" "$@" 2>/dev/null || true
  wait_for "$seconds" ended "$@"
}
