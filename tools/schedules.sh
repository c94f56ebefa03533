#!/usr/bin/env bash
# Runs the journal's concurrent code, and subscribers over it, under a scheduler that chooses which thread goes next, by a seed: no
# lost wake-up, no acknowledgement before its flush, no event left out, no deadlock. See journal/tests/schedules.rs and tests/schedules.rs.
#
#   tools/schedules.sh                               the gate's run
#   MNEMOSYNE_SCHEDULES=50000 tools/schedules.sh     a long one
#   MNEMOSYNE_SEED=7 tools/schedules.sh closing      other schedules, one test
#
# A build of its own, since the flag is in every crate: target/schedules.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export RUSTFLAGS="--cfg shuttle" CARGO_TARGET_DIR=target/schedules
export CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_DEV_OPT_LEVEL=1
exec cargo test --test schedules -p mnemosyne-journal -p mnemosyne -- --nocapture "$@"
