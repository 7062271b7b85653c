// The error of a launch. Its definition is host code of its own, because nvcc 13.0 cannot compile
// engine/check.h (an internal error at std::source_location as a default argument).
#pragma once

namespace mettle::dev {

/// Throws DeviceError with CUDA's words.
[[noreturn]] void throw_launch_error(const char* what);

}  // namespace mettle::dev
