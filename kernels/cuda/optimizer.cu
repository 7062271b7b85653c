// Optimizer steps on CUDA: the tables of tensors, and their launches.
#include "kernels/cuda/optimizer.cuh"

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

/// The numbers of a step, one entry for each tensor of the list.
template <class T> class NumbersOfTensors {
 public:
  NumbersOfTensors(const Stream& stream, const StepCall& call,
                   const std::vector<StepEntry>& tensors)
      : memory_(stream, tensors.size() * sizeof(StepNumbers<T>)),
        numbers_(memory_.take<StepNumbers<T>>(tensors.size())) {
    launch_over_tensors<1>(tensors,
                           [&]<int Bytes>(const TensorTable<StepEntry, Bytes>& table, int blocks) {
                             dev::launch(step_numbers<T, Bytes>, {{blocks}, {dev::warp_size}},
                                         stream, table, call, numbers_);
                           });
  }
  const StepNumbers<T>* at(std::int64_t tensor) const { return numbers_ + tensor; }

 private:
  Scratch memory_;
  StepNumbers<T>* numbers_;
};

template <class T> void run_adam_typed(const Stream& stream, const AdamStepArgs& a) {
  std::vector<StepEntry> steps;
  for (std::int64_t k = 0; k < a.count; ++k) {
    const AdamTensor& t = a.tensors[k];
    steps.push_back({t.steps_made, t.step, t.lr, t.decay});
  }
  const NumbersOfTensors<T> numbers(stream, {a.beta1, a.beta2, a.gradient_scale, a.rate, a.scale},
                                    steps);
  std::vector<AdamEntry<T>> entries;
  for (std::int64_t k = 0; k < a.count; ++k) {
    const AdamTensor& t = a.tensors[k];
    if (t.n == 0) continue;
    entries.push_back({static_cast<T*>(t.param), static_cast<const T*>(t.grad),
                       static_cast<T*>(t.m), static_cast<T*>(t.v), t.n, 0,
                       all_aligned<T>(t.param, t.grad, t.m, t.v), numbers.at(k),
                       static_cast<T>(t.l2)});
  }
  const AdamConstants<T> constants{static_cast<T>(a.beta1), static_cast<T>(1 - a.beta1),
                                   static_cast<T>(a.beta2), static_cast<T>(1 - a.beta2),
                                   static_cast<T>(a.eps)};
  launch_over_tensors<step_piece>(
      entries, [&]<int Bytes>(const TensorTable<AdamEntry<T>, Bytes>& table, int blocks) {
        dev::launch(adam_pieces<T, Bytes>, {{blocks}, {step_threads}}, stream, table, constants);
      });
}

template <class T> void run_sgd_typed(const Stream& stream, const SgdStepArgs& a) {
  std::vector<StepEntry> steps;
  for (std::int64_t k = 0; k < a.count; ++k)
    steps.push_back({a.tensors[k].steps_made, 1, a.tensors[k].lr, 0});
  const NumbersOfTensors<T> numbers(stream, {0, 0, a.gradient_scale, a.rate, a.scale}, steps);
  std::vector<SgdEntry<T>> entries;
  for (std::int64_t k = 0; k < a.count; ++k) {
    const SgdTensor& t = a.tensors[k];
    if (t.n == 0) continue;
    entries.push_back(
        {static_cast<T*>(t.param), static_cast<const T*>(t.grad), static_cast<T*>(t.velocity), t.n,
         0, all_aligned<T>(t.param, t.grad, t.velocity), numbers.at(k), static_cast<T>(t.l2)});
  }
  const SgdConstants<T> constants{static_cast<T>(a.momentum), a.nesterov};
  launch_over_tensors<step_piece>(
      entries, [&]<int Bytes>(const TensorTable<SgdEntry<T>, Bytes>& table, int blocks) {
        dev::launch(sgd_pieces<T, Bytes>, {{blocks}, {step_threads}}, stream, table, constants);
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
