// Tensor maps of the emulation, and the walk over a box.
#include "kernels/emulation/tensor_box.h"

#include <algorithm>
#include <cstring>

#include "kernels/emulation/operand.h"
#include "kernels/emulation/runtime.h"

namespace mettle::emulation {
namespace {

constexpr std::uint64_t map_mark = 0x6d6574746c65746dull;
constexpr int unit = 16;

}  // namespace

dev::TensorMap encode_tensor_map(const dev::TensorLayout& layout) {
  check_tensor_layout(layout);
  TensorImage image{.mark = map_mark,
                    .base = static_cast<std::byte*>(layout.base),
                    .size = {1, 1, 1, 1},
                    .stride = {dev::element_bytes(layout.element), 0, 0, 0},
                    .box = {1, 1, 1, 1},
                    .rank = layout.rank,
                    .element = layout.element,
                    .swizzle = layout.swizzle};
  for (int i = 0; i < layout.rank; ++i) {
    image.size[i] = layout.size[i];
    image.box[i] = layout.box[i];
    if (i > 0) image.stride[i] = layout.stride_bytes[i - 1];
  }
  dev::TensorMap map = {};
  static_assert(sizeof(image) <= sizeof(map));
  std::memcpy(&map, &image, sizeof(image));
  return map;
}

bool read_tensor_map(const dev::TensorMap* map, const int* at, int rank, TensorBox* box) {
  std::memcpy(&box->map, map, sizeof(TensorImage));
  if (box->map.mark != map_mark || box->map.rank != rank) return false;
  for (int i = 0; i < dev::max_tensor_rank; ++i) box->at[i] = i < rank ? at[i] : 0;
  return true;
}

TensorBox::Row TensorBox::row(int row) const {
  std::byte* start = map.base;
  for (int i = 1; i < dev::max_tensor_rank; ++i) {
    const std::int64_t coordinate = std::int64_t{at[i]} + row % map.box[i];
    row /= map.box[i];
    if (coordinate < 0 || coordinate >= map.size[i]) return {nullptr, 0, 0};
    start += coordinate * map.stride[i];
  }
  const std::int64_t corner = at[0], first = std::max<std::int64_t>(0, -corner),
                     last = std::min<std::int64_t>(map.box[0], map.size[0] - corner);
  if (first >= last) return {nullptr, 0, 0};
  const std::int64_t size = map.stride[0];
  return {start + (corner + first) * size, static_cast<int>(first * size),
          static_cast<int>((last - first) * size)};
}

void swizzle_row(const TensorBox& box, int row, const std::byte* packed, std::byte* tile) {
  const int bytes = box.map.row_bytes();
  for (int i = 0; i < bytes; i += unit)
    std::memcpy(swizzled(tile + row * bytes + i, box.map.swizzle), packed + i, unit);
}

void unswizzle_row(const TensorBox& box, int row, const std::byte* tile, std::byte* packed) {
  const int bytes = box.map.row_bytes();
  for (int i = 0; i < bytes; i += unit)
    std::memcpy(packed + i, swizzled(tile + row * bytes + i, box.map.swizzle), unit);
}

}  // namespace mettle::emulation
