// Operands of the tests of primitive kernels: elements of any dtype seen through strides, dense
// results between guard bytes, both in memory of the device under test.
#pragma once

#include "engine/shape.h"
#include "tests/kernels/kernel_test_util.h"

namespace mettle::test {

inline constexpr DType all_dtypes[] = {DType::f64, DType::f32, DType::bf16,
                                       DType::f16, DType::i64, DType::i32,
                                       DType::i8,  DType::u8,  DType::boolean};

template <class T> T element_from(double x) {
  if constexpr (std::is_same_v<T, bool>)
    return x != 0;
  else
    return static_cast<T>(x);
}

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

/// Elements of a device that surround themselves with guard bytes, which must survive.
class AnyBuffer {
 public:
  /// `misaligned` elements behind an aligned address.
  AnyBuffer(DType dtype, std::int64_t n, std::int64_t misaligned = 0)
      : dtype_(dtype),
        n_(n),
        front_(guard + static_cast<std::size_t>(misaligned) * size_of(dtype)),
        memory_(front_ + static_cast<std::size_t>(n) * size_of(dtype) + guard) {
    const Bytes bytes(memory_.bytes(), 0xA5);
    memory_.write(bytes.data(), bytes.size());
  }
  AnyBuffer(DType dtype, const Vec& values, std::int64_t misaligned = 0)
      : AnyBuffer(dtype, static_cast<std::int64_t>(values.size()), misaligned) {
    Bytes bytes(memory_.bytes(), 0xA5);
    dispatch_any(dtype, [&]<class T>() {
      for (std::size_t i = 0; i < values.size(); ++i) {
        const T value = element_from<T>(values[i]);
        std::memcpy(bytes.data() + front_ + i * sizeof(T), &value, sizeof(T));
      }
    });
    memory_.write(bytes.data(), bytes.size());
  }
  ~AnyBuffer() {
    if (memory_.bytes() == 0) return;  // moved from
    const Bytes bytes = this->bytes();
    for (std::size_t i = 0; i < front_; ++i) EXPECT_EQ(bytes[i], 0xA5) << "written before it";
    for (std::size_t i = bytes.size() - guard; i < bytes.size(); ++i)
      EXPECT_EQ(bytes[i], 0xA5) << "written past it";
  }
  AnyBuffer(AnyBuffer&&) = default;
  AnyBuffer(const AnyBuffer&) = default;
  AnyBuffer& operator=(const AnyBuffer&) = default;

  void* data() const { return memory_.data() + front_; }
  template <class T> T* as() const { return reinterpret_cast<T*>(memory_.data() + front_); }
  DType dtype() const { return dtype_; }
  Vec values() const {
    const Bytes bytes = this->bytes();
    Vec out(static_cast<std::size_t>(n_));
    dispatch_any(dtype_, [&]<class T>() {
      for (std::size_t i = 0; i < out.size(); ++i) {
        T value;
        std::memcpy(&value, bytes.data() + front_ + i * sizeof(T), sizeof(T));
        out[i] = static_cast<double>(value);
      }
    });
    return out;
  }
  friend bool operator==(const AnyBuffer& a, const AnyBuffer& b) { return a.bytes() == b.bytes(); }

 private:
  static constexpr std::size_t guard = 64;
  using Bytes = std::vector<std::uint8_t>;
  Bytes bytes() const {
    Bytes out(memory_.bytes());
    memory_.read(out.data(), out.size());
    return out;
  }

  DType dtype_;
  std::int64_t n_;
  std::size_t front_;
  TestMemory memory_;
};

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
  AnyBuffer memory_;
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
