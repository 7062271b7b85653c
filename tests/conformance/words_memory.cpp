// Words that move bytes: atomics, shared memory, asynchronous and bulk copies, ldmatrix.
#include <algorithm>
#include <cstdlib>
#include <limits>
#include <type_traits>

#include "kernels/cuda/device.cuh"
#include "tests/conformance/conformance.h"
#include "tests/emulation/hopper.h"
#include "tests/emulation/kernels.h"

namespace mettle::conformance {
namespace {

constexpr int threads = 128;

// ---- atomics ------------------------------------------------------------------------------------
// Results that no order of the threads changes: sums, extremes, and of exchanges what is left plus
// the sum of what was found.
template <class T> METTLE_GLOBAL(128) void change_integers(const T* in, T* out) {
  const T value = in[dev::block_index().x * threads + dev::thread_rank()];
  dev::atomic_add(out, value);
  dev::atomic_min(out + 1, value);
  dev::atomic_max(out + 2, value);
  dev::atomic_add(out + 3, dev::atomic_exchange(out + 4, value));
  T expected = 0;
  for (T found = 0; (found = dev::atomic_compare_exchange(
                         out + 5, expected, static_cast<T>(expected + value))) != expected;)
    expected = found;
}

template <class T> METTLE_GLOBAL(128) void add_numbers(const T* in, T* out) {
  dev::atomic_add(out, in[dev::block_index().x * threads + dev::thread_rank()]);
}

METTLE_GLOBAL(128) void exchange_floats(const float* in, float* out) {
  const float value = in[dev::thread_rank()];
  dev::atomic_add(out, dev::atomic_exchange(out + 1, value));
}

template <class T> std::vector<T> integers() {
  std::vector<T> in(3 * threads);
  for (std::size_t i = 0; i < in.size(); ++i) in[i] = static_cast<T>(random_bits(sizeof(T), i));
  // Sums of signed ones must not overflow.
  if (std::is_signed_v<T>)
    for (T& value : in) value /= 1024;
  return in;
}

template <class T> Bits run_integers(Device& device, int) {
  T* out = device.send(
      std::vector<T>{0, std::numeric_limits<T>::max(), std::numeric_limits<T>::min(), 0, 0, 0});
  dev::launch(change_integers<T>, {{3, 1, 1}, {threads, 1, 1}, 0}, device.stream(),
              device.send(integers<T>()), out);
  Bits bits = device.fetch(out, 6);
  // What is left in the place of exchanges depends on the order; with what was found it does not.
  T found[6];
  std::memcpy(found, bits.data(), sizeof(found));
  using Unsigned = std::make_unsigned_t<T>;
  found[3] = static_cast<T>(static_cast<Unsigned>(found[3]) + static_cast<Unsigned>(found[4]));
  found[4] = 0;
  std::memcpy(bits.data(), found, sizeof(found));
  return bits;
}

template <class T> Bits expect_integers(int) {
  const std::vector<T> in = integers<T>();
  using Unsigned = std::make_unsigned_t<T>;
  Unsigned sum = 0;
  for (const T value : in) sum += static_cast<Unsigned>(value);
  const auto [least, most] = std::minmax_element(in.begin(), in.end());
  const T total = static_cast<T>(sum);
  return bits_of_values(std::vector<T>{total, *least, *most, total, 0, total});
}

// Integers as floating-point numbers: sums are exact in every order.
template <class T> Bits run_numbers(Device& device, int) {
  const std::vector<float> in = random_integers(3, 3 * threads, 1000);
  T* out = device.zeros<T>(1);
  dev::launch(add_numbers<T>, {{3, 1, 1}, {threads, 1, 1}, 0}, device.stream(),
              device.send(std::vector<T>(in.begin(), in.end())), out);
  return device.fetch(out, 1);
}

template <class T> Bits expect_numbers(int) {
  T sum = 0;
  for (const float value : random_integers(3, 3 * threads, 1000)) sum += value;
  return bits_of_values(std::vector<T>{sum});
}

Bits run_exchange(Device& device, int) {
  float* out = device.zeros<float>(2);
  dev::launch(exchange_floats, {{1, 1, 1}, {threads, 1, 1}, 0}, device.stream(),
              device.send(random_integers(4, threads, 1000)), out);
  const Bits bits = device.fetch(out, 2);
  float found[2];
  std::memcpy(found, bits.data(), sizeof(found));
  return bits_of_values(std::vector<float>{found[0] + found[1]});
}

Bits expect_exchange(int) {
  float sum = 0;
  for (const float value : random_integers(4, threads, 1000)) sum += value;
  return bits_of_values(std::vector<float>{sum});
}

// ---- release and acquire ------------------------------------------------------------------------
METTLE_GLOBAL(128)
void pass_through(std::uint32_t* words, std::uint64_t* wide, std::uint32_t* out) {
  const int thread = dev::thread_rank();
  dev::store_release(words + thread, words[thread] + 1);
  dev::store_release(wide + thread, wide[thread] + 1);
  const std::uint64_t loaded = dev::load_acquire(wide + thread);
  out[3 * thread] = dev::load_acquire(words + thread);
  out[3 * thread + 1] = static_cast<std::uint32_t>(loaded);
  out[3 * thread + 2] = static_cast<std::uint32_t>(loaded >> 32);
}

template <class T> std::vector<T> raw(int stream) {
  std::vector<T> in(threads);
  for (std::size_t i = 0; i < in.size(); ++i) in[i] = static_cast<T>(random_bits(stream, i));
  return in;
}

Bits run_pass(Device& device, int) {
  auto* out = device.zeros<std::uint32_t>(3 * threads);
  dev::launch(pass_through, {{1, 1, 1}, {threads, 1, 1}, 0}, device.stream(),
              device.send(raw<std::uint32_t>(5)), device.send(raw<std::uint64_t>(6)), out);
  return device.fetch(out, 3 * threads);
}

Bits expect_pass(int) {
  Bits out;
  for (std::size_t i = 0; i < threads; ++i) {
    const std::uint64_t wide = random_bits(6, i) + 1;
    out.push_back(static_cast<std::uint32_t>(random_bits(5, i)) + 1);
    out.push_back(static_cast<std::uint32_t>(wide));
    out.push_back(static_cast<std::uint32_t>(wide >> 32));
  }
  return out;
}

// ---- shared memory ------------------------------------------------------------------------------
METTLE_DEVICE std::uint32_t remainder_of(const void* pointer) {
  return static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(pointer) % 1024);
}

// Alignment of what is handed out, and that parts do not touch each other.
METTLE_GLOBAL(128) void use_shared(std::uint32_t* out) {
  METTLE_SHARED(std::uint16_t, a, 7);
  METTLE_SHARED(dev::Float4, b, 3);
  dev::SharedCarver carver;
  auto* c = carver.take<std::uint32_t>(5);
  auto* d = carver.take<std::uint32_t, 1024>(9);
  auto* e = carver.take<std::uint32_t>(threads);
  const auto thread = static_cast<std::uint32_t>(dev::thread_rank());
  if (thread < 7) a[thread] = static_cast<std::uint16_t>(thread);
  if (thread < 12) b[thread / 4].at[thread % 4] = static_cast<float>(thread);
  if (thread < 5) c[thread] = 100 + thread;
  if (thread < 9) d[thread] = 200 + thread;
  e[thread] = 300 + thread;
  dev::sync_block();
  out[thread] = e[threads - 1 - thread] + (thread < 7 ? a[6 - thread] * 1000u : 0u) +
                (thread < 12 ? static_cast<std::uint32_t>(b[2 - thread / 4].at[0]) * 100000u : 0u) +
                (thread < 5 ? c[4 - thread] * 1000000u : 0u) + (thread < 9 ? d[8 - thread] : 0u);
  if (thread == 0)
    out[threads] = remainder_of(a) % 16 + remainder_of(b) % 16 + remainder_of(c) % 128 +
                   remainder_of(d) + remainder_of(e) % 128;
}

Bits run_shared(Device& device, int) {
  auto* out = device.zeros<std::uint32_t>(threads + 1);
  dev::launch(use_shared, {{1, 1, 1}, {threads, 1, 1}, 4096}, device.stream(), out);
  return device.fetch(out, threads + 1);
}

Bits expect_shared(int) {
  Bits out;
  for (std::uint32_t t = 0; t < threads; ++t)
    out.push_back(300 + threads - 1 - t + (t < 7 ? (6 - t) * 1000 : 0) +
                  (t < 12 ? (2 - t / 4) * 4 * 100000 : 0) + (t < 5 ? (104 - t) * 1000000 : 0) +
                  (t < 9 ? 208 - t : 0));
  out.push_back(0);
  return out;
}

// ---- copies -------------------------------------------------------------------------------------
constexpr int copied = 32;  // copies of each size, with every number of source bytes

template <int bytes> METTLE_GLOBAL(32) void copy_cut(const std::uint8_t* in, std::uint8_t* out) {
  METTLE_SHARED(std::uint8_t, tile, copied * bytes);
  const int i = dev::lane_index();
  dev::copy_async<bytes>(tile + i * bytes, in + i * bytes, i % (bytes + 1));
  dev::commit_copies();
  dev::wait_copies<0>();
  dev::sync_warp();
  for (int j = i; j < copied * bytes; j += dev::warp_size) out[j] = tile[j];
}

std::vector<std::uint8_t> some_bytes(std::size_t count) {
  std::vector<std::uint8_t> in(count);
  for (std::size_t i = 0; i < count; ++i) in[i] = static_cast<std::uint8_t>(random_bits(7, i) | 1);
  return in;
}

Bits run_copies(Device& device, int bytes) {
  const auto count = copied * static_cast<std::size_t>(bytes);
  auto* out = device.zeros<std::uint8_t>(count);
  const auto kernel = bytes == 4 ? copy_cut<4> : bytes == 8 ? copy_cut<8> : copy_cut<16>;
  dev::launch(kernel, {{1, 1, 1}, {32, 1, 1}, 0}, device.stream(), device.send(some_bytes(count)),
              out);
  return device.fetch(reinterpret_cast<std::uint32_t*>(out), count / 4);
}

Bits expect_copies(int bytes) {
  std::vector<std::uint8_t> out = some_bytes(copied * static_cast<std::size_t>(bytes));
  for (int i = 0; i < copied; ++i)
    for (int j = i % (bytes + 1); j < bytes; ++j) out.data()[i * bytes + j] = 0;
  Bits bits(out.size() / 4);
  std::memcpy(bits.data(), out.data(), out.size());
  return bits;
}

// Three bulk copies of different sizes, two of them at one mbarrier.
METTLE_GLOBAL(64) void copy_by_bulk(const std::uint32_t* in, std::uint32_t* out) {
  METTLE_SHARED(dev::MBarrier, full, 2);
  METTLE_SHARED(dev::Float4, memory, 1024 / 4);
  auto* tile = reinterpret_cast<std::uint32_t*>(memory);
  if (dev::thread_rank() == 0) {
    dev::mbarrier_init(&full[0], 1);
    dev::mbarrier_init(&full[1], 1);
    dev::fence_async_proxy();
    dev::mbarrier_arrive_expect(&full[0], 16 + 2048);
    dev::mbarrier_arrive_expect(&full[1], 1024);
    dev::copy_bulk(tile, in, 16, &full[0]);
    dev::copy_bulk(tile + 4, in + 512, 2048, &full[0]);
    dev::copy_bulk(tile + 600, in + 4, 1024, &full[1]);
  }
  dev::sync_block();
  dev::mbarrier_wait(&full[1], 0);
  dev::mbarrier_wait(&full[0], 0);
  for (int i = dev::thread_rank(); i < 516; i += 64) out[i] = tile[i];
  for (int i = dev::thread_rank(); i < 256; i += 64) out[516 + i] = tile[600 + i];
}

Bits run_bulk(Device& device, int) {
  Bits in(1024);
  for (std::size_t i = 0; i < in.size(); ++i) in[i] = static_cast<std::uint32_t>(random_bits(8, i));
  auto* out = device.zeros<std::uint32_t>(516 + 256);
  dev::launch(copy_by_bulk, {{1, 1, 1}, {64, 1, 1}, 0}, device.stream(), device.send(in), out);
  return device.fetch(out, 516 + 256);
}

Bits expect_bulk(int) {
  Bits out;
  const auto take = [&](std::size_t first, std::size_t count) {
    for (std::size_t i = first; i < first + count; ++i)
      out.push_back(static_cast<std::uint32_t>(random_bits(8, i)));
  };
  take(0, 4);
  take(512, 512);
  take(4, 256);
  return out;
}

// ---- ldmatrix -----------------------------------------------------------------------------------
std::vector<std::uint16_t> matrices() {
  std::vector<std::uint16_t> in(4 * 64);
  for (std::size_t i = 0; i < in.size(); ++i) in[i] = static_cast<std::uint16_t>(random_bits(9, i));
  return in;
}

// `number`: how many matrices, negative when transposed.
Bits run_load(Device& device, int number) {
  const int count = std::abs(number);
  auto* out = device.zeros<std::uint32_t>(32 * static_cast<std::size_t>(count));
  emulation_test::load_matrices(count, number < 0, device.stream(), device.send(matrices()), out);
  return device.fetch(out, 32 * static_cast<std::size_t>(count));
}

Bits expect_load(int number) {
  const std::vector<std::uint16_t> in = matrices();
  Bits out;
  for (int lane = 0; lane < 32; ++lane)
    for (int matrix = 0; matrix < std::abs(number); ++matrix) {
      const auto element = [&](int which) {
        const int line = lane / 4, place = 2 * (lane % 4) + which;
        const int at = number < 0 ? 8 * place + line : 8 * line + place;
        return std::uint32_t{in.data()[64 * matrix + at]};
      };
      out.push_back(element(0) | element(1) << 16);
    }
  return out;
}

// ---- swizzles -----------------------------------------------------------------------------------
constexpr int offsets = 4096;

Bits run_swizzles(Device& device, int) {
  int* of[4];
  for (int*& at : of) at = device.zeros<int>(offsets);
  emulation_test::swizzle_offsets(device.stream(), of[0], of[1], of[2], of[3], offsets);
  Bits out;
  for (const int* at : of) {
    const Bits part = device.fetch(at, offsets);
    out.insert(out.end(), part.begin(), part.end());
  }
  return out;
}

Bits expect_swizzles(int) {
  Bits out;
  for (const std::uint32_t width : {16u, 32u, 64u, 128u})
    for (std::uint32_t i = 0; i < offsets; ++i)
      out.push_back(i / width * width + (i % width / 16 ^ i / 128 % (width / 16)) * 16 + i % 16);
  return out;
}

}  // namespace

