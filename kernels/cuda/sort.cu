// Sorting lines of keys: short ones by a network, long ones byte by byte.
#include "kernels/cuda/sort.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "kernels/cuda/errors.h"
#include "kernels/cuda/sort.cuh"

namespace mettle::kernels::cuda {
namespace {

std::int64_t tiles_of(std::int64_t n) { return (n + sort_tile - 1) / sort_tile; }

std::size_t bytes_for(std::int64_t rows, std::int64_t n) {
  if (n >= std::int64_t{1} << 31) throw_value_error("sort: a line has 2^31 elements or more");
  const auto count = static_cast<std::size_t>(rows * n);
  const std::size_t keys = count * sizeof(std::uint64_t), places = count * sizeof(std::uint32_t);
  if (n <= short_line) return Scratch::sum(keys, places);
  const std::size_t lists = static_cast<std::size_t>(rows) * digits * sizeof(std::uint32_t);
  return Scratch::sum(keys, keys, places, places, lists * static_cast<std::size_t>(tiles_of(n)),
                      lists);
}

}  // namespace

LineSorter::LineSorter(const Stream& stream, std::int64_t rows, std::int64_t n, int bits)
    : stream_(stream),
      rows_(rows),
      n_(n),
      bits_(bits),
      scratch_(stream, bytes_for(rows, n)),
      keys_(scratch_.take<std::uint64_t>(static_cast<std::size_t>(rows * n))),
      positions_(scratch_.take<std::uint32_t>(static_cast<std::size_t>(rows * n))) {}

void LineSorter::sort() {
  if (rows_ == 0 || n_ == 0) return;
  if (n_ > short_line) return sort_long_lines();
  const auto n = static_cast<int>(n_);
  const int padded = std::max(2, static_cast<int>(std::bit_ceil(static_cast<unsigned>(n))));
  const int threads = std::clamp(padded / 2, dev::warp_size, network_threads);
  dev::launch(sort_short_kernel, {{static_cast<int>(rows_)}, {threads}}, stream_,
              KeyLines{keys_, positions_}, n, padded);
}

void LineSorter::sort_long_lines() {
  const auto count = static_cast<std::size_t>(rows_ * n_);
  const std::int64_t lists = rows_ * digits;
  RadixPass pass;
  pass.n = n_;
  pass.tiles = static_cast<int>(tiles_of(n_));
  KeyLines from = {keys_, nullptr};
  KeyLines to = {scratch_.take<std::uint64_t>(count), scratch_.take<std::uint32_t>(count)};
  pass.counts = scratch_.take<std::uint32_t>(static_cast<std::size_t>(lists * pass.tiles));
  pass.totals = scratch_.take<std::uint32_t>(static_cast<std::size_t>(lists));
  const dev::LaunchShape tiles = {{static_cast<int>(rows_ * pass.tiles)}, {sort_threads}};
  const dev::LaunchShape warps = {{static_cast<int>((lists + sort_warps - 1) / sort_warps)},
                                  {sort_threads}};
  std::uint32_t* spare = positions_;
  for (pass.shift = 0; pass.shift < std::max(bits_, 1); pass.shift += 8) {
    dev::launch(count_digits_kernel, tiles, stream_, from.keys, pass);
    dev::launch(place_digits_kernel, warps, stream_, pass, lists);
    dev::launch(move_keys_kernel, tiles, stream_, from, to, pass);
    if (from.positions == nullptr) from.positions = spare;
    std::swap(from, to);
  }
  keys_ = from.keys;
  positions_ = from.positions;
}

}  // namespace mettle::kernels::cuda
