// How one reduction works on accumulators of type C; filled in by the vector code of one
// instruction set.
#pragma once

#include <cstdint>

namespace mettle::kernels::cpu {

template <class C> struct Reducer {
  C start;                                         // of an accumulator
  C (*row)(const C* x, std::int64_t n);            // of a tile with n >= 1 elements
  void (*into)(const C* x, C* y, std::int64_t n);  // y[j] = combine(y[j], x[j])
};

}  // namespace mettle::kernels::cpu
