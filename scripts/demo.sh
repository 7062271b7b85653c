#!/usr/bin/env bash
# From a bare clone to recommendations for somebody new: sets up, builds, meta-trains on the MovieLens ratings in
# recsys/data, compares all methods on users that none of them was trained on, and adapts to a sample user.
#   scripts/demo.sh [OPTIONS OF `mettle evaluate`]      such as --seeds 3 or --threads 4
# Leaves table, picture, model and summary in out/demo.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
data=recsys/data/ml-latest-small
out=out/demo

scripts/build.sh cpu mettle
mettle=build/cpu/mettle

# One thread by default: the model is small, so that threads which share their cores with other programs wait for each
# other longer than they save.
compare() {
  "$mettle" evaluate --data "$data" --methods all --seed 1 --threads 1 --save maml --out "$out" "$@" | tee "$out/table.txt"
}
mkdir -p "$out"
stage "Training six neural methods, fitting the classical ones, comparing them on held-out users" compare "$@"

say "Somebody new rates five films"
"$mettle" recommend --model "$out/model.safetensors" --data "$data" \
  --rate "Toy Story=5" --rate "Finding Nemo=5" --rate "Shrek=4.5" --rate "Heat=2" --rate "Alien=1.5"

say "In $out: $(cd "$out" && echo *)"
