// Stable sorting of lines of 64-bit keys, with the position that each key had in its line.
//
// Short lines: a block sorts one in shared memory by a bitonic network on (key, position), which
// are all different, so that its order is the stable one. Long lines: a radix sort from the lowest
// byte up. Each pass counts the bytes of every tile, turns the counts into places, and moves keys
// with their positions: 24 bytes per element read and as many written for each byte of the keys. A
// tile is put into order in shared memory first, so that equal bytes are written as runs. Tiles
// divide the work the same way on every GPU and nothing depends on the order of blocks.
#pragma once

#include "kernels/cuda/block_scan.cuh"
#include "kernels/cuda/device.cuh"

namespace mettle::kernels::cuda {

/// Positions in a line are below 2^31.
struct KeyLines {
  std::uint64_t* keys;  // (rows, n)
  std::uint32_t* positions;
};

// ---- short lines --------------------------------------------------------------------------------
inline constexpr int short_line = 2048;
inline constexpr int network_threads = 512;

/// Sorts row `block` in place and sets its positions. `padded` is a power of two, at least n.
METTLE_GLOBAL(network_threads) void sort_short_kernel(KeyLines lines, int n, int padded) {
  METTLE_SHARED(std::uint64_t, keys, short_line);
  METTLE_SHARED(std::uint32_t, positions, short_line);
  const std::int64_t line = std::int64_t{dev::block_index().x} * n;
  const int threads = dev::block_size().x, thread = dev::thread_index().x;
  for (int i = thread; i < padded; i += threads) {
    keys[i] = i < n ? lines.keys[line + i] : ~std::uint64_t{0};
    positions[i] = static_cast<std::uint32_t>(i);  // those behind the line come last
  }
  dev::sync_block();
  for (int size = 2; size <= padded; size *= 2)
    for (int distance = size / 2; distance > 0; distance /= 2) {
      for (int pair = thread; pair < padded / 2; pair += threads) {
        const int low = 2 * pair - (pair & (distance - 1)), high = low + distance;
        const bool up = (low & size) == 0;
        const std::uint64_t a = keys[low], b = keys[high];
        const std::uint32_t p = positions[low], q = positions[high];
        const bool ordered = a < b || (a == b && p < q);
        if (ordered == up) continue;
        keys[low] = b;
        keys[high] = a;
        positions[low] = q;
        positions[high] = p;
      }
      dev::sync_block();
    }
  for (int i = thread; i < n; i += threads) {
    lines.keys[line + i] = keys[i];
    lines.positions[line + i] = positions[i];
  }
}

// ---- long lines ---------------------------------------------------------------------------------
inline constexpr int digits = 256;
inline constexpr int sort_threads = 256;
inline constexpr int sort_warps = sort_threads / dev::warp_size;
inline constexpr int keys_per_thread = 8;
inline constexpr int sort_tile = sort_threads * keys_per_thread;

struct RadixPass {
  std::int64_t n;
  int tiles;              // of a row
  int shift;              // of the byte
  std::uint32_t* counts;  // (rows, digits, tiles): counts, then places before the tile
  std::uint32_t* totals;  // (rows, digits)

