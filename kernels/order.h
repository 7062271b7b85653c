// The order of elements along lines: sorted indices and the index of an extreme element. Indices
// are outside differentiation; values are had by gathering with them.
#pragma once

#include "engine/dtype.h"
#include "kernels/builtin.h"

namespace mettle::kernels {

enum class Order : std::uint8_t { ascending, descending };

/// The first `keep` indices of each row of a dense (rows, n) in sorted order. Stable: equal
/// elements stay in the order of their indices. NaN comes last in either order.
struct SortArgs {
  DType dtype;  // any
  Order order;
  std::int64_t rows, n, keep;
  const void* x;
  std::int64_t* indices;  // (rows, keep)
};

inline Slot<SortArgs> sort{"sort"};

/// The first index of the largest (descending) or smallest (ascending) element of each row of a
/// dense (rows, n), n >= 1. The first NaN, where there is one.
struct ArgExtremumArgs {
  DType dtype;  // any
  Order order;
  std::int64_t rows, n;
  const void* x;
  std::int64_t* index;  // (rows)
};

inline Slot<ArgExtremumArgs> arg_extremum{"arg_extremum"};

}  // namespace mettle::kernels
