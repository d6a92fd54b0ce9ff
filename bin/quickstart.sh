#!/usr/bin/env bash
# Builds both servers, starts them on fresh directories, sends three messages through a new topic, shows where
# everything is, and leaves both running until Ctrl-C. QUICKSTART_ZOOKEEPER_PORT, QUICKSTART_BROKER_PORT and
# QUICKSTART_DIR choose other places; QUICKSTART_ONCE=1 ends after the show.
set -euo pipefail
. "$(dirname "$0")/binaries.sh"

zookeeper_port=${QUICKSTART_ZOOKEEPER_PORT:-2181}
broker_port=${QUICKSTART_BROKER_PORT:-9092}
directory=${QUICKSTART_DIR:-${CARGO_TARGET_DIR:-$base_dir/target}/quickstart}
broker=localhost:$broker_port
zookeeper=localhost:$zookeeper_port
zookeeper_pid= broker_pid=

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
show() { printf '  $ %s\n' "$*"; }
listening() { (exec 3<>"/dev/tcp/localhost/$1") 2>/dev/null; }

stop() {
  trap - EXIT INT TERM
  # The broker first: it says goodbye to ZooKeeper.
  for pid in $broker_pid $zookeeper_pid; do
    kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true
  done
  printf '\nBoth are stopped. Their data is still in %s.\n' "$directory"
}

# start NAME PORT COMMAND...: in the background, until it listens; its pid is in $started.
start() {
  local name=$1 port=$2
  shift 2
  if listening "$port"; then
    echo "port $port is taken: stop what listens there, or choose another with QUICKSTART_${name^^}_PORT" >&2
    exit 1
  fi
  "$@" >"$directory/$name.out" 2>&1 &
  started=$!
  for _ in $(seq 500); do
    listening "$port" && return
    if ! kill -0 "$started" 2>/dev/null; then
      break
    fi
    sleep 0.02
  done
  echo "$name did not start; the end of $directory/$name.out:" >&2
  tail -n 20 "$directory/$name.out" >&2
  exit 1
}

say "Building"
show cargo build --release
cargo build --release --manifest-path "$base_dir/Cargo.toml"

rm -rf "$directory"
mkdir -p "$directory"
sed -e "s|^dataDir=.*|dataDir=$directory/zookeeper|" -e "s|^clientPort=.*|clientPort=$zookeeper_port|" \
  "$base_dir/config/zookeeper.properties" >"$directory/zookeeper.properties"
# Jobs in groups of their own: Ctrl-C reaches this script only, which stops them in order.
set -m
trap stop EXIT
trap 'exit 130' INT TERM

say "Starting the ZooKeeper server, then the broker"
start zookeeper "$zookeeper_port" "$binary_dir/zk-server" "$directory/zookeeper.properties"
zookeeper_pid=$started
start broker "$broker_port" "$binary_dir/broker" "$base_dir/config/server.properties" \
  --override "log.dirs=$directory/kafka-logs" --override "zookeeper.connect=$zookeeper" \
  --override "listeners=PLAINTEXT://localhost:$broker_port"
broker_pid=$started

# run SCRIPT WORDS...: shows a command of bin/ and runs it.
run() {
  show "./bin/$*"
  local script=$1
  shift
  "$base_dir/bin/$script" "$@"
}

say "Creating a topic"
run kafka-topics.sh --create --topic quickstart --bootstrap-server "$broker" --partitions 1
run kafka-topics.sh --describe --topic quickstart --bootstrap-server "$broker"

say "Sending three messages"
show "printf 'hello\\nfrom\\nTandem\\n' | ./bin/kafka-console-producer.sh --broker-list $broker --topic quickstart"
printf 'hello\nfrom\nTandem\n' |
  "$base_dir/bin/kafka-console-producer.sh" --broker-list "$broker" --topic quickstart

say "Reading them"
run kafka-console-consumer.sh --bootstrap-server "$broker" --topic quickstart --from-beginning --max-messages 3

say "What the broker wrote into ZooKeeper"
run zookeeper-shell.sh "$zookeeper" get /brokers/topics/quickstart

say "Where everything is"
cat <<EOF
  ZooKeeper server  port $zookeeper_port, pid $zookeeper_pid, $(awk '/VmRSS/ {printf "%.1f MB", $2 / 1024}' "/proc/$zookeeper_pid/status") of memory
    data            $directory/zookeeper/version-2
    log             $directory/zookeeper.out
  Broker            port $broker_port, pid $broker_pid, $(awk '/VmRSS/ {printf "%.1f MB", $2 / 1024}' "/proc/$broker_pid/status") of memory
    data            $directory/kafka-logs/quickstart-0
    log             $directory/broker.out
EOF

if [ "${QUICKSTART_ONCE:-}" = 1 ]; then
  exit 0
fi
say "Both keep running until Ctrl-C. Try, in another terminal:"
show "./bin/kafka-console-consumer.sh --bootstrap-server $broker --topic quickstart --from-beginning"
show "./bin/kafka-console-producer.sh --broker-list $broker --topic quickstart"
trap 'exit 0' INT TERM
wait "$broker_pid" "$zookeeper_pid"
