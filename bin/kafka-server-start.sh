#!/usr/bin/env bash
. "$(dirname "$0")/binaries.sh"
if [ $# -lt 1 ]; then
  echo "USAGE: $0 [-daemon] server.properties [--override property=value]*" >&2
  exit 1
fi
if [ "$1" = -daemon ]; then
  daemon=1
  shift
fi
need_binary broker
run_server kafkaServer broker "$@"
