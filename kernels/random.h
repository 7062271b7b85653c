// Random values: element i is a function of (key, i) alone, whatever the device and the threads.
#pragma once

#include "engine/dtype.h"
#include "engine/random.h"
#include "kernels/builtin.h"

namespace mettle::kernels {

enum class Distribution : std::uint8_t { uniform, normal };

/// A dense run of n elements. uniform: in [a, b). normal: mean a, deviation b; elements 2i and 2i +
/// 1 are the two results of one Box-Muller transform of two 32-bit uniforms (f64 uses 53 bits
/// each).
struct RandomArgs {
  Distribution distribution;
  DType dtype;  // f64 f32 bf16 f16
  void* y;
  std::int64_t n;
  PhiloxKey key;
  double a;
  double b;
};

inline Slot<RandomArgs> random_fill{"random_fill"};

/// key.fork(part), left where kernels find it.
struct ForkKeyArgs {
  PhiloxKey key;
  std::uint64_t part;
  std::uint64_t* forked;  // [2] seed, offset; not where `key` is stored
};

inline Slot<ForkKeyArgs> fork_key{"fork_key"};

}  // namespace mettle::kernels
