#!/usr/bin/env bash
# Runs fuzz targets, all or those named, each for TANDEM_FUZZ_SECONDS (60), two side by side. Needs a nightly compiler and cargo-fuzz.
# What is found is kept in fuzz/artifacts; the corpus in fuzz/corpus starts from files that Apache's broker wrote.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
seconds=${TANDEM_FUZZ_SECONDS:-60}
golden=../broker/tests/golden/log

# The bytes of numbers, and a file with its length in two bytes before it.
bytes() { local byte; for byte in "$@"; do printf "\\x$(printf %02x "$byte")"; done; }
sized() {
    local length=0
    [ ! -f "$1" ] || length=$(stat -c %s "$1")
    bytes $((length % 256)) $((length / 256))
    [ ! -f "$1" ] || cat "$1"
}

# A directory of a partition in the form that src/lib.rs takes apart.
directory() {
    local form=$1 offsets=$2 dir=$3 name
    bytes "$form" "$offsets"
    for name in 0.log 0.index 0.timeindex 0.txnindex 96.log 96.index 96.timeindex 96.txnindex 96.snapshot 166.snapshot; do
        sized "$dir/$(printf %020d "${name%%.*}").${name#*.}"
    done
    sized "$dir/leader-epoch-checkpoint"
    sized "$dir/partition.metadata"
}

# The batches of a file, one a file.
batches() {
    local file=$1 to=$2 size at=0 length
    size=$(stat -c %s "$file")
    while [ $((at + 12)) -le "$size" ]; do
        length=$(od -An -tu4 --endian=big -j $((at + 8)) -N 4 "$file")
        tail -c +$((at + 1)) "$file" | head -c $((length + 12)) >"$to-$at"
        at=$((at + length + 12))
    done
}

hex() { local text=$1; printf "$(printf %s "$text" | sed 's/../\\x&/g')"; }

seeds() {
    local dir file target form number=0
    for target in "${targets[@]}"; do mkdir -p "corpus/$target"; done
    for dir in unclean recovered; do
        for form in 0 1 2 3 5 9 17 33 97; do
            for target in partition_dir cleaner; do
                [ ! -d corpus/$target ] || directory "$form" 255 "$golden/$dir/mix-0" >"corpus/$target/$dir-$form"
            done
        done
        for file in "$golden/$dir"/mix-0/*; do
            case $file in
            *.log)
                [ ! -d corpus/batch ] || batches "$file" "corpus/batch/$dir-$(basename "$file")"
                [ ! -d corpus/produced ] || batches "$file" "corpus/produced/$dir-$(basename "$file")"
                ;;
            *checkpoint | *.metadata) [ ! -d corpus/checkpoints ] || cp "$file" "corpus/checkpoints/$dir-$(basename "$file")" ;;
            esac
            case $file in *.index) form=0 ;; *.timeindex) form=1 ;; *.txnindex) form=2 ;; *.snapshot) form=3 ;; *) continue ;; esac
            [ ! -d corpus/indexes ] || { bytes $form; cat "$file"; } >"corpus/indexes/$dir-$(basename "$file")"
        done
    done
    if [ -d corpus/checkpoints ]; then
        cp "$golden/unclean/meta.properties" corpus/checkpoints/
        printf '0\n2\na-b 0 5\nt 1 7\n' >corpus/checkpoints/offsets
    fi
    # A batch that was sent begins with what to do with it.
    if [ -d corpus/produced ]; then
        for file in corpus/produced/*.log-*; do
            for form in 0 65 130 3 4 5; do { bytes $form 0; cat "$file"; } >"$file-$form"; done
            rm "$file"
        done
    fi
    if [ -d corpus/group_records ]; then
        while IFS=$'\t' read -r _ key value; do
            number=$((number + 1))
            [ ${#key} -lt 500 ] && [ ${#value} -lt 500 ] || continue
            {
                bytes $((${#key} / 2))
                hex "$key"
                # 255 is no value.
                if [ "$value" = null ]; then bytes 255; else bytes $((${#value} / 2)); hex "$value"; fi
            } >"corpus/group_records/$number"
        done <../broker/src/coordinator/group/golden/consumer_offsets.tsv
    fi
}

cargo +nightly fuzz build
mapfile -t targets < <(cargo +nightly fuzz list)
[ $# -eq 0 ] || targets=("$@")
seeds
running=()
for target in "${targets[@]}"; do
    while [ "$(jobs -rp | wc -l)" -ge 2 ]; do sleep 1; done
    echo "$target, $seconds s"
    # No input of these sizes needs more memory or time.
    cargo +nightly fuzz run "$target" -- -max_total_time="$seconds" -max_len=16384 -rss_limit_mb=3000 -timeout=60 \
        -print_final_stats=1 >"target/$target.log" 2>&1 || { echo "$target FAILED: fuzz/target/$target.log"; exit 1; } &
    running+=($!)
done
failed=0
for job in "${running[@]}"; do wait "$job" || failed=1; done
exit $failed
