#!/usr/bin/env bash
# Tests and measures Mettle on this machine's first GPU and writes what it finds. Needs an NVIDIA driver; takes
# compute-sanitizer and a Python with PyTorch where they are. From the bundle of gpu_bundle.sh, in any folder:
#   ./gpu_report.sh [--out FOLDER] [STEP...]
# Steps: conformance operations kernels memcheck racecheck synccheck initcheck bench peers summary (default: all). A
# step that ended well is not run again with the same --out; each ends by itself within 8 minutes.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
all=(conformance operations kernels memcheck racecheck synccheck initcheck bench peers summary)
out=gpu-report
steps=()
while [ $# -gt 0 ]; do
  case $1 in
    --out) out=${2:?--out needs a folder}; shift 2 ;;
    -h | --help) sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    *)
      printf '%s\n' "${all[@]}" | grep -qx -- "$1" || { echo "error: no step '$1'; there are: ${all[*]}" >&2; exit 2; }
      steps+=("$1"); shift ;;
  esac
done
[ ${#steps[@]} -gt 0 ] || steps=("${all[@]}")
mkdir -p "$out" || exit 2
export LD_LIBRARY_PATH=$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} OMP_WAIT_POLICY=passive
bin=$here/bin
sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)
# What the sanitizers look at: every kernel family once, with the small shapes; they slow kernels down a hundred times.
sanitized='*NullOutputs*:*Empty*:*Oracle*'

if ! command -v nvidia-smi >/dev/null || ! nvidia-smi -L | grep -q GPU; then
  echo "error: no GPU here: nvidia-smi finds none" >&2
  exit 2
fi
nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm --format=csv >"$out/device.csv"
cp "$here/commit" "$out/commit"
date -u +%Y-%m-%dT%H:%MZ >"$out/date"

check() { # check TOOL: the kernel tests under one tool of compute-sanitizer
  [ -n "$sanitizer" ] || { echo "compute-sanitizer is not here"; return 3; }
  "$sanitizer" --tool "$1" --error-exitcode 9 "$bin/cuda_kernels_gpu_test" --gtest_filter="$sanitized"
}
run() {
  case $1 in
    conformance) "$bin/conformance_cuda" >"$out/golden.txt" ;;
    operations) "$bin/cuda_operations_gpu_test" ;;
    kernels) "$bin/cuda_kernels_gpu_test" ;;
    memcheck | racecheck | synccheck | initcheck) check "$1" ;;
    bench) "$bin/gpu_bench" --benchmark_repetitions=3 --benchmark_report_aggregates_only=true \
      --benchmark_min_time=0.05 --benchmark_out="$out/bench.json" --benchmark_out_format=json ;;
    peers) python3 -c 'import torch' 2>/dev/null || { echo "no Python with PyTorch here"; return 3; }
      python3 "$here/gpu_peers.py" "$out/peers.json" ;;
    summary) python3 "$here/gpu_summary.py" "$out" >"$out/report.md" ;;
  esac
}

failed=0
for step in "${steps[@]}"; do
  if [ -e "$out/$step.done" ] && [ "$step" != summary ]; then
    echo "-- $step: done before"
    continue
  fi
  start=$SECONDS
  # In a subshell of its own, so that the time limit reaches everything that the step starts.
  (run "$step") >"$out/$step.log" 2>&1 &
  job=$!
  (sleep 470; pkill -TERM -P $job; kill -TERM $job) 2>/dev/null &
  watch=$!
  wait $job
  code=$?
  kill $watch 2>/dev/null
  case $code in
    0) touch "$out/$step.done"; state=passed ;;
    3) state="not run: $(tail -1 "$out/$step.log")" ;;
    *) state="FAILED with $code, see $out/$step.log"; failed=1 ;;
  esac
  printf '%s %s %d\n' "$step" "${state%% *}" $((SECONDS - start)) >>"$out/steps"
  echo "-- $step: $state ($((SECONDS - start)) s)"
done
exit $failed
