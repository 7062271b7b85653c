// Tensor maps: what the hardware is told of a tensor in device memory, so that one instruction can
// copy a box of it to or from shared memory. Plain data and host code, for every compiler.
#pragma once

#include <cstdint>

#include "kernels/cuda/device_types.cuh"

namespace mettle::dev {

/// A tensor as the copying hardware knows it: an opaque kernel parameter, made by
/// make_tensor_map() and declared METTLE_GRID_CONSTANT.
struct alignas(128) TensorMap {
  std::uint64_t opaque[16];
};

enum class TensorElement { bf16, f16, f32 };
constexpr int element_bytes(TensorElement element) { return element == TensorElement::f32 ? 4 : 2; }

inline constexpr int max_tensor_rank = 4;

/// The tensor and the box that one copy moves. Dimension 0 is the contiguous one.
struct TensorLayout {
  TensorElement element;
  void* base;  // aligned to 16 bytes
  int rank;    // 2 to 4
  std::int64_t size[max_tensor_rank];
  std::int64_t stride_bytes[max_tensor_rank - 1];  // of dimensions 1 and up; multiples of 16
  // At most 256 elements each. Rows of the box are multiples of 16 bytes, or the swizzle's width.
  int box[max_tensor_rank];
  Swizzle swizzle = Swizzle::none;
};

/// Bytes of a box, which are what an mbarrier has to expect of a copy, also of one that is partly
/// outside of the tensor.
constexpr int box_bytes(const TensorLayout& layout) {
  int bytes = element_bytes(layout.element);
  for (int i = 0; i < layout.rank; ++i) bytes *= layout.box[i];
  return bytes;
}

/// Throws ValueError that names the first thing that the hardware would not take.
void check_tensor_layout(const TensorLayout& layout);

}  // namespace mettle::dev
