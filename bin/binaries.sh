# Sourced by the scripts beside it: where the release binaries are, and how to build them when they are missing.

base_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
binary_dir=${CARGO_TARGET_DIR:-$base_dir/target}/release

# need_binary NAME: builds the release binaries if NAME is not there yet.
need_binary() {
  [ -x "$binary_dir/$1" ] && return
  if ! command -v cargo >/dev/null; then
    echo "$binary_dir/$1 is missing and cargo is not installed: install Rust, or build on another machine" >&2
    exit 1
  fi
  echo "building the release binaries first (once, a few minutes)" >&2
  cargo build --release --manifest-path "$base_dir/Cargo.toml" >&2 || exit 1
}

# run_server DAEMON_NAME BINARY ARGS...: in the foreground, or with daemon=1 in the background
# with its output in logs/DAEMON_NAME.out, where the stock scripts put it.
run_server() {
  local name=$1 binary=$binary_dir/$2
  shift 2
  if [ "${daemon:-}" = 1 ]; then
    local log_dir=${LOG_DIR:-$base_dir/logs}
    mkdir -p "$log_dir" || exit 1
    nohup setsid "$binary" "$@" >"$log_dir/$name.out" 2>&1 </dev/null &
  else
    exec "$binary" "$@"
  fi
}

# server_pids BINARY: the running processes of this checkout's BINARY.
server_pids() {
  local want link pid
  want=$(readlink -f "$binary_dir/$1") || return 0
  for link in /proc/[0-9]*/exe; do
    [ "$(readlink "$link" 2>/dev/null)" = "$want" ] || continue
    pid=${link#/proc/}
    echo "${pid%/exe}"
  done
}

# stop_servers BINARY WHAT: signals them all, as the stock scripts do.
stop_servers() {
  local pids
  pids=$(server_pids "$1")
  if [ -z "$pids" ]; then
    echo "No $2 server to stop"
    exit 1
  fi
  # Unquoted on purpose: one pid a word.
  kill -s "${SIGNAL:-TERM}" $pids
}
