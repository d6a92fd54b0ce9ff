#!/usr/bin/env bash
. "$(dirname "$0")/binaries.sh"
need_binary tandem
exec "$binary_dir/tandem" console-producer "$@"
