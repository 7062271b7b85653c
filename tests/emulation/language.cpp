// Kernels in what only host compilers know: atomics of the language and the functions of <cstring>.
// They reach the emulation through instrumentation alone.
#include <cstring>

#include "kernels/cuda/device.cuh"
#include "tests/emulation/kernels.h"

namespace mettle::emulation_test {
namespace {

template <class T> METTLE_DEVICE void count_with(T* counter, T* last) {
  __atomic_fetch_add(counter, T{3}, __ATOMIC_RELAXED);
  __atomic_fetch_sub(counter, T{1}, __ATOMIC_RELAXED);
  __atomic_fetch_or(last, T{1}, __ATOMIC_RELAXED);
  __atomic_fetch_and(last, static_cast<T>(~T{0}), __ATOMIC_RELAXED);
  __atomic_fetch_xor(last, T{0}, __ATOMIC_SEQ_CST);
  T expected = __atomic_load_n(last, __ATOMIC_ACQUIRE);
  __atomic_compare_exchange_n(last, &expected, static_cast<T>(expected | 2), false,
                              __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
  __atomic_exchange_n(last, T{7}, __ATOMIC_RELAXED);
}

METTLE_GLOBAL(32) void count_in_all_sizes(LanguageCounters* out) {
  count_with(&out->of_8, &out->last_8);
  count_with(&out->of_16, &out->last_16);
  count_with(&out->of_32, &out->last_32);
  count_with(&out->of_64, &out->last_64);
}

// Each block writes its number and counts itself; the last one adds the numbers.
template <bool ordered>
METTLE_GLOBAL(1)
void pass_by_counter(int* numbers, int* counter, int* sum) {
  const int block = dev::block_index().x, blocks = dev::grid_size().x;
  numbers[block] = block;  // number write
  constexpr int order = ordered ? __ATOMIC_ACQ_REL : __ATOMIC_RELAXED;
  if (__atomic_fetch_add(counter, 1, order) != blocks - 1) return;
  int all = 0;
  for (int i = 0; i < blocks; ++i) all += numbers[i];  // number read
  *sum = all;
}

template <MemoryFunction function>
METTLE_GLOBAL(32)
void call(const float* x, float* y, int bytes) {
  const auto count = static_cast<std::size_t>(bytes);
  if (function == MemoryFunction::copy) std::memcpy(y, x, count);   // memcpy
  if (function == MemoryFunction::move) std::memmove(y, x, count);  // memmove
  if (function == MemoryFunction::set) std::memset(y, 0, count);    // memset
}

}  // namespace

void language_counters(const Stream& stream, LanguageCounters* out) {
  dev::launch(count_in_all_sizes, {.grid = {}, .block = {32}}, stream, out);
}

void language_ticket(bool ordered, const Stream& stream, int* numbers, int* counter, int* sum,
                     int blocks) {
  dev::launch(ordered ? pass_by_counter<true> : pass_by_counter<false>,
              {.grid = {blocks}, .block = {}}, stream, numbers, counter, sum);
}

void memory_function(MemoryFunction function, const Stream& stream, int threads, const float* x,
                     float* y, int bytes) {
  static constexpr decltype(&call<MemoryFunction::copy>) kernels[] = {
      call<MemoryFunction::copy>, call<MemoryFunction::move>, call<MemoryFunction::set>};
  dev::launch(kernels[static_cast<int>(function)], {.grid = {}, .block = {threads}}, stream, x, y,
              bytes);
}

}  // namespace mettle::emulation_test
