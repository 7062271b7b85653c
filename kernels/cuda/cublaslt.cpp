// Opens cuBLASLt.
#include "kernels/cuda/cublaslt.h"

#include <dlfcn.h>

#include <atomic>

#if __has_include(<cublasLt.h>)
#include <cublasLt.h>
#endif

namespace mettle::kernels::cuda {
namespace {

#if __has_include(<cublasLt.h>)
using L = CublasLt;
static_assert(L::r_32f == int(CUDA_R_32F) && L::r_64f == int(CUDA_R_64F) &&
              L::r_16f == int(CUDA_R_16F) && L::r_16bf == int(CUDA_R_16BF));
static_assert(L::compute_32f == int(CUBLAS_COMPUTE_32F) &&
              L::compute_64f == int(CUBLAS_COMPUTE_64F) &&
              L::compute_32f_fast_tf32 == int(CUBLAS_COMPUTE_32F_FAST_TF32));
static_assert(L::transpose_a == int(CUBLASLT_MATMUL_DESC_TRANSA) &&
              L::transpose_b == int(CUBLASLT_MATMUL_DESC_TRANSB) &&
              L::as_stored == int(CUBLAS_OP_N) && L::transposed == int(CUBLAS_OP_T) &&
              sizeof(cublasOperation_t) == sizeof(L::Transpose));
static_assert(L::epilogue == int(CUBLASLT_MATMUL_DESC_EPILOGUE) &&
              L::bias_pointer == int(CUBLASLT_MATMUL_DESC_BIAS_POINTER) &&
              L::bias_batch_stride == int(CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE) &&
              L::aux_pointer == int(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER) &&
              L::aux_leading == int(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD) &&
              L::aux_batch_stride == int(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_BATCH_STRIDE));
static_assert(L::no_epilogue == int(CUBLASLT_EPILOGUE_DEFAULT) &&
              L::add_bias == int(CUBLASLT_EPILOGUE_BIAS) &&
              L::with_gelu == int(CUBLASLT_EPILOGUE_GELU) &&
              L::with_gelu_and_aux == int(CUBLASLT_EPILOGUE_GELU_AUX) &&
              (L::with_gelu | L::add_bias) == int(CUBLASLT_EPILOGUE_GELU_BIAS) &&
              (L::with_gelu_and_aux | L::add_bias) == int(CUBLASLT_EPILOGUE_GELU_AUX_BIAS) &&
              sizeof(cublasLtEpilogue_t) == sizeof(L::Epilogue));
static_assert(L::batch_count == int(CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT) &&
              L::batch_stride == int(CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET));
static_assert(L::max_workspace == int(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES) &&
              L::reduction_schemes == int(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK) &&
              L::alignment_a == int(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES) &&
              L::alignment_b == int(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES) &&
              L::alignment_c == int(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES) &&
              L::alignment_d == int(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES) &&
              L::reduce_in_compute_type == int(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
static_assert(sizeof(L::Algorithm) == sizeof(cublasLtMatmulAlgo_t) &&
              sizeof(L::Heuristic) == sizeof(cublasLtMatmulHeuristicResult_t) &&
              offsetof(L::Heuristic, workspace_bytes) ==
                  offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize) &&
              offsetof(L::Heuristic, status) == offsetof(cublasLtMatmulHeuristicResult_t, state));
#endif

/// Sets `function` to the symbol; false when the library has none.
template <class F> bool find(void* library, const char* name, F& function) {
  function = reinterpret_cast<F>(dlsym(library, name));
  return function != nullptr;
}

const CublasLt* open() {
  void* library = nullptr;
  for (const char* name : {"libcublasLt.so.13", "libcublasLt.so.12"})
    if (!library) library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  if (!library) return nullptr;
  static CublasLt lt;
  const bool whole = find(library, "cublasLtCreate", lt.create) &&
                     find(library, "cublasLtMatmulDescCreate", lt.create_desc) &&
                     find(library, "cublasLtMatmulDescDestroy", lt.destroy_desc) &&
                     find(library, "cublasLtMatmulDescSetAttribute", lt.set_desc) &&
                     find(library, "cublasLtMatrixLayoutCreate", lt.create_layout) &&
                     find(library, "cublasLtMatrixLayoutDestroy", lt.destroy_layout) &&
                     find(library, "cublasLtMatrixLayoutSetAttribute", lt.set_layout) &&
                     find(library, "cublasLtMatmulPreferenceCreate", lt.create_preference) &&
                     find(library, "cublasLtMatmulPreferenceDestroy", lt.destroy_preference) &&
                     find(library, "cublasLtMatmulPreferenceSetAttribute", lt.set_preference) &&
                     find(library, "cublasLtMatmulAlgoGetHeuristic", lt.get_heuristic) &&
                     find(library, "cublasLtMatmul", lt.matmul);
  return whole ? &lt : nullptr;
}

std::atomic<const CublasLt*>& current() {
  static std::atomic<const CublasLt*> library{open()};
  return library;
}

}  // namespace

const CublasLt* cublaslt() { return current().load(std::memory_order_acquire); }
void set_cublaslt(const CublasLt* library) { current().store(library, std::memory_order_release); }

}  // namespace mettle::kernels::cuda
