// The errors that the host side of CUDA kernels throws.
#include "kernels/cuda/errors.h"

#include "engine/check.h"

namespace mettle::kernels::cuda {

void throw_value_error(const char* message) { fail<ValueError>("{}", message); }

}  // namespace mettle::kernels::cuda
