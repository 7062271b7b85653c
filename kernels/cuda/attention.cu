// Enters the CUDA variants of the attention kernels into their slots.
#include "kernels/cuda/attention_call.h"
#include "kernels/cuda/device_limits.h"

namespace mettle::kernels::cuda {
namespace {

constexpr int simt_dims = 256;

template <class Args> bool simt_takes(const Args& args) {
  const AttentionProblem& p = args.problem;
  return p.head_dim <= simt_dims && p.value_dim <= simt_dims && attention_counts_fit(p);
}

// ---- mma ----------------------------------------------------------------------------------------
constexpr int mma_dims = 128;

// Whether rows of 16-bit elements begin at multiples of 16 bytes.
template <class Pointer> bool packs(const AttentionOperand<Pointer>& x) {
  return reinterpret_cast<std::uintptr_t>(x.data) % 16 == 0 && x.batch % 8 == 0 &&
         x.head % 8 == 0 && x.row % 8 == 0;
}

bool mma_takes_problem(const AttentionProblem& p) {
  const auto dims_fit = [](std::int64_t d) { return d > 0 && d <= mma_dims && d % 8 == 0; };
  return (p.dtype == DType::bf16 || p.dtype == DType::f16) && dims_fit(p.head_dim) &&
         dims_fit(p.value_dim) && p.scale > 0 && attention_counts_fit(p);
}

bool mma_takes(const AttentionForwardArgs& a) {
  return mma_takes_problem(a.problem) && packs(a.q) && packs(a.k) && packs(a.v) && packs(a.out);
}

bool mma_takes(const AttentionJvpArgs& a) {
  return mma_takes_problem(a.problem) && packs(a.q) && packs(a.k) && packs(a.v) && packs(a.out) &&
         packs(a.tangent_q) && packs(a.tangent_k) && packs(a.tangent_v) && packs(a.tangent_out) &&
         a.out.data;
}

bool mma_takes(const AttentionBackwardArgs& a) {
  return mma_takes_problem(a.problem) && packs(a.q) && packs(a.k) && packs(a.v) && packs(a.out) &&
         packs(a.dout) && packs(a.dq) && packs(a.dk) && packs(a.dv) && a.out.data;
}

bool mma_takes(const AttentionDoubleBackwardArgs& a) {
  return mma_takes_problem(a.problem) && packs(a.q) && packs(a.k) && packs(a.v) && packs(a.out) &&
         packs(a.dout) && packs(a.ddq) && packs(a.ddk) && packs(a.ddv) && packs(a.dq2) &&
         packs(a.dk2) && packs(a.dv2) && packs(a.ddout) && a.out.data;
}

bool mma_head_takes(const AttentionDoubleBackwardArgs& a) {
  const AttentionProblem& p = a.problem;
  return p.queries <= mma_head_rows && p.keys <= mma_head_rows && p.head_dim <= mma_head_dims &&
         p.value_dim <= mma_head_dims && mma_takes(a);
}

// ---- wgmma --------------------------------------------------------------------------------------
// Whether a tensor map takes it: strides between rows of which there are several are positive
// multiples of 16 bytes below 2^40.
template <class Pointer>
bool maps(const AttentionProblem& p, const AttentionOperand<Pointer>& x, std::int64_t rows) {
  const auto fits = [](std::int64_t count, std::int64_t stride) {
    return count == 1 || (stride > 0 && stride % 8 == 0 && stride < std::int64_t{1} << 39);
  };
  return reinterpret_cast<std::uintptr_t>(x.data) % 16 == 0 && fits(rows, x.row) &&
         fits(p.heads, x.head) && fits(p.batch, x.batch);
}

template <class Pointer>
bool maps_if_given(const AttentionProblem& p, const AttentionOperand<Pointer>& x,
                   std::int64_t rows) {
  return !x.data || maps(p, x, rows);
}

// Whether there is something to map, and the inputs of every kernel can be.
template <class Args> bool wgmma_takes_inputs(const Args& a) {
  const AttentionProblem& p = a.problem;
  return p.batch > 0 && p.heads > 0 && p.queries > 0 && p.keys > 0 && maps(p, a.q, p.queries) &&
         maps(p, a.k, p.keys) && maps(p, a.v, p.keys);
}

bool wgmma_takes(const AttentionForwardArgs& a) {
  const AttentionProblem& p = a.problem;
  return mma_takes_problem(p) && wgmma_takes_inputs(a) && maps_if_given(p, a.out, p.queries);
}

bool wgmma_takes(const AttentionBackwardArgs& a) {
  const AttentionProblem& p = a.problem;
  return mma_takes(a) && wgmma_takes_inputs(a) && maps(p, a.dout, p.queries) &&
         maps_if_given(p, a.dq, p.queries) && maps_if_given(p, a.dk, p.keys) &&
         maps_if_given(p, a.dv, p.keys);
}

bool wgmma_takes(const AttentionJvpArgs& a) {
  const AttentionProblem& p = a.problem;
  return mma_takes(a) && wgmma_takes_inputs(a) && maps(p, a.out, p.queries) &&
         maps_if_given(p, a.tangent_q, p.queries) && maps_if_given(p, a.tangent_k, p.keys) &&
         maps_if_given(p, a.tangent_v, p.keys) && maps_if_given(p, a.tangent_out, p.queries);
}

bool wgmma_takes(const AttentionDoubleBackwardArgs& a) {
  const AttentionProblem& p = a.problem;
  return mma_takes(a) && wgmma_takes_inputs(a) && maps(p, a.dout, p.queries) &&
         maps_if_given(p, a.ddq, p.queries) && maps_if_given(p, a.ddk, p.keys) &&
         maps_if_given(p, a.ddv, p.keys) && maps_if_given(p, a.dq2, p.queries) &&
         maps_if_given(p, a.dk2, p.keys) && maps_if_given(p, a.dv2, p.keys) &&
         maps_if_given(p, a.ddout, p.queries);
}

template <class Args> bool has_wgmma(const Stream& stream, const Args&) {
  return device_limits(stream).capability == 90;
}

}  // namespace

void register_attention() {
  constexpr auto cuda = DeviceType::cuda;
  constexpr const char* simt = "head dims up to 256, fewer than 2^31 rows and tiles";
  attention_forward.add({"simt", cuda, 10, simt_takes, attention_forward_simt, simt});
  constexpr const char* mma =
      "bf16 or f16, head dims that are multiples of 8 up to 128, rows aligned to 16 bytes, scale > "
      "0";
  attention_forward.add({"mma", cuda, 20, mma_takes, attention_forward_mma, mma});
  attention_jvp.add({"simt", cuda, 10, simt_takes, attention_jvp_simt, simt});
  attention_jvp.add({"mma", cuda, 20, mma_takes, attention_jvp_mma, mma});
  constexpr const char* wgmma =
      "what mma takes on devices of compute capability 9.0, of at least one query and key, with "
      "strides that tensor maps take";
  attention_jvp.add({"wgmma", cuda, 30, wgmma_takes, attention_jvp_wgmma, wgmma, has_wgmma});
  attention_forward.add(
      {"wgmma", cuda, 30, wgmma_takes, attention_forward_wgmma, wgmma, has_wgmma});
  attention_backward.add({"simt", cuda, 10, simt_takes, attention_backward_simt, simt});
  attention_backward.add({"mma", cuda, 20, mma_takes, attention_backward_mma, mma});
  attention_backward.add(
      {"wgmma", cuda, 30, wgmma_takes, attention_backward_wgmma, wgmma, has_wgmma});
  attention_double_backward.add(
      {"simt", cuda, 10, simt_takes, attention_double_backward_simt, simt});
  attention_double_backward.add({"mma", cuda, 20, mma_takes, attention_double_backward_mma, mma});
  attention_double_backward.add(
      {"wgmma", cuda, 25, wgmma_takes, attention_double_backward_wgmma, wgmma, has_wgmma});
  attention_double_backward.add({"mma_atomic", cuda, 15, mma_takes,
                                 attention_double_backward_mma_atomic,
                                 "what mma takes, on devices with the shared memory",
                                 attention_atomic_fits, Repeat::rounding_differs});
  attention_double_backward.add({"mma_head", cuda, 30, mma_head_takes,
                                 attention_double_backward_mma_head,
                                 "what mma takes, up to 128 queries and keys and head dims up to "
                                 "64, on devices with the shared memory",
                                 attention_head_fits});
}

}  // namespace mettle::kernels::cuda
