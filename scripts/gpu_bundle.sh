#!/usr/bin/env bash
# Packs all that a machine with a GPU needs to test and measure this commit: test programs, benchmarks, the shared
# libraries they need but glibc, and gpu_report.sh. It runs from any folder of another x86-64 Linux.
#   scripts/gpu_bundle.sh [FILE]      default: build/mettle-gpu.tar.xz
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

out=$(realpath -m "${1:-build/mettle-gpu.tar.xz}")
limit=$((60 << 20))
programs=(cuda_kernels_gpu_test cuda_operations_gpu_test gpu_bench)
scripts/build.sh cuda "${programs[@]}" conformance_cuda mettle

folder=build/mettle-gpu
rm -rf "$folder"
mkdir -p "$folder/bin" "$folder/lib"
for program in "${programs[@]}" conformance_cuda mettle; do
  found=$(find build/cuda -name "$program" -type f -perm -u+x)
  [ -n "$found" ] || die "$program was not built"
  strip -o "$folder/bin/$program" "$found"
done

# Every library that is not glibc's own; the system of the other machine brings those.
for program in "$folder"/bin/*; do ldd "$program"; done | awk '/=> \//{print $3}' | sort -u |
  grep -vE '/(libc|libm|libpthread|libdl|librt|ld-linux[^/]*)\.so' |
  while read -r library; do
    strip --strip-unneeded -o "$folder/lib/$(basename "$library")" "$library" 2>/dev/null || cp -L "$library" "$folder/lib/"
  done

cp scripts/gpu_report.sh scripts/gpu_peers.py scripts/gpu_summary.py "$folder/"
commit=$(git rev-parse --short HEAD)
git diff --quiet HEAD || commit="$commit with changes"
printf '%s\n' "$commit" >"$folder/commit"

say "Packing"
tar -C build -cf - mettle-gpu | xz -T0 -6 >"$out"
size=$(stat -c %s "$out")
printf '%s: %d bytes\n' "$out" "$size"
[ "$size" -le "$limit" ] || die "$out is larger than $limit bytes"
