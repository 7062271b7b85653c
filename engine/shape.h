// Shapes and strides: at most eight dimensions, stored inline, counted in elements.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

namespace mettle {

inline constexpr int max_rank = 8;

/// A short list of 64-bit integers with value semantics.
class Dims {
 public:
  Dims() = default;
  Dims(std::initializer_list<std::int64_t> values)
      : Dims(std::span(values.begin(), values.size())) {}
  explicit Dims(std::span<const std::int64_t> values) {
    check_rank(values.size());
    rank_ = static_cast<std::uint8_t>(values.size());
    std::copy(values.begin(), values.end(), values_.begin());
  }
  /// `rank` entries, all equal to `value`.
  static Dims filled(int rank, std::int64_t value) {
    check_rank(static_cast<std::size_t>(rank));
    Dims d;
    d.rank_ = static_cast<std::uint8_t>(rank);
    std::fill_n(d.values_.begin(), rank, value);
    return d;
  }

  int rank() const { return rank_; }
  bool empty() const { return rank_ == 0; }
  std::size_t size() const { return rank_; }
  std::int64_t operator[](int i) const { return values_[static_cast<std::size_t>(i)]; }
  std::int64_t& operator[](int i) { return values_[static_cast<std::size_t>(i)]; }
  /// Counted from the end for negative i: back(-1) is the last.
  std::int64_t at(int i) const { return values_[static_cast<std::size_t>(i < 0 ? i + rank_ : i)]; }
  const std::int64_t* begin() const { return values_.data(); }
  const std::int64_t* end() const { return values_.data() + rank_; }
  const std::int64_t* data() const { return values_.data(); }
  std::span<const std::int64_t> span() const { return {begin(), end()}; }

  void push_back(std::int64_t value) {
    check_rank(rank_ + 1u);
    values_[rank_++] = value;
  }
  void insert(int position, std::int64_t value) {
    push_back(value);
    std::rotate(values_.begin() + position, values_.begin() + rank_ - 1, values_.begin() + rank_);
  }
  void erase(int position) {
    std::copy(values_.begin() + position + 1, values_.begin() + rank_, values_.begin() + position);
    --rank_;
  }

  friend bool operator==(const Dims& a, const Dims& b) {
    return a.rank_ == b.rank_ && std::equal(a.begin(), a.end(), b.begin());
  }

 private:
  static void check_rank(std::size_t rank) {
    if (rank > max_rank) [[unlikely]]
      throw_rank(rank);
  }
  [[noreturn]] static void throw_rank(std::size_t rank);

  std::array<std::int64_t, max_rank> values_{};
  std::uint8_t rank_ = 0;
};

using Shape = Dims;
using Strides = Dims;

/// Number of elements; 1 for a scalar. Throws ShapeError for a negative extent or a product beyond
/// 2^62.
std::int64_t numel(const Shape& shape);

/// Row-major strides of a dense tensor.
Strides contiguous_strides(const Shape& shape);

/// "(2, 3)".
std::string to_string(const Dims& dims);

/// NumPy broadcasting of two shapes. Throws ShapeError naming `operation` when they do not fit.
Shape broadcast_shapes(const Shape& a, const Shape& b, std::string_view operation);

/// Turns a possibly negative axis into 0 <= axis < rank. Throws ShapeError naming `operation`.
int normalize_axis(int axis, int rank, std::string_view operation);

}  // namespace mettle
