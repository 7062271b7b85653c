// As much of cuBLASLt as matrix products need, declared here and looked up at run time: a program
// needs neither the library nor its headers to build and start. Where the headers are, the numbers
// are compared with theirs (cublaslt.cpp).
#pragma once

#include <cstddef>
#include <cstdint>

namespace mettle::kernels::cuda {

struct CublasLt {
  enum Type : int { r_32f = 0, r_64f = 1, r_16f = 2, r_16bf = 14 };  // cudaDataType
  enum Compute : int { compute_32f = 68, compute_64f = 70, compute_32f_fast_tf32 = 77 };
  enum DescAttribute : int {
    transpose_a = 3,
    transpose_b = 4,
    epilogue = 7,
    bias_pointer = 8,
    bias_batch_stride = 10,
    aux_pointer = 11,
    aux_leading = 12,
    aux_batch_stride = 13,
  };
  /// The aux is the gelu's operand; its gelu is the tanh form.
  enum Epilogue : std::uint32_t {
    no_epilogue = 1,
    add_bias = 4,
    with_gelu = 32,
    with_gelu_and_aux = 32 | 128,
  };
  enum Transpose : std::int32_t { as_stored = 0, transposed = 1 };
  enum LayoutAttribute : int { batch_count = 5, batch_stride = 6 };
  enum PreferenceAttribute : int {
    max_workspace = 1,
    reduction_schemes = 3,
    alignment_a = 5,
    alignment_b = 6,
    alignment_c = 7,
    alignment_d = 8,
  };
  static constexpr std::uint32_t reduce_in_compute_type = 2;

  using Handle = void*;
  using Descriptor = void*;
  struct Algorithm {
    std::uint64_t data[8];
  };
  struct Heuristic {
    Algorithm algorithm;
    std::size_t workspace_bytes;
    int status;
    float waves;
    int reserved[4];
  };
  using Create = int (*)(Descriptor* made);
  using Destroy = int (*)(Descriptor);
  using Set = int (*)(Descriptor, int attribute, const void* value, std::size_t bytes);

  // Each returns 0 for success.
  int (*create)(Handle* made);
  int (*create_desc)(Descriptor* made, int compute, int scale_type);
  Destroy destroy_desc;
  Set set_desc;
  int (*create_layout)(Descriptor* made, int type, std::uint64_t rows, std::uint64_t columns,
                       std::int64_t leading);
  Destroy destroy_layout;
  Set set_layout;
  Create create_preference;
  Destroy destroy_preference;
  Set set_preference;
  int (*get_heuristic)(Handle, Descriptor desc, Descriptor a, Descriptor b, Descriptor c,
                       Descriptor d, Descriptor preference, int wanted, Heuristic* found,
                       int* count);
  int (*matmul)(Handle, Descriptor desc, const void* alpha, const void* a, Descriptor a_layout,
                const void* b, Descriptor b_layout, const void* beta, const void* c,
                Descriptor c_layout, void* d, Descriptor d_layout, const Algorithm* algorithm,
                void* workspace, std::size_t workspace_bytes, void* stream);
};

/// The library of this machine, opened at the first call; null where there is none.
const CublasLt* cublaslt();
/// For tests: from here on cublaslt() returns this one.
void set_cublaslt(const CublasLt* library);

}  // namespace mettle::kernels::cuda
