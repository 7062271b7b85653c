// The error of a launch. Its definition is host code of its own, because nvcc 13.0 cannot compile
// engine/check.h: it ends in an internal error at the inherited constructors with a default
// std::source_location, and refuses fmt's compile-time check of format strings.
#pragma once

namespace mettle::dev {

/// Throws DeviceError with CUDA's words.
[[noreturn]] void throw_launch_error(const char* what);

}  // namespace mettle::dev
