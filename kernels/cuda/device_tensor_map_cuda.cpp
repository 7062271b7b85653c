// Tensor maps from the CUDA driver. Its function is looked up at run time: a program that is linked
// to libcuda would not start where there is no driver.
#include "kernels/cuda/device_tensor_map_cuda.h"

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <cstring>

#include "engine/check.h"

namespace mettle::dev::detail {
namespace {

using Encode = decltype(&cuTensorMapEncodeTiled);

Encode find_encode() {
  constexpr unsigned introduced = 12000;  // the version of CUDA whose function is meant
  void* found = nullptr;
  cudaDriverEntryPointQueryResult result = cudaDriverEntryPointSymbolNotFound;
  const cudaError_t error = cudaGetDriverEntryPointByVersion(
      "cuTensorMapEncodeTiled", &found, introduced, cudaEnableDefault, &result);
  METTLE_CHECK(DeviceError, error == cudaSuccess && result == cudaDriverEntryPointSuccess && found,
               "tensor map: the CUDA driver has no cuTensorMapEncodeTiled ({}): it takes release "
               "12.0 or later",
               cudaGetErrorString(error));
  return reinterpret_cast<Encode>(found);
}

CUtensorMapDataType type_of(TensorElement element) {
  switch (element) {
    case TensorElement::bf16: return CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
    case TensorElement::f16: return CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
    case TensorElement::f32: break;
  }
  return CU_TENSOR_MAP_DATA_TYPE_FLOAT32;
}

CUtensorMapSwizzle swizzle_of(Swizzle swizzle) {
  switch (swizzle) {
    case Swizzle::none: break;
    case Swizzle::bytes_32: return CU_TENSOR_MAP_SWIZZLE_32B;
    case Swizzle::bytes_64: return CU_TENSOR_MAP_SWIZZLE_64B;
    case Swizzle::bytes_128: return CU_TENSOR_MAP_SWIZZLE_128B;
  }
  return CU_TENSOR_MAP_SWIZZLE_NONE;
}

}  // namespace

TensorMap encode_tensor_map(const TensorLayout& layout) {
  check_tensor_layout(layout);
  static const Encode encode = find_encode();
  cuuint64_t size[max_tensor_rank] = {}, stride[max_tensor_rank - 1] = {};
  cuuint32_t box[max_tensor_rank] = {}, step[max_tensor_rank] = {};
  for (int i = 0; i < layout.rank; ++i) {
    size[i] = static_cast<cuuint64_t>(layout.size[i]);
    box[i] = static_cast<cuuint32_t>(layout.box[i]);
    step[i] = 1;
    if (i > 0) stride[i - 1] = static_cast<cuuint64_t>(layout.stride_bytes[i - 1]);
  }
  static_assert(sizeof(CUtensorMap) == sizeof(TensorMap) &&
                alignof(CUtensorMap) <= alignof(TensorMap));
  alignas(TensorMap) CUtensorMap encoded;
  const CUresult result =
      encode(&encoded, type_of(layout.element), static_cast<cuuint32_t>(layout.rank), layout.base,
             size, stride, box, step, CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle_of(layout.swizzle),
             CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  METTLE_CHECK(DeviceError, result == CUDA_SUCCESS, "tensor map: the CUDA driver answers {}",
               static_cast<int>(result));
  TensorMap map;
  std::memcpy(&map, &encoded, sizeof(map));
  return map;
}

}  // namespace mettle::dev::detail
