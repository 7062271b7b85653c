// What the hardware demands of a tensor map (CUDA Driver API, cuTensorMapEncodeTiled), told in
// words: the driver itself answers with nothing but "invalid value".
#include "kernels/cuda/device_tensor_map.h"

#include <cstddef>

#include "engine/check.h"

namespace mettle::dev {
namespace {

constexpr std::int64_t unit = 16;  // bytes

void check_sizes(const TensorLayout& layout) {
  for (int i = 0; i < layout.rank; ++i)
    METTLE_CHECK(ValueError, layout.size[i] >= 1 && layout.size[i] <= std::int64_t{1} << 32,
                 "tensor map: {} elements in dimension {}; there are 1 to 2^32", layout.size[i], i);
  for (int i = 1; i < layout.rank; ++i) {
    const std::int64_t stride = layout.stride_bytes[i - 1];
    METTLE_CHECK(
        ValueError, stride % unit == 0 && stride >= 0 && stride < std::int64_t{1} << 40,
        "tensor map: dimension {} has a stride of {} bytes; it takes multiples of {} below "
        "2^40: pad the rows",
        i, stride, unit);
  }
}

void check_box(const TensorLayout& layout) {
  for (int i = 0; i < layout.rank; ++i)
    METTLE_CHECK(ValueError, layout.box[i] >= 1 && layout.box[i] <= 256,
                 "tensor map: a box of {} elements in dimension {}; it takes 1 to 256",
                 layout.box[i], i);
  const int row = layout.box[0] * element_bytes(layout.element);
  METTLE_CHECK(ValueError, row % unit == 0,
               "tensor map: rows of the box have {} bytes; they take multiples of {}", row, unit);
  // The driver takes narrower rows as well; where their units go is not worth a second rule.
  const int width = swizzle_width(layout.swizzle);
  METTLE_CHECK(ValueError, layout.swizzle == Swizzle::none || row == width,
               "tensor map: rows of the box have {} bytes; the swizzle of {} takes just that many: "
               "split wider tiles into several boxes",
               row, width);
  METTLE_CHECK(ValueError, static_cast<std::size_t>(box_bytes(layout)) <= max_shared_bytes,
               "tensor map: a box of {} bytes; a block has {} bytes of shared memory",
               box_bytes(layout), max_shared_bytes);
}

}  // namespace

void check_tensor_layout(const TensorLayout& layout) {
  METTLE_CHECK(ValueError, layout.rank >= 2 && layout.rank <= max_tensor_rank,
               "tensor map: {} dimensions; there are 2 to {}", layout.rank, max_tensor_rank);
  METTLE_CHECK(ValueError, reinterpret_cast<std::uintptr_t>(layout.base) % unit == 0,
               "tensor map: the tensor starts at {}, which is no multiple of {} bytes", layout.base,
               unit);
  METTLE_CHECK(ValueError, layout.base, "tensor map: of no tensor");
  check_sizes(layout);
  check_box(layout);
}

}  // namespace mettle::dev
