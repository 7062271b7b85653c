// Words of a thread's place, of warps and of votes.
#include <algorithm>
#include <utility>

#include "kernels/cuda/device.cuh"
#include "tests/conformance/conformance.h"

namespace mettle::conformance {
namespace {

using dev::full_warp;

// ---- who am I -----------------------------------------------------------------------------------
constexpr dev::Dim3 grid = {2, 3, 2}, block = {8, 4, 2};
constexpr int blocks = 12, threads = 64;

METTLE_GLOBAL(64) void give_places(int* out) {
  const dev::Dim3 t = dev::thread_index(), b = dev::block_index();
  const dev::Dim3 size = dev::block_size(), count = dev::grid_size();
  const int number = (b.z * count.y + b.y) * count.x + b.x;
  int* o = out + (number * size.x * size.y * size.z + dev::thread_rank()) * 4;
  o[0] = t.x | t.y << 8 | t.z << 16;
  o[1] = b.x | b.y << 8 | b.z << 16;
  o[2] = size.x | size.y << 8 | size.z << 16 | count.x << 24 | count.y << 26 | count.z << 28;
  o[3] = dev::lane_index() | dev::warp_index() << 8;
}

Bits run_places(Device& device, int) {
  int* out = device.zeros<int>(blocks * threads * 4);
  dev::launch(give_places, {grid, block, 0}, device.stream(), out);
  return device.fetch(out, blocks * threads * 4);
}

Bits expect_places(int) {
  std::vector<int> out;
  for (int b = 0; b < blocks; ++b)
    for (int t = 0; t < threads; ++t)
      out.insert(out.end(),
                 {t % 8 | t / 8 % 4 << 8 | t / 32 << 16, b % 2 | b / 2 % 3 << 8 | b / 6 << 16,
                  8 | 4 << 8 | 2 << 16 | 2 << 24 | 3 << 26 | 2 << 28, t % 32 | t / 32 << 8});
  return bits_of_values(out);
}

// ---- shuffles -----------------------------------------------------------------------------------
struct ShuffleCase {
  enum class Word { index, up, down, exclusive_or } word;
  int argument;  // of index: it counts on with the lane
  int width;
};
constexpr ShuffleCase shuffles[] = {
    {ShuffleCase::Word::index, 5, 32},        {ShuffleCase::Word::index, 3, 8},
    {ShuffleCase::Word::up, 3, 32},           {ShuffleCase::Word::up, 1, 16},
    {ShuffleCase::Word::down, 2, 32},         {ShuffleCase::Word::down, 5, 8},
    {ShuffleCase::Word::exclusive_or, 1, 32}, {ShuffleCase::Word::exclusive_or, 21, 32},
    {ShuffleCase::Word::exclusive_or, 3, 4},  {ShuffleCase::Word::exclusive_or, 8, 8},
};
constexpr int shuffle_cases = sizeof(shuffles) / sizeof(shuffles[0]);

template <class T, int number> METTLE_DEVICE T shuffle_once(T value) {
  constexpr ShuffleCase c = shuffles[number];
  constexpr auto word = c.word;
  if constexpr (word == ShuffleCase::Word::index)
    return dev::shuffle(full_warp, value, (c.argument + 7 * dev::lane_index()) % 32, c.width);
  else if constexpr (word == ShuffleCase::Word::up)
    return dev::shuffle_up(full_warp, value, c.argument, c.width);
  else if constexpr (word == ShuffleCase::Word::down)
    return dev::shuffle_down(full_warp, value, c.argument, c.width);
  else
    return dev::shuffle_xor(full_warp, value, c.argument, c.width);
}

template <class T, int... number>
METTLE_DEVICE void shuffle_all(T value, T* out, std::integer_sequence<int, number...>) {
  ((out[number * 64 + dev::thread_rank()] = shuffle_once<T, number>(value)), ...);
}

// Two warps; the first half of each shuffles by itself at the end.
template <class T> METTLE_GLOBAL(64) void give_shuffled(const T* in, T* out) {
  const T value = in[dev::thread_rank()];
  shuffle_all(value, out, std::make_integer_sequence<int, shuffle_cases>{});
  T half = value;
  if (dev::lane_index() < 16) half = dev::shuffle_xor(0xffffu, value, 15);
  out[shuffle_cases * 64 + dev::thread_rank()] = half;
}

// PTX ISA, shfl.sync: a lane that would read behind its segment, or for "up" before it, keeps its
// own value; "bfly" may read earlier segments.
int source_of(const ShuffleCase& c, int lane) {
  const int segment = lane / c.width * c.width, end = segment + c.width;
  switch (c.word) {
    case ShuffleCase::Word::index: return segment + (c.argument + 7 * lane) % 32 % c.width;
    case ShuffleCase::Word::up: return lane - c.argument >= segment ? lane - c.argument : lane;
    case ShuffleCase::Word::down: return lane + c.argument < end ? lane + c.argument : lane;
    case ShuffleCase::Word::exclusive_or: break;
  }
  return (lane ^ c.argument) < end ? lane ^ c.argument : lane;
}

template <class T> std::vector<T> shuffle_inputs() {
  std::vector<T> in(64);
  for (std::size_t i = 0; i < 64; ++i) {
    const std::uint64_t bits = random_bits(1, i);
    std::memcpy(static_cast<void*>(&in[i]), &bits, sizeof(T));
  }
  return in;
}

template <class T> Bits run_shuffles(Device& device, int) {
  const std::size_t count = 64 * (shuffle_cases + 1);
  T* out = device.zeros<T>(count);
  dev::launch(give_shuffled<T>, {{1, 1, 1}, {64, 1, 1}, 0}, device.stream(),
              device.send(shuffle_inputs<T>()), out);
  return device.fetch(reinterpret_cast<std::uint32_t*>(out), count * sizeof(T) / 4);
}

template <class T> Bits expect_shuffles(int) {
  const std::vector<T> in = shuffle_inputs<T>();
  std::vector<T> out;
  for (const ShuffleCase& c : shuffles)
    for (int t = 0; t < 64; ++t) out.push_back(in.data()[t / 32 * 32 + source_of(c, t % 32)]);
  for (int t = 0; t < 64; ++t)
    out.push_back(in[static_cast<std::size_t>(t % 32 < 16 ? t ^ 15 : t)]);
  Bits bits(out.size() * sizeof(T) / 4);
  std::memcpy(bits.data(), out.data(), out.size() * sizeof(T));
  return bits;
}

// ---- votes and reductions -----------------------------------------------------------------------
METTLE_GLOBAL(64) void give_votes(const int* in, int* out) {
  const int thread = dev::thread_rank(), value = in[thread];
  int* o = out + thread * 9;
  o[0] = static_cast<int>(dev::ballot(full_warp, value % 3 == 0));
  o[1] = dev::any_lane(full_warp, value == in[7]);
  o[2] = dev::all_lanes(full_warp, value != in[7]);
  o[3] = dev::sync_block_or(value == in[40]);
  o[4] = dev::sync_block_and(value != in[40]);
  o[5] = dev::sync_block_count(value % 5 == 0);
  o[6] = dev::warp_sum(value);
  o[7] = static_cast<int>(dev::bits_of(dev::warp_sum(static_cast<float>(value % 1000))));
  o[8] = static_cast<int>(dev::bits_of(dev::warp_max(static_cast<float>(value % 1000))));
}

std::vector<int> vote_inputs() {
  std::vector<int> in(64);
  for (std::size_t i = 0; i < 64; ++i) in[i] = static_cast<int>(random_bits(2, i) >> 44);
  return in;
}

Bits run_votes(Device& device, int) {
  int* out = device.zeros<int>(64 * 9);
  dev::launch(give_votes, {{1, 1, 1}, {64, 1, 1}, 0}, device.stream(), device.send(vote_inputs()),
              out);
  return device.fetch(out, 64 * 9);
}

Bits expect_votes(int) {
  const std::vector<int> in = vote_inputs();
  const auto float_bits = [](int value) {
    const auto f = static_cast<float>(value);
    int bits;
    std::memcpy(&bits, &f, sizeof(bits));
    return bits;
  };
  std::vector<int> out;
  for (std::size_t t = 0; t < 64; ++t) {
    const std::size_t first = t / 32 * 32;
    std::uint32_t ballot = 0;
    int any = 0, all = 1, any_block = 0, all_block = 1, count = 0, sum = 0, small = 0, largest = 0;
    for (std::size_t l = 0; l < 32; ++l) {
      const int value = in[first + l];
      if (value % 3 == 0) ballot |= 1u << l;
      any |= value == in[7] ? 1 : 0;
      all &= value != in[7] ? 1 : 0;
      sum += value;
      small += value % 1000;
      largest = std::max(largest, value % 1000);
    }
    for (const int value : in) {
      any_block |= value == in[40] ? 1 : 0;
      all_block &= value != in[40] ? 1 : 0;
      count += value % 5 == 0 ? 1 : 0;
    }
    out.insert(out.end(), {static_cast<int>(ballot), any, all, any_block, all_block, count, sum,
                           float_bits(small), float_bits(largest)});
  }
  return bits_of_values(out);
}

}  // namespace

void add_warp_words(std::vector<Word>& words) {
  words.push_back({"places", Kind::bits, 0, run_places, expect_places});
  words.push_back(
      {"shuffle_u32", Kind::bits, 0, run_shuffles<std::uint32_t>, expect_shuffles<std::uint32_t>});
  words.push_back(
      {"shuffle_u64", Kind::bits, 0, run_shuffles<std::uint64_t>, expect_shuffles<std::uint64_t>});
  words.push_back(
      {"shuffle_u16", Kind::bits, 0, run_shuffles<std::uint16_t>, expect_shuffles<std::uint16_t>});
  words.push_back({"votes_and_reductions", Kind::bits, 0, run_votes, expect_votes});
}

}  // namespace mettle::conformance
