// Tools of the kernel tests: typed buffers with guard bytes, tolerances derived from the dtype,
// numeric derivatives of a map between f64 vectors.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "engine/check.h"
#include "engine/dtype.h"
#include "engine/kernel_slot.h"
#include "engine/parallel.h"
#include "tests/kernels/device_under_test.h"
#include "tests/thread_counts.h"

namespace mettle::test {

using Vec = std::vector<double>;

inline constexpr DType float_dtypes[] = {DType::f64, DType::f32, DType::bf16, DType::f16};

inline DType statistics_dtype(DType dtype) { return dtype == DType::f64 ? DType::f64 : DType::f32; }

/// The largest relative error of one rounding to nearest.
inline double rounding(DType dtype) {
  switch (dtype) {
    case DType::f64: return 0x1p-53;
    case DType::f32: return 0x1p-24;
    case DType::bf16: return 0x1p-8;
    default: return 0x1p-11;
  }
}

inline Vec random_vec(std::int64_t n, unsigned seed, double low = -1, double high = 1) {
  std::mt19937_64 engine(seed);
  std::uniform_real_distribution<double> uniform(low, high);
  Vec v(static_cast<std::size_t>(n));
  for (double& x : v) x = uniform(engine);
  return v;
}

/// `n` values of T in memory of the device under test.
template <class T> class Array {
 public:
  explicit Array(const std::vector<T>& values) : n_(values.size()), memory_(n_ * sizeof(T)) {
    memory_.write(values.data(), n_ * sizeof(T));
  }
  T* data() const { return reinterpret_cast<T*>(memory_.data()); }
  std::vector<T> values() const {
    std::vector<T> out(n_);
    memory_.read(out.data(), n_ * sizeof(T));
    return out;
  }

 private:
  std::size_t n_;
  TestMemory memory_;
};

template <class T> T element_from(double x) {
  if constexpr (std::is_same_v<T, bool>)
    return x != 0;
  else
    return static_cast<T>(x);
}

/// n elements of any dtype between guard bytes that must survive, in memory of the device under
/// test.
class Buffer {
 public:
  /// `misaligned` elements behind an aligned address.
  Buffer(DType dtype, std::int64_t n, std::int64_t misaligned = 0)
      : dtype_(dtype),
        n_(static_cast<std::size_t>(n)),
        front_(guard + static_cast<std::size_t>(misaligned) * size_of(dtype)),
        memory_(front_ + n_ * size_of(dtype) + guard) {
    write(Bytes(memory_.bytes(), 0xA5));
  }
  Buffer(DType dtype, const Vec& values, std::int64_t misaligned = 0)
      : Buffer(dtype, static_cast<std::int64_t>(values.size()), misaligned) {
    Bytes bytes(memory_.bytes(), 0xA5);
    dispatch_any(dtype, [&]<class T>() {
      for (std::size_t i = 0; i < n_; ++i) {
        const T value = element_from<T>(values[i]);
        std::memcpy(bytes.data() + front_ + i * sizeof(T), &value, sizeof(T));
      }
    });
    write(bytes);
  }
  ~Buffer() {
    if (memory_.bytes() == 0) return;  // moved from
    const Bytes bytes = this->bytes();
    for (std::size_t i = 0; i < front_; ++i)
      EXPECT_EQ(bytes[i], 0xA5) << "written before the buffer";
    for (std::size_t i = bytes.size() - guard; i < bytes.size(); ++i)
      EXPECT_EQ(bytes[i], 0xA5) << "written past the buffer";
  }
  Buffer(Buffer&&) = default;
  Buffer(const Buffer&) = default;
  Buffer& operator=(const Buffer&) = default;

  void* data() const { return memory_.data() + front_; }
  template <class T> T* as() const { return reinterpret_cast<T*>(memory_.data() + front_); }
  DType dtype() const { return dtype_; }
  Vec values() const {
    const Bytes bytes = this->bytes();
    Vec out(n_);
    dispatch_any(dtype_, [&]<class T>() {
      for (std::size_t i = 0; i < n_; ++i) {
        T value;
        std::memcpy(&value, bytes.data() + front_ + i * sizeof(T), sizeof(T));
        out[i] = static_cast<double>(value);
      }
    });
    return out;
  }
  friend bool operator==(const Buffer& a, const Buffer& b) { return a.bytes() == b.bytes(); }

 private:
  // Keeps elements aligned for packs of 16 bytes, on a device too.
  static constexpr std::size_t guard = 64;
  using Bytes = std::vector<std::uint8_t>;

  Bytes bytes() const {
    Bytes out(memory_.bytes());
    memory_.read(out.data(), out.size());
    return out;
  }
  void write(const Bytes& bytes) { memory_.write(bytes.data(), bytes.size()); }