  METTLE_DEVICE int digit(std::uint64_t key) const {
    return static_cast<int>(key >> shift & (digits - 1));
  }
};

/// Each block counts the digits of one tile.
METTLE_GLOBAL(sort_threads) void count_digits_kernel(const std::uint64_t* keys, RadixPass pass) {
  METTLE_SHARED(std::uint32_t, count, digits);
  const int row = dev::block_index().x / pass.tiles, tile = dev::block_index().x % pass.tiles;
  const int thread = dev::thread_index().x;
  count[thread] = 0;
  dev::sync_block();
  METTLE_UNROLL
  for (int k = 0; k < keys_per_thread; ++k) {
    const std::int64_t i = std::int64_t{tile} * sort_tile + k * sort_threads + thread;
    if (i < pass.n) dev::atomic_add(&count[pass.digit(keys[row * pass.n + i])], 1u);
  }
  dev::sync_block();
  pass.counts[(std::int64_t{row} * digits + thread) * pass.tiles + tile] = count[thread];
}

/// Each warp turns the counts of one digit of one row into places.
METTLE_GLOBAL(sort_threads) void place_digits_kernel(RadixPass pass, std::int64_t lists) {
  const std::int64_t list = std::int64_t{dev::block_index().x} * sort_warps + dev::warp_index();
  std::uint32_t before = 0;
  for (int first = 0; first < pass.tiles; first += dev::warp_size) {
    const int tile = first + dev::lane_index();
    const bool mine = list < lists && tile < pass.tiles;
    const std::uint32_t count = mine ? pass.counts[list * pass.tiles + tile] : 0;
    const std::uint32_t sum = warp_running_sum(count);
    if (mine) pass.counts[list * pass.tiles + tile] = before + sum - count;
    before += dev::shuffle(dev::full_warp, sum, dev::warp_size - 1);
  }
  if (list < lists && dev::lane_index() == 0) pass.totals[list] = before;
}

/// Lanes whose digit is this lane's, among those with an element.
METTLE_DEVICE std::uint32_t lanes_with(int digit, bool mine) {
  std::uint32_t peers = dev::ballot(dev::full_warp, mine);
  METTLE_UNROLL
  for (int bit = 1; bit < digits; bit *= 2) {
    const std::uint32_t set = dev::ballot(dev::full_warp, (digit & bit) != 0);
    peers &= (digit & bit) != 0 ? set : ~set;
  }
  return peers;
}

/// Each block moves one tile. from.positions is null in the first pass: positions are the places.
METTLE_GLOBAL(sort_threads)
void move_keys_kernel(KeyLines from, KeyLines to, RadixPass pass) {
  METTLE_SHARED(std::uint32_t, seen, sort_warps * digits);  // by each warp, then before each warp
  METTLE_SHARED(std::uint32_t, local_start, digits);
  METTLE_SHARED(std::uint32_t, global_start, digits);
  METTLE_SHARED(std::uint64_t, keys, sort_tile);
  METTLE_SHARED(std::uint32_t, positions, sort_tile);
  METTLE_SHARED(std::uint64_t, of_warp, sort_warps);
  const int row = dev::block_index().x / pass.tiles, tile = dev::block_index().x % pass.tiles;
  const int thread = dev::thread_index().x, lane = dev::lane_index(), warp = dev::warp_index();
  const std::int64_t line = row * pass.n, first = std::int64_t{tile} * sort_tile;
  for (int i = thread; i < sort_warps * digits; i += sort_threads) seen[i] = 0;
  dev::sync_block();

  // Warp after warp, round after round, lane after lane: the order of the tile.
  std::uint64_t key[keys_per_thread];
  std::uint32_t rank[keys_per_thread];
  METTLE_UNROLL
  for (int k = 0; k < keys_per_thread; ++k) {
    const std::int64_t i = first + (warp * keys_per_thread + k) * dev::warp_size + lane;
    const bool mine = i < pass.n;
    key[k] = mine ? from.keys[line + i] : 0;
    const int digit = pass.digit(key[k]);
    const std::uint32_t peers = lanes_with(digit, mine);
    const int before = dev::count_bits(peers & ((1u << lane) - 1));
    const std::uint32_t earlier = seen[warp * digits + digit];
    rank[k] = earlier + static_cast<std::uint32_t>(before);
    dev::sync_warp();
    if (mine && before == 0)
      seen[warp * digits + digit] = earlier + static_cast<std::uint32_t>(dev::count_bits(peers));
    dev::sync_warp();
  }
  dev::sync_block();

  // Thread d knows digit d: how many of it the warps before have, where it starts in the tile and
  // in the row. Both sums at once, in the halves of a word.
  std::uint32_t in_tile = 0;
  for (int w = 0; w < sort_warps; ++w) {
    const std::uint32_t count = seen[w * digits + thread];
    seen[w * digits + thread] = in_tile;
    in_tile += count;
  }
  const std::int64_t list = std::int64_t{row} * digits + thread;
  const std::uint64_t both = std::uint64_t{pass.totals[list]} << 32 | in_tile;
  std::uint64_t all;
  const std::uint64_t start = block_sum_before(both, of_warp, all);
  local_start[thread] = static_cast<std::uint32_t>(start);
  global_start[thread] =
      static_cast<std::uint32_t>(start >> 32) + pass.counts[list * pass.tiles + tile];
  dev::sync_block();

  METTLE_UNROLL
  for (int k = 0; k < keys_per_thread; ++k) {
    const std::int64_t i = first + (warp * keys_per_thread + k) * dev::warp_size + lane;
    if (i >= pass.n) continue;
    const int digit = pass.digit(key[k]);
    const std::uint32_t at = local_start[digit] + seen[warp * digits + digit] + rank[k];
    keys[at] = key[k];
    positions[at] =
        from.positions != nullptr ? from.positions[line + i] : static_cast<std::uint32_t>(i);
  }
  dev::sync_block();
  const std::int64_t left = pass.n - first;
  const int count = left < sort_tile ? static_cast<int>(left) : sort_tile;
  for (int i = thread; i < count; i += sort_threads) {
    const int digit = pass.digit(keys[i]);
    const std::int64_t at = line + global_start[digit] + i - local_start[digit];
    to.keys[at] = keys[i];
    to.positions[at] = positions[i];
  }
}

}  // namespace mettle::kernels::cuda
