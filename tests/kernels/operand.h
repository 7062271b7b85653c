// Operands of the tests of primitive kernels: elements of any dtype seen through strides, dense
// results between guard bytes, both in memory of the device under test.
#pragma once

#include "engine/shape.h"
#include "tests/kernels/kernel_test_util.h"

namespace mettle::test {

inline constexpr DType all_dtypes[] = {DType::f64, DType::f32, DType::bf16,
                                       DType::f16, DType::i64, DType::i32,
                                       DType::i8,  DType::u8,  DType::boolean};

/// Calls visit(i, index) for every index of the shape in row-major order.
template <class Visit> void for_each_index(const Shape& shape, Visit&& visit) {
  Shape index = Shape::filled(shape.rank(), 0);
  const std::int64_t n = numel(shape);
  for (std::int64_t i = 0; i < n; ++i) {
    visit(i, index);
    for (int axis = shape.rank() - 1; axis >= 0; --axis) {
      if (++index[axis] < shape[axis]) break;
      index[axis] = 0;
    }
  }
}

/// A strided view of random numbers.
class Operand {
 public:
  Operand(DType dtype, const Shape& shape, const Strides& strides, unsigned seed, double low = -4,
          double high = 4, std::int64_t misaligned = 0)
      : strides_(strides), memory_(dtype, numbers(shape, strides, seed, low, high), misaligned) {
    held_ = memory_.values();
  }
  /// Of element 0.
  void* data() const { return memory_.as<std::uint8_t>() + start_ * size_of(memory_.dtype()); }
  double at(const Shape& index) const { return held_[static_cast<std::size_t>(offset(index))]; }
  /// What a kernel that writes through the strides has left.
  void refresh() { held_ = memory_.values(); }
  const Strides& strides() const { return strides_; }

 private:
  std::int64_t offset(const Shape& index) const {
    auto at = static_cast<std::int64_t>(start_);
    for (int axis = 0; axis < index.rank(); ++axis) at += index[axis] * strides_[axis];
    return at;
  }
  Vec numbers(const Shape& shape, const Strides& strides, unsigned seed, double low, double high) {
    std::int64_t before = 0, after = 0;
    for (int axis = 0; axis < shape.rank(); ++axis) {
      const std::int64_t reach = std::max<std::int64_t>(shape[axis] - 1, 0) * strides[axis];
      (reach < 0 ? before : after) += reach;
    }
    start_ = static_cast<std::size_t>(-before);
    return random_vec(numel(shape) == 0 ? 0 : after - before + 1, seed, low, high);
  }

  Strides strides_;
  std::size_t start_ = 0;
  Buffer memory_;
  Vec held_;
};

/// run() throws a ValueError with this message, at the latest where the host waits for the device.
template <class Run> void expect_refused(const std::string& message, Run&& run) {
  try {
    run();
    synchronize(stream_under_test());
    ADD_FAILURE() << "nothing was thrown, expected: " << message;
  } catch (const ValueError& e) {
    EXPECT_NE(std::string(e.what()).find(message), std::string::npos) << e.what();
  }
}

/// Shapes with the strides of up to three operands: what elementwise kernels must cope with.
struct StridedCase {
  const char* name;
  Shape shape;
  Strides strides[3];
  std::int64_t misaligned = 0;
};

inline std::vector<StridedCase> strided_cases() {
  const Strides row = {64, 1};
  return {
      {"scalar", {}, {{}, {}, {}}},
      {"empty", {3, 0}, {{1, 1}, {1, 1}, {1, 1}}},
      {"dense", {5, 64}, {row, row, row}},
      {"dense, odd", {1037}, {{1}, {1}, {1}}},
      {"dense, misaligned", {1000}, {{1}, {1}, {1}}, 1},
      {"constant", {1003}, {{1}, {0}, {0}}},
      {"constant first", {600}, {{0}, {1}, {0}}},
      {"row for all", {9, 64}, {row, {0, 1}, {0, 1}}},
      {"column for all", {9, 64}, {row, {1, 0}, {1, 0}}},
      {"outer sum", {9, 64}, {{1, 0}, {0, 1}, row}},
      {"odd rows", {9, 61}, {{61, 1}, {0, 1}, {1, 0}}},
      {"every other", {300}, {{2}, {1}, {3}}},
      {"transposed", {37, 20}, {{1, 37}, {20, 1}, {1, 37}}},
      {"reversed", {7, 32}, {{-32, 1}, {32, -1}, {32, 1}}},
      {"padded rows", {6, 40}, {{48, 1}, {40, 1}, {56, 1}}},
      {"many axes",
       {2, 3, 2, 1, 2, 3, 2, 4},
       {{1, 2, 6, 0, 12, 24, 72, 144}, {0, 1, 0, 0, 3, 0, 6, 12}, {288, 96, 48, 48, 24, 8, 4, 1}}},
  };
}

}  // namespace mettle::test
