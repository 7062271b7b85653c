// Attention double backward by mma.sync: the instances for f16.
#include "kernels/cuda/attention_mma_double_launch.h"

namespace mettle::kernels::cuda {

template void launch_tangent<f16>(const Stream&, const AttentionProblem&, const MmaDoubleOperands&);
template void launch_double_backward<f16>(const Stream&, const AttentionProblem&,
                                          const MmaDoubleOperands&);

}  // namespace mettle::kernels::cuda
