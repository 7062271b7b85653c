#!/usr/bin/env bash
# Format, the lint test, and clang-tidy over every .cpp, most recently changed files first.
#   scripts/lint.sh [FILE...]      clang-tidy only these files
# LINT_BUDGET_S (default 600) bounds clang-tidy: files that it did not reach are counted in the last line.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
scripts/setup.sh build lint

# Files with changes, then the committed ones by their last commit: what the budget leaves out was checked before.
latest_first() {
  { git diff --name-only HEAD || true; git log --format= --name-only || true; sources; } 2>/dev/null | awk '!seen[$0]++' |
    while read -r file; do [[ ! -f $file ]] || printf '%s\n' "$file"; done
}

stage "Format" scripts/format.sh --check

say "Lint test"
scripts/build.sh cpu lint_test >/dev/null
ctest --preset cpu -R '^lint_test$' --no-tests=error

# Headers that the build generates are not needed; sources that it does not compile, such as those that need the CUDA
# toolkit where there is none, cannot be checked.
compiled() { grep -qF "\"file\": \"$PWD/$1\"" build/cpu/compile_commands.json; }
files=("$@")
if ((!${#files[@]})); then
  mapfile -t files < <(latest_first | grep '\.cpp$' | grep -v '^examples/' |
    while read -r file; do if compiled "$file"; then printf '%s\n' "$file"; fi; done)
fi

# METTLE_STD_THREADS: clang has no omp.h beside the one of g++. -Wno-unknown-warning-option: some are options of g++.
tidy_one() {
  ((EPOCHSECONDS < $1)) || { echo "$2" >>"$LINT_SKIPPED"; exit 0; }
  clang-tidy-19 -p build/cpu --quiet --extra-arg=-Wno-unknown-warning-option \
    --extra-arg=-DMETTLE_STD_THREADS "$2" 2>/dev/null || exit 1
}
export -f tidy_one
LINT_SKIPPED=$(mktemp)
export LINT_SKIPPED
trap 'rm -f "$LINT_SKIPPED"' EXIT
say "clang-tidy over ${#files[@]} files"
start=$SECONDS
printf '%s\0' "${files[@]}" |
  xargs -0 -P "$(nproc)" -I{} bash -c 'tidy_one "$@"' - $((EPOCHSECONDS + ${LINT_BUDGET_S:-600})) {} ||
  die "clang-tidy found something: see above"
printf -- '-- clang-tidy: %d s; %d of %d files not reached within LINT_BUDGET_S\n' \
  $((SECONDS - start)) "$(wc -l <"$LINT_SKIPPED")" "${#files[@]}"
