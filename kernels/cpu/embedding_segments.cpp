// Checking ids and sorting their positions: a stable least-significant-digit radix sort, linear in
// the number of ids.
#include "kernels/cpu/embedding_segments.h"

#include <array>
#include <utility>

#include "kernels/primitive_checks.h"

namespace mettle::kernels::cpu {
namespace {

/// Sorts by id, keeping the order of equal ids.
void radix_sort(std::vector<IdPosition>& items, std::int64_t id_limit) {
  constexpr int bits = 8;
  std::vector<IdPosition> other(items.size());
  for (int shift = 0; shift < 63 && ((id_limit - 1) >> shift) > 0; shift += bits) {
    const auto digit = [&](const IdPosition& item) {
      return static_cast<std::size_t>((item.id >> shift) & ((1 << bits) - 1));
    };
    std::array<std::size_t, std::size_t{1} << bits> next{};
    for (const IdPosition& item : items) ++next[digit(item)];
    std::size_t start = 0;
    for (std::size_t& n : next) start += std::exchange(n, start);
    for (const IdPosition& item : items) other[next[digit(item)]++] = item;
    items.swap(other);
  }
}

}  // namespace

template <class Id>
void check_ids(const Id* ids, std::int64_t n, std::int64_t table_rows, std::int64_t padding_id) {
  for (std::int64_t i = 0; i < n; ++i) {
    const bool inside = ids[i] >= 0 && ids[i] < table_rows;
    if (!inside && (padding_id == -1 || ids[i] != padding_id))
      throw_id_outside(ids[i], i, table_rows);
  }
}

template <class Id>
Segments::Segments(const Id* ids, std::int64_t n, std::int64_t table_rows,
                   std::int64_t padding_id) {
  sorted_.reserve(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i)
    if (ids[i] != padding_id) sorted_.push_back({ids[i], i});
  radix_sort(sorted_, table_rows);
  starts_.clear();
  for (std::size_t i = 0; i < sorted_.size(); ++i)
    if (i == 0 || sorted_[i].id != sorted_[i - 1].id)
      starts_.push_back(static_cast<std::int64_t>(i));
  starts_.push_back(static_cast<std::int64_t>(sorted_.size()));
}

template void check_ids(const std::int64_t*, std::int64_t, std::int64_t, std::int64_t);
template void check_ids(const std::int32_t*, std::int64_t, std::int64_t, std::int64_t);
template Segments::Segments(const std::int64_t*, std::int64_t, std::int64_t, std::int64_t);
template Segments::Segments(const std::int32_t*, std::int64_t, std::int64_t, std::int64_t);

}  // namespace mettle::kernels::cpu
