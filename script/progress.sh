# Sourced by scripts that run something long: a sign of life now and then, and an end for what stands still.

# Without a new byte of output for this long (seconds) it stands still. On an overloaded machine one test takes many minutes.
STILL=${MAINSTAY_STILL:-3600}
# A sign of life comes so often (seconds).
SIGN_EVERY=${MAINSTAY_SIGN_EVERY:-30}

# watched NAME LOG COMMAND…: runs it in a process group of its own with its output in LOG. While it runs, a line now and then says
# for how long it has and what it wrote last. If this script is ended (Ctrl-C, SIGTERM), all that it started is.
watched() {
  watched_name=$1 watched_log=$2
  shift 2
  : >"$watched_log"
  setsid "$@" >"$watched_log" 2>&1 </dev/null &
  watched_pid=$!
  trap 'kill -s TERM -- "-$watched_pid" 2>/dev/null; wait "$watched_pid"; exit 130' INT TERM HUP
  watched_began=$(date +%s) watched_size=0 watched_grew=$(date +%s) watched_said=$(date +%s)
  # An ended process is a zombie until it is waited for.
  while [ -e "/proc/$watched_pid" ] && ! grep -q '^State:.*Z' "/proc/$watched_pid/status" 2>/dev/null; do
    sleep 1
    watched_now=$(date +%s) watched_new=$(wc -c <"$watched_log")
    [ "$watched_new" = "$watched_size" ] || watched_size=$watched_new watched_grew=$watched_now
    if [ $((watched_now - watched_grew)) -ge "$STILL" ]; then
      printf '%s: no output for %s s: it is ended\n' "$watched_name" "$STILL"
      kill -s TERM -- "-$watched_pid" 2>/dev/null
      sleep 10
      kill -s KILL -- "-$watched_pid" 2>/dev/null
    elif [ $((watched_now - watched_said)) -ge "$SIGN_EVERY" ]; then
      watched_said=$watched_now
      printf '%s: … %s s: %s\n' "$watched_name" $((watched_now - watched_began)) "$(last_line "$watched_log")"
    fi
  done
  wait "$watched_pid"
  watched_status=$?
  trap - INT TERM HUP
  return "$watched_status"
}

# The last line of a log that says something, short enough for a terminal; of a build also how far it has come.
last_line() {
  built=$(grep -c '^ *Compiling ' "$1")
  line=$(tail -n 40 "$1" | tr '\r' '\n' | grep -v '^ *$' | tail -n 1 | cut -c 1-100)
  [ "$built" -gt 0 ] && printf '%s crates, ' "$built"
  printf '%s' "${line:-no output yet}"
}
