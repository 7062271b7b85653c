#!/usr/bin/env bash
# Installs Mettle into a temporary prefix, moves the prefix, and builds and runs examples/consumer against it in
# every way that is promised: find_package, pkg-config (plain and --static), a shared libmettle, and
# add_subdirectory without any installation. Also compiles each installed header alone.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
scripts/setup.sh build consumers

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
consumer=$PWD/examples/consumer
quiet() { "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2; die "failed: $*"; }; }

# install_and_move BUILD NAME: the prefix ends up in $work/NAME, and its first place is gone.
install_and_move() {
  quiet cmake --install "$1" --prefix "$work/first"
  mkdir "$work/$2"
  mv "$work/first" "$work/$2/moved here"
}

with_cmake() {  # NAME CMAKE-ARGUMENTS...
  quiet cmake -S "$consumer" -B "$work/build-$1" -G Ninja "${@:2}"
  quiet cmake --build "$work/build-$1" --target consumer -j "$(nproc)"
  "$work/build-$1/consumer"
}

with_make() {  # NAME PREFIX MAKE-ARGUMENTS...
  local pc
  pc=$(dirname "$(find "$2" -name mettle.pc)")
  quiet env PKG_CONFIG_PATH="$pc" make -C "$consumer" OUT="$work/$1" "${@:3}"
  LD_LIBRARY_PATH=$(dirname "$pc") "$work/$1"
}

headers_alone() {  # PREFIX
  (cd "$1/include" && find mettle -name '*.h' -print0) |
    xargs -0 -P "$(nproc)" -I{} g++ -std=c++20 -fsyntax-only -Wall -Wextra -Werror -I"$1/include" -include {} -x c++ /dev/null
}

# The same objects serve both kinds of library, so one build folder does; it ends up static again.
for kind in shared static; do
  say "Building and installing ($kind)"
  [[ $kind == shared ]] && shared=ON || shared=OFF
  quiet cmake --preset cpu -DBUILD_SHARED_LIBS=$shared
  quiet cmake --build --preset cpu -j "$(nproc)" --target libmettle mettle
  install_and_move build/cpu "$kind"
done
static="$work/static/moved here"
shared="$work/shared/moved here"

stage "find_package, static" with_cmake static -DCMAKE_PREFIX_PATH="$static"
stage "find_package, shared" with_cmake shared -DCMAKE_PREFIX_PATH="$shared"
stage "The installed program" "$static/bin/mettle" info
stage "add_subdirectory" with_cmake sources -DMETTLE_SOURCE="$PWD" -DCMAKE_BUILD_TYPE=Debug
# pkg-config and make take no blanks in paths.
mv "$static" "$work/static-prefix"
mv "$shared" "$work/shared-prefix"
stage "pkg-config, static" with_make make-static "$work/static-prefix"
stage "pkg-config --static, static" with_make make-static-static "$work/static-prefix" PC_FLAGS=--static
stage "pkg-config, shared" with_make make-shared "$work/shared-prefix"
stage "Every installed header alone" headers_alone "$work/static-prefix"
say "All consumers built and ran"
