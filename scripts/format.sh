#!/usr/bin/env bash
# Formats every source file in place, or with --check only says which ones differ.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
scripts/setup.sh lint

mapfile -t files < <(sources)
case ${1:-} in
  '') clang-format-14 -i "${files[@]}" ;;
  --check) clang-format-14 --dry-run --Werror "${files[@]}" ;;
  *) die "format.sh: unknown argument '$1'; there is: --check" ;;
esac
