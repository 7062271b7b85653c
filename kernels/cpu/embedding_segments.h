// Positions grouped by embedding id: the sorted view that gradient sums walk.
#pragma once

#include <cstdint>
#include <vector>

namespace mettle::kernels::cpu {

struct IdPosition {
  std::int64_t id, position;
};

/// Throws ValueError naming the first id outside [0, table_rows) that is not padding_id.
template <class Id>
void check_ids(const Id* ids, std::int64_t n, std::int64_t table_rows, std::int64_t padding_id);

/// The positions of each id that occurs, ids ascending, positions ascending within an id; positions
/// of padding_id are left out. Ids must have passed check_ids.
class Segments {
 public:
  Segments() = default;
  template <class Id>
  Segments(const Id* ids, std::int64_t n, std::int64_t table_rows, std::int64_t padding_id);

  std::int64_t count() const { return static_cast<std::int64_t>(starts_.size()) - 1; }
  std::int64_t positions() const { return static_cast<std::int64_t>(sorted_.size()); }
  std::int64_t id(std::int64_t segment) const { return begin(segment)->id; }
  const IdPosition* begin(std::int64_t segment) const {
    return sorted_.data() + starts_[static_cast<std::size_t>(segment)];
  }
  const IdPosition* end(std::int64_t segment) const { return begin(segment + 1); }

 private:
  std::vector<IdPosition> sorted_;
  std::vector<std::int64_t> starts_ = {0};  // of each segment, and the end
};

}  // namespace mettle::kernels::cpu
