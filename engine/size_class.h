// Size classes of the allocators: four per power of two, so a block is at most 25 % larger than
// what was asked for, and what one operation frees the next can take.
#pragma once

#include <bit>
#include <cstddef>

namespace mettle {

struct SizeClass {
  std::size_t index;
  std::size_t bytes;
};

inline constexpr int size_classes_per_power = 4;
inline constexpr std::size_t size_class_count = 48 * size_classes_per_power;

/// The smallest class that holds `bytes`: classes are Alignment * 2^e * (1 + s/4), s = 0..3.
template <std::size_t Alignment> constexpr SizeClass size_class(std::size_t bytes) {
  const std::size_t units = (bytes + Alignment - 1) / Alignment;
  if (units <= size_classes_per_power) return {units, units * Alignment};
  const int e = std::bit_width(units - 1) - 3;  // units lies in (4 * 2^e, 8 * 2^e]
  const std::size_t step = std::size_t{1} << e;
  const std::size_t quarter = (units + step - 1) / step;  // 5..8
  return {static_cast<std::size_t>(e) * size_classes_per_power + quarter,
          quarter * step * Alignment};
}

}  // namespace mettle
