// Optimizer steps on CUDA: the tables of tensors, and their launches.
#include "kernels/cuda/optimizer.cuh"

#include <cmath>

#include "kernels/cpu/optimizer_check.h"
#include "kernels/cuda/register.h"
#include "kernels/cuda/scratch.h"
#include "kernels/optimizer.h"

namespace mettle::kernels::cuda {
namespace {

// Pieces begin at multiples of a pack, so that only the tensors' addresses decide.
template <class T, class... Pointers> bool all_aligned(Pointers... pointers) {
  return (... && packs_fit<T>(pointers, 0));
}

template <class T> void run_adam_typed(const Stream& stream, const AdamStepArgs& a) {
  std::vector<AdamEntry<T>> entries;
  for (std::int64_t k = 0; k < a.count; ++k) {
    const AdamTensor& t = a.tensors[k];
    if (t.n == 0) continue;
    const auto step = static_cast<double>(t.step);
    entries.push_back({static_cast<T*>(t.param), static_cast<const T*>(t.grad),
                       static_cast<T*>(t.m), static_cast<T*>(t.v), t.n, 0,
                       all_aligned<T>(t.param, t.grad, t.m, t.v),
                       static_cast<T>(t.lr / (1 - std::pow(a.beta1, step))),
                       static_cast<T>(1 / std::sqrt(1 - std::pow(a.beta2, step))),
                       static_cast<T>(1 - t.lr * t.decay), static_cast<T>(t.l2)});
  }
  const AdamNumbers<T> numbers{static_cast<T>(a.gradient_scale), static_cast<T>(a.beta1),
                               static_cast<T>(1 - a.beta1),      static_cast<T>(a.beta2),
                               static_cast<T>(1 - a.beta2),      static_cast<T>(a.eps)};
  launch_over_tensors<step_piece>(
      entries, [&]<int Bytes>(const TensorTable<AdamEntry<T>, Bytes>& table, int blocks) {
        dev::launch(adam_pieces<T, Bytes>, {{blocks}, {step_threads}}, stream, table, numbers);
      });
}

template <class T> void run_sgd_typed(const Stream& stream, const SgdStepArgs& a) {
  std::vector<SgdEntry<T>> entries;
  for (std::int64_t k = 0; k < a.count; ++k) {
    const SgdTensor& t = a.tensors[k];
    if (t.n == 0) continue;
    entries.push_back({static_cast<T*>(t.param), static_cast<const T*>(t.grad),
                       static_cast<T*>(t.velocity), t.n, 0,
                       all_aligned<T>(t.param, t.grad, t.velocity), static_cast<T>(t.lr),
                       static_cast<T>(t.l2)});
  }
  const SgdNumbers<T> numbers{static_cast<T>(a.gradient_scale), static_cast<T>(a.momentum),
                              a.nesterov};
  launch_over_tensors<step_piece>(
      entries, [&]<int Bytes>(const TensorTable<SgdEntry<T>, Bytes>& table, int blocks) {
        dev::launch(sgd_pieces<T, Bytes>, {{blocks}, {step_threads}}, stream, table, numbers);
      });
}

template <class T> void run_norm_typed(const Stream& stream, const GlobalNormArgs& a) {
  std::vector<NormEntry<T>> entries;
  for (std::int64_t k = 0; k < a.count; ++k)
    if (const NormTensor& t = a.tensors[k]; t.n > 0)
      entries.push_back({static_cast<const T*>(t.data), t.n, 0, packs_fit<T>(t.data, 0)});
  const std::int64_t pieces = count_pieces<norm_piece>(entries);
  Scratch scratch(stream, static_cast<std::size_t>(pieces) * sizeof(double));
  auto* sums = scratch.take<double>(static_cast<std::size_t>(pieces));
  launch_over_tensors<norm_piece>(
      entries, [&]<int Bytes>(const TensorTable<NormEntry<T>, Bytes>& table, int blocks) {
        dev::launch(square_sums<T, Bytes>, {{blocks}, {step_threads}}, stream, table, sums);
      });
  constexpr int threads = 512;
  dev::launch(norm_of_sums<threads>, {{1}, {threads}}, stream, static_cast<const double*>(sums),
              pieces, a.norm);
}

void run_adam(const Stream& stream, const AdamStepArgs& a) {
  cpu::check_step(a);
  a.dtype == DType::f64 ? run_adam_typed<double>(stream, a) : run_adam_typed<float>(stream, a);
}
void run_sgd(const Stream& stream, const SgdStepArgs& a) {
  cpu::check_step(a);
  a.dtype == DType::f64 ? run_sgd_typed<double>(stream, a) : run_sgd_typed<float>(stream, a);
}
void run_norm(const Stream& stream, const GlobalNormArgs& a) {
  dispatch_float(
      a.dtype, [&]<class T>() { run_norm_typed<T>(stream, a); }, "global_norm");
}

}  // namespace

void register_optimizer() {
  adam_step.add({"pieces", DeviceType::cuda, 0, nullptr, run_adam});
  sgd_step.add({"pieces", DeviceType::cuda, 0, nullptr, run_sgd});
  global_norm.add({"pieces", DeviceType::cuda, 0, nullptr, run_norm});
}

}  // namespace mettle::kernels::cuda
