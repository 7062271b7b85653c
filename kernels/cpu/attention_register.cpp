// Enters the CPU's attention variants into their slots.
#include "kernels/cpu/attention_variants.h"
#include "kernels/cpu/register.h"

namespace mettle::kernels::cpu {

void register_attention() {
  constexpr auto cpu = DeviceType::cpu;
  attention_forward.add({"naive", cpu, 0, nullptr, attention::forward_naive});
  attention_jvp.add({"naive", cpu, 0, nullptr, attention::jvp_naive});
  attention_backward.add({"naive", cpu, 0, nullptr, attention::backward_naive});
  attention_double_backward.add({"naive", cpu, 0, nullptr, attention::double_backward_naive});
  attention_forward.add({"strip", cpu, 10, nullptr, attention::forward_strip});
  attention_jvp.add({"strip", cpu, 10, nullptr, attention::jvp_strip});
  attention_backward.add({"strip", cpu, 10, nullptr, attention::backward_strip});
  attention_double_backward.add({"strip", cpu, 10, nullptr, attention::double_backward_strip});
}

}  // namespace mettle::kernels::cpu
