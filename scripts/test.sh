#!/usr/bin/env bash
# Sets up, builds and runs every test of one preset; ends with the runner's summary.
#   scripts/test.sh [PRESET] [CTEST ARGUMENTS...]      default: cpu
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
preset=${1:-cpu}
scripts/build.sh "$preset"
say "Testing ($preset)"
ctest --preset "$preset" --no-tests=error -j "$(nproc)" "${@:2}"
