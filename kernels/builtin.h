// The list of kernels in this build, and the shape of every kernel slot.
#pragma once

#include "engine/kernel_slot.h"

namespace mettle::kernels {

/// Adds every kernel of this build to its slot. Slots call it once by themselves before their first
/// use.
void register_builtin_kernels();

/// A slot that knows where this build's kernels are listed.
template <class Args> class Slot : public KernelSlot<Args> {
 public:
  explicit Slot(const char* name) : KernelSlot<Args>(name, register_builtin_kernels) {}
};

}  // namespace mettle::kernels
