// What every variant of the optimizer steps refuses, on every device.
#pragma once

#include "kernels/optimizer.h"

namespace mettle::kernels::cpu {

void check_step(const AdamStepArgs& a);
void check_step(const SgdStepArgs& a);

}  // namespace mettle::kernels::cpu
