// The list of CUDA kernel families: one call per family.
#include "kernels/cuda/register.h"

namespace mettle::kernels::cuda {

void register_attention();

void register_kernels() { register_attention(); }

}  // namespace mettle::kernels::cuda
