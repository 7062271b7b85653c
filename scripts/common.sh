# Sourced by the other scripts: the repository root as the working directory, and how they speak.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# Tests run beside each other and beside other programs: threads that spin at barriers would wait for each other.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}

say() { printf '\n== %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# stage NAME COMMAND...: runs the command and says how long it took.
stage() {
  local name=$1 start=$SECONDS
  shift
  say "$name"
  "$@"
  printf -- '-- %s: %d s\n' "$name" $((SECONDS - start))
}

# Every C++ and CUDA source of the tree, whether committed or not.
sources() {
  find . \( -path './build*' -o -path ./out -o -path ./.git \) -prune -o \
    -type f \( -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' \) -printf '%P\n' | sort
}
