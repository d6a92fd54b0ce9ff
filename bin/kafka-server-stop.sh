#!/usr/bin/env bash
. "$(dirname "$0")/binaries.sh"
stop_servers broker kafka
