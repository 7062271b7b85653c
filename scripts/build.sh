#!/usr/bin/env bash
# Configures and builds one preset.
#   scripts/build.sh [PRESET] [TARGET...]      default: cpu, everything
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
scripts/setup.sh build

preset=${1:-cpu}
targets=("${@:2}")
say "Configuring ($preset)"
cmake --preset "$preset" --log-level=WARNING
say "Building ($preset) with $(nproc) jobs"
cmake --build --preset "$preset" -j "$(nproc)" ${targets[0]:+--target "${targets[@]}"}
