#!/usr/bin/env bash
. "$(dirname "$0")/binaries.sh"
if [ $# -lt 1 ]; then
  echo "USAGE: $0 [-daemon] zookeeper.properties" >&2
  exit 1
fi
if [ "$1" = -daemon ]; then
  daemon=1
  shift
fi
need_binary zk-server
run_server zookeeper zk-server "$@"
