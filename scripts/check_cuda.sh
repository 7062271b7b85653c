#!/usr/bin/env bash
# Compiles every CUDA kernel with nvcc for every architecture and checks that none spills. Without an nvcc it says so.
#   scripts/check_cuda.sh [FILE]      writes registers and spills of every kernel to FILE as a table
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
nvcc=$(command -v nvcc || command -v /usr/local/cuda/bin/nvcc || true)
if [ -z "$nvcc" ]; then
  say "No nvcc here: CUDA kernels were compiled for the emulated device only"
  exit 0
fi
trap 'cmake --preset cpu --log-level=WARNING -DMETTLE_CHECK_NVCC=OFF' EXIT
cmake --preset cpu --log-level=WARNING -DMETTLE_CHECK_NVCC=ON
cmake --build --preset cpu -j "$(nproc)" --target cuda_resources_test
METTLE_RESOURCES=${1:+$(realpath -m "$1")} ctest --preset cpu -R '^cuda_resources_test$' --no-tests=error