  DType dtype_;
  std::size_t n_;
  std::size_t front_;
  TestMemory memory_;
};

/// |got - want| <= one rounding of `dtype` + `operations` roundings of its accumulation type at the
/// size of the largest wanted number (or 1).
inline void expect_close(const std::string& what, DType dtype, const Vec& got, const Vec& want,
                         double operations) {
  ASSERT_EQ(got.size(), want.size()) << what;
  double scale = 1;
  for (double x : want) scale = std::max(scale, std::abs(x));
  const double absolute = operations * rounding(statistics_dtype(dtype)) * scale;
  for (std::size_t i = 0; i < got.size(); ++i)
    // Both sides are rounded to dtype once.
    ASSERT_NEAR(got[i], want[i], 2 * rounding(dtype) * std::abs(want[i]) + absolute)
        << what << " " << to_string(dtype) << " element " << i << " of " << got.size();
}
inline void expect_close(const std::string& what, const Buffer& got, const Buffer& want,
                         double operations) {
  expect_close(what, got.dtype(), got.values(), want.values(), operations);
}

/// Pins a variant in those of the slots that have it, of which there must be one, while it lives.
class Selected {
 public:
  Selected(std::initializer_list<KernelSlotBase*> slots, const char* variant) {
    for (auto* slot : slots) {
      const auto variants = slot->variants();
      if (std::any_of(variants.begin(), variants.end(),
                      [&](const VariantInfo& v) { return v.name == variant; }))
        before_.emplace_back(slot, slot->selected());
    }
    if (before_.empty()) (*slots.begin())->select(variant);  // throws the names that there are
    for (const auto& [slot, name] : before_) slot->select(variant);
  }
  ~Selected() {
    for (const auto& [slot, name] : before_) slot->select(name);
  }
  Selected(const Selected&) = delete;
  Selected& operator=(const Selected&) = delete;

 private:
  std::vector<std::pair<KernelSlotBase*, std::string>> before_;  // and what was pinned
};

/// Whether kernels run on the CPU itself, and large cases are cheap.
inline bool on_cpu() { return current_device() == Device::cpu(); }

/// The numbers of threads to repeat a computation with: on the CPU several, on a device, whose
/// threads run in another order every time, any two.
inline std::vector<int> repeats_under_test() {
  if (!on_cpu()) return {1, 1};
  return {std::begin(kThreadCounts), std::end(kThreadCounts)};
}

/// The names of the slot's variants on the current device.
inline std::vector<std::string> variants_under_test(KernelSlotBase& slot) {
  const Device device = current_device();  // first: it may register the device's kernels
  std::vector<std::string> names;
  for (const VariantInfo& variant : slot.variants())
    if (variant.device == device.type) names.push_back(variant.name);
  return names;
}

/// Sets the number of threads while it lives.
class Threads {
 public:
  explicit Threads(int count) : before_(threads()) { set_threads(count); }
  ~Threads() { set_threads(before_); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  int before_;
};

/// Checks `gradients` (one per input) against the derivative of <cotangents, map(inputs)>, in
/// random directions per input: five-point stencil, whose error at this step is far below the
/// tolerance.
inline void check_gradient(const std::string& what,
                           const std::function<std::vector<Vec>(const std::vector<Vec>&)>& map,
                           const std::vector<Vec>& inputs, const std::vector<Vec>& cotangents,
                           const std::vector<Vec>& gradients, double tolerance = 1e-7) {
  ASSERT_EQ(inputs.size(), gradients.size()) << what;
  for (std::size_t k = 0; k < inputs.size(); ++k) {
    ASSERT_EQ(inputs[k].size(), gradients[k].size()) << what << " input " << k;
    for (unsigned trial = 0; trial < 3; ++trial) {
      const Vec direction =
          random_vec(static_cast<std::int64_t>(inputs[k].size()), 1000 * trial + unsigned(k) + 17);
      const auto along = [&](double step) {
        std::vector<Vec> moved = inputs;
        for (std::size_t i = 0; i < direction.size(); ++i) moved[k][i] += step * direction[i];
        const std::vector<Vec> outputs = map(moved);
        double value = 0;
        for (std::size_t o = 0; o < outputs.size(); ++o)
          for (std::size_t i = 0; i < outputs[o].size(); ++i)
            value += cotangents[o][i] * outputs[o][i];
        return value;
      };
      const double h = 1e-3;
      const double numeric =
          (8 * (along(h) - along(-h)) - (along(2 * h) - along(-2 * h))) / (12 * h);
      double analytic = 0, size = 1;
      for (std::size_t i = 0; i < direction.size(); ++i) {
        analytic += gradients[k][i] * direction[i];
        size += std::abs(gradients[k][i] * direction[i]);
      }
      EXPECT_NEAR(analytic, numeric, tolerance * size) << what << " input " << k;
    }
  }
}

}  // namespace mettle::test
