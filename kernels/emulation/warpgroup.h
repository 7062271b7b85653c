// Multiplies of a warpgroup that are under way.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "kernels/cuda/device_types.cuh"
#include "kernels/emulation/operand.h"
#include "kernels/emulation/registers.h"

namespace mettle::emulation {

/// One that all threads have issued; what differs between them is by their rank in the group.
struct IssuedMultiply {
  Multiply what;
  std::int64_t number;  // from 1, in the order of issue
  const std::uint32_t* a[dev::warpgroup_size];
  Accumulators* d[dev::warpgroup_size];
};

/// Issued together by four warps, committed and waited for by each of them.
struct Warpgroup {
  static constexpr int warps = dev::warpgroup_size / dev::warp_size;

  std::int64_t issued = 0;
  std::deque<IssuedMultiply> pending;       // in the order of issue
  std::vector<std::int64_t> groups[warps];  // the last number of each that is under way
};

/// Adds a b to the accumulators of all threads. Products are exact in f32 and summed in the order
/// of k.
void perform(const IssuedMultiply& multiply);

}  // namespace mettle::emulation
