#!/usr/bin/env bash
# Installs the Debian or Ubuntu packages that Mettle needs and that are missing. Does nothing when all are there.
#   scripts/setup.sh [build] [lint] [consumers]      default: build
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

build_packages=(
  g++ cmake ninja-build pkg-config
  libdnnl-dev libhwy-dev libfmt-dev libspdlog-dev nlohmann-json3-dev zlib1g-dev  # the library
  libcli11-dev libtomlplusplus-dev gnuplot-nox                                   # the program and its pictures
  libgtest-dev libgmock-dev libbenchmark-dev                                     # tests and benchmarks
)
# The releases are pinned: what they format and diagnose differs from release to release.
lint_packages=(clang-format-14 clang-tidy-19)
consumer_packages=(make)  # examples/consumer is built by make as well

wanted=()
for group in "${@:-build}"; do
  case $group in
    build) wanted+=("${build_packages[@]}") ;;
    lint) wanted+=("${lint_packages[@]}") ;;
    consumers) wanted+=("${consumer_packages[@]}") ;;
    *) die "setup.sh: unknown group '$group'; there are: build, lint, consumers" ;;
  esac
done

command -v dpkg-query >/dev/null ||
  die "this system has no dpkg; install the equivalents of: ${wanted[*]}"
missing=()
for package in "${wanted[@]}"; do
  [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
done
((${#missing[@]})) || exit 0

as_root=()
if ((EUID != 0)); then
  command -v sudo >/dev/null || die "not root and no sudo; as root: apt-get install ${missing[*]}"
  as_root=(sudo)
fi
install=(env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}")
say "Installing what is missing: ${as_root[*]} ${install[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() { "${as_root[@]}" "$@" >"$log" 2>&1 || { cat "$log" >&2; die "failed: $*"; }; }
apt apt-get update
apt "${install[@]}"
