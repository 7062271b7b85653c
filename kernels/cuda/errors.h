// Errors of the host side of CUDA kernels, which nvcc compiles: it cannot include engine/check.h
// (release 13.0 refuses fmt's checked format strings), so they are thrown by functions.
#pragma once

namespace mettle::kernels::cuda {

[[noreturn]] void throw_value_error(const char* message);

}  // namespace mettle::kernels::cuda
