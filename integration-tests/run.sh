#!/usr/bin/env bash
# Runs the named parts of the tests one after the other, tells how each went and how long it took, and fails at the
# end if any failed. Output of each part goes to target/test-logs/PART.log and, if it failed, to the terminal.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
logs=${CARGO_TARGET_DIR:-target}/test-logs
mkdir -p "$logs"
cargo=${CARGO:-cargo}
export RUST_BACKTRACE=${RUST_BACKTRACE:-0}

run_part() {
    case $1 in
    build) $cargo build --release ;;
    peers) ./integration-tests/peers/install.sh ;;
    unit)
        $cargo test --workspace --exclude integration-tests --no-fail-fast &&
            $cargo test -p integration-tests --lib ;;
    tidy) $cargo test -p integration-tests --test tidy ;;
    # These start JVMs; more of them at once than cores only makes each miss its deadlines.
    tutorial | zookeeper | broker | mixed | crash)
        $cargo test -p integration-tests --test "$1" -- --test-threads="${TANDEM_TEST_THREADS:-1}" ;;
    soak)
        TANDEM_SOAK_ROUNDS=${TANDEM_SOAK_ROUNDS:-200} \
            $cargo test -p integration-tests --test crash -- --test-threads=1 --include-ignored &&
            $cargo test -p integration-tests --test broker -- --test-threads=1 --ignored spoiled:: early_stop:: &&
            TANDEM_ROUNDS=${TANDEM_ROUNDS:-500} TANDEM_FUZZ_ROUNDS=${TANDEM_FUZZ_ROUNDS:-100000} \
                PROPTEST_CASES=${PROPTEST_CASES:-20000} \
                $cargo test --workspace --exclude integration-tests --release ;;
    *) echo "there is no part called $1" >&2; return 2 ;;
    esac
}

failed=()
summary=
begin=$SECONDS
for part in "$@"; do
    start=$SECONDS
    printf '%-12s ' "$part"
    if run_part "$part" >"$logs/$part.log" 2>&1; then
        verdict=ok
    else
        verdict=FAILED
        failed+=("$part")
    fi
    counts=$(awk '/^test result:/ { passed += $4; failed += $6 } END { if (passed + failed) printf "%d passed, %d failed", passed, failed }' "$logs/$part.log")
    line=$(printf '%-7s %4d s  %s' "$verdict" $((SECONDS - start)) "$counts")
    echo "$line"
    summary+=$(printf '%-12s %s' "$part" "$line")$'\n'
    if [ "$verdict" = FAILED ]; then
        echo "--- the end of $logs/$part.log"
        tail -n "${TANDEM_TAIL:-150}" "$logs/$part.log"
        echo "---"
        # Without binaries or peers nothing that follows can succeed.
        case $part in build | peers) break ;; esac
    fi
done
if [ ${#failed[@]} -gt 0 ]; then
    printf '\n%s\nfailed: %s\n' "$summary" "${failed[*]}"
    exit 1
fi
printf 'all passed in %d s\n' $((SECONDS - begin))