void add_memory_words(std::vector<Word>& words) {
  const auto add = [&](const char* name, auto run, auto expect, int number = 0) {
    words.push_back({name, Kind::bits, 0, run, expect, number});
  };
  add("atomics_i32", run_integers<std::int32_t>, expect_integers<std::int32_t>);
  add("atomics_u32", run_integers<std::uint32_t>, expect_integers<std::uint32_t>);
  add("atomics_i64", run_integers<std::int64_t>, expect_integers<std::int64_t>);
  add("atomics_u64", run_integers<std::uint64_t>, expect_integers<std::uint64_t>);
  add("atomic_add_f32", run_numbers<float>, expect_numbers<float>);
  add("atomic_add_f64", run_numbers<double>, expect_numbers<double>);
  add("atomic_exchange_f32", run_exchange, expect_exchange);
  add("release_acquire", run_pass, expect_pass);
  add("shared_memory", run_shared, expect_shared);
  add("copy_async_4", run_copies, expect_copies, 4);
  add("copy_async_8", run_copies, expect_copies, 8);
  add("copy_async_16", run_copies, expect_copies, 16);
  add("copy_bulk", run_bulk, expect_bulk);
  add("load_matrices_1", run_load, expect_load, 1);
  add("load_matrices_2", run_load, expect_load, 2);
  add("load_matrices_4", run_load, expect_load, 4);
  add("load_matrices_transposed_1", run_load, expect_load, -1);
  add("load_matrices_transposed_2", run_load, expect_load, -2);
  add("load_matrices_transposed_4", run_load, expect_load, -4);
  add("swizzled", run_swizzles, expect_swizzles);
}

}  // namespace mettle::conformance
