// Sorting of indices, row by row. The comparison ends with the index, so it is a total order and
// every algorithm gives the one stable result.
#include "kernels/order.h"

#include <algorithm>
#include <bit>
#include <numeric>
#include <type_traits>
#include <vector>

#include "engine/parallel.h"
#include "kernels/cpu/register.h"
#include "kernels/cpu/tiles.h"

namespace mettle::kernels::cpu {
namespace {

// The type in which elements are compared: exact for every value of T.
template <class T>
using compared_t = std::conditional_t<std::is_same_v<T, bf16> || std::is_same_v<T, f16>, float, T>;

template <class T> bool is_nan(T x) { return x != x; }

/// Whether x comes before y, by value alone.
template <class C> bool before(C x, C y, Order order) {
  if (is_nan(y)) return !is_nan(x);
  return order == Order::ascending ? x < y : x > y;
}

template <class T> void sort_rows(const SortArgs& args) {
  const std::int64_t depth = std::bit_width(static_cast<std::uint64_t>(args.n));
  const std::int64_t work = std::max<std::int64_t>(1, args.n * depth);
  parallel_for(args.rows, std::max<std::int64_t>(1, chunk_size / work),
               [&](std::int64_t begin, std::int64_t end) {
                 std::vector<std::int64_t> all(static_cast<std::size_t>(args.n));
                 for (std::int64_t row = begin; row < end; ++row) {
                   const T* x = static_cast<const T*>(args.x) + row * args.n;
                   std::iota(all.begin(), all.end(), 0);
                   const auto first = [&](std::int64_t a, std::int64_t b) {
                     const compared_t<T> p = x[a], q = x[b];
                     if (before(p, q, args.order)) return true;
                     if (before(q, p, args.order)) return false;
                     return a < b;
                   };
                   if (args.keep == args.n) {
                     std::sort(all.begin(), all.end(), first);
                   } else {
                     std::partial_sort(all.begin(), all.begin() + args.keep, all.end(), first);
                   }
                   std::copy_n(all.begin(), args.keep, args.indices + row * args.keep);
                 }
               });
}

template <class T> void find_rows(const ArgExtremumArgs& args) {
  parallel_for(args.rows, std::max<std::int64_t>(1, chunk_size / args.n),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t row = begin; row < end; ++row) {
                   const T* x = static_cast<const T*>(args.x) + row * args.n;
                   std::int64_t best = 0;
                   for (std::int64_t i = 1; i < args.n; ++i) {
                     const compared_t<T> held = x[best], offered = x[i];
                     if (is_nan(held)) break;
                     if (is_nan(offered) || before(offered, held, args.order)) best = i;
                   }
                   args.index[row] = best;
                 }
               });
}

}  // namespace

void register_order() {
  sort.add({"comparison", DeviceType::cpu, 0, nullptr, [](const Stream&, const SortArgs& args) {
              dispatch_any(args.dtype, [&]<class T>() { sort_rows<T>(args); });
            }});
  arg_extremum.add(
      {"rows", DeviceType::cpu, 0, nullptr, [](const Stream&, const ArgExtremumArgs& args) {
         dispatch_any(args.dtype, [&]<class T>() { find_rows<T>(args); });
       }});
}

}  // namespace mettle::kernels::cpu
