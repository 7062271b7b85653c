// Optimizer steps and the norm of gradients over lists of tensors.
//
// Limit. Adam reads parameter, gradient and two moments and writes all but the gradient: 28 bytes
// per parameter in f32, about 50 instructions. 110 M parameters are 3.1 GB, 0.92 ms at 3.35 TB/s;
// the instructions take a third of that. A thread has 64 bytes on their way, 2048 threads of a
// multiprocessor 128 KB, several times what the latency of memory asks for. SGD with momentum moves
// 20 bytes, without 12, the norm 4.
//
// Formulas and their order are those of kernels/cpu/optimizer.cpp. What depends on the step and on
// the rate is computed once per tensor by a small launch before, whose inputs may lie in the
// device's memory: a captured graph computes it anew at every launch, with the bits of a step by
// itself.
#pragma once

#include "kernels/cuda/block_sum.cuh"
#include "kernels/cuda/packs.cuh"
#include "kernels/cuda/square_root.cuh"
#include "kernels/cuda/tensor_table.cuh"

namespace mettle::kernels::cuda {

inline constexpr int step_piece = 4096, norm_piece = 16384, step_threads = 256;

/// What a step multiplies one tensor by.
template <class T> struct StepNumbers {
  bool runs;  // false: a number of the step forbids it, and the rest is not set
  T rate;     // lr / (1 - beta1^step)
  T unbias;   // 1 / sqrt(1 - beta2^step)
  T shrink;   // 1 - lr decay
  T scale;    // of the gradient
};
struct StepEntry {
  std::int64_t* steps_made;  // nullable
  std::int64_t step;
  double lr, decay;
  std::int64_t n = 1;  // a piece of its own
  std::int32_t first_piece = 0;
};
struct StepCall {
  double beta1, beta2, gradient_scale;
  const double *rate, *scale;  // nullable
};

/// numbers[k] for the k-th tensor of the list, one block each; counts the steps up.
template <class T, int Bytes>
METTLE_GLOBAL(dev::warp_size)
void step_numbers(const TensorTable<StepEntry, Bytes> table, const StepCall call,
                  StepNumbers<T>* numbers) {
  if (dev::thread_rank() != 0) return;
  const double infinity = dev::infinity();
  const StepEntry& t = table.at[dev::block_index().x];
  StepNumbers<T>& to = numbers[table.pieces_before + dev::block_index().x];
  const double rate = call.rate ? *call.rate : 1.0, scale = call.scale ? *call.scale : 1.0;
  to.runs = rate >= 0 && rate < infinity && scale > -infinity && scale < infinity;
  if (!to.runs) return;
  const std::int64_t step = t.steps_made ? ++*t.steps_made : t.step;
  const double lr = t.lr * rate, power = static_cast<double>(step);
  to.rate = static_cast<T>(lr / (1 - ::pow(call.beta1, power)));
  to.unbias = static_cast<T>(1 / square_root(1 - ::pow(call.beta2, power)));
  to.shrink = static_cast<T>(1 - lr * t.decay);
  to.scale = static_cast<T>(call.gradient_scale * scale);
}

template <class T> struct AdamEntry {
  T* param;
  const T* grad;
  T *m, *v;
  std::int64_t n;
  std::int32_t first_piece;
  bool packs;
  const StepNumbers<T>* numbers;
  T l2;
};
template <class T> struct AdamConstants { T beta1, rest1, beta2, rest2, eps; };

template <class T, int Bytes>
METTLE_GLOBAL(step_threads)
void adam_pieces(const TensorTable<AdamEntry<T>, Bytes> table, const AdamConstants<T> a) {
  const TensorPiece piece = tensor_piece<step_piece>(table);
  const AdamEntry<T>& t = table.at[piece.entry];
  const StepNumbers<T> s = *t.numbers;
  if (!s.runs) return;
  each_of_piece<step_threads, pack_size<T>>(piece, t.packs, [&]<int N>(std::int64_t i) {
    T param[N], grad[N], m[N], v[N];
    load_pack<N>(t.param + i, param);
    load_pack<N>(t.grad + i, grad);
    load_pack<N>(t.m + i, m);
    load_pack<N>(t.v + i, v);
    METTLE_UNROLL
    for (int j = 0; j < N; ++j) {
      const T u = t.l2 * param[j] + s.scale * grad[j];
      m[j] = a.beta1 * m[j] + a.rest1 * u;
      v[j] = a.beta2 * v[j] + a.rest2 * (u * u);
      const T move = m[j] / (square_root(v[j]) * s.unbias + a.eps);
      param[j] = s.shrink * param[j] - s.rate * move;
    }
    store_pack<N>(t.m + i, m);
    store_pack<N>(t.v + i, v);
    store_pack<N>(t.param + i, param);
  });
}

template <class T> struct SgdEntry {
  T* param;
  const T* grad;
  T* velocity;  // nullable
  std::int64_t n;
  std::int32_t first_piece;
  bool packs;
  const StepNumbers<T>* numbers;
  T l2;
};
template <class T> struct SgdConstants {
  T momentum;
  bool nesterov;
};

template <int N, bool WithVelocity, class T>
METTLE_DEVICE void sgd_pack(const SgdEntry<T>& t, const StepNumbers<T>& s, const SgdConstants<T>& a,
                            std::int64_t i) {
  T param[N], grad[N], velocity[N] = {};
  load_pack<N>(t.param + i, param);
  load_pack<N>(t.grad + i, grad);
  if constexpr (WithVelocity) load_pack<N>(t.velocity + i, velocity);
  METTLE_UNROLL
  for (int j = 0; j < N; ++j) {
    T move = t.l2 * param[j] + s.scale * grad[j];
    if constexpr (WithVelocity) {
      velocity[j] = a.momentum * velocity[j] + move;
      move = a.nesterov ? a.momentum * velocity[j] + move : velocity[j];
    }
    param[j] -= s.rate * move;
  }
  if constexpr (WithVelocity) store_pack<N>(t.velocity + i, velocity);
  store_pack<N>(t.param + i, param);
}

template <class T, int Bytes>
METTLE_GLOBAL(step_threads)
void sgd_pieces(const TensorTable<SgdEntry<T>, Bytes> table, const SgdConstants<T> a) {
  const TensorPiece piece = tensor_piece<step_piece>(table);
  const SgdEntry<T>& t = table.at[piece.entry];
  const StepNumbers<T> s = *t.numbers;
  if (!s.runs) return;
  if (t.velocity)
    each_of_piece<step_threads, pack_size<T>>(
        piece, t.packs, [&]<int N>(std::int64_t i) { sgd_pack<N, true>(t, s, a, i); });
  else
    each_of_piece<step_threads, pack_size<T>>(
        piece, t.packs, [&]<int N>(std::int64_t i) { sgd_pack<N, false>(t, s, a, i); });
}

template <class T> struct NormEntry {
  const T* data;
  std::int64_t n;
  std::int32_t first_piece;
  bool packs;
};

/// sums[piece] = the sum of the piece's squares.
template <class T, int Bytes>
METTLE_GLOBAL(step_threads)
void square_sums(const TensorTable<NormEntry<T>, Bytes> table, double* sums) {
  METTLE_SHARED(double, shared, step_threads / dev::warp_size);
  const TensorPiece piece = tensor_piece<norm_piece>(table);
  const NormEntry<T>& t = table.at[piece.entry];
  double sum = 0;
  each_of_piece<step_threads, pack_size<T>>(piece, t.packs, [&]<int N>(std::int64_t i) {
    accumulate_t<T> x[N];
    load_pack<N>(t.data + i, x);
    METTLE_UNROLL
    for (int j = 0; j < N; ++j) sum += static_cast<double>(x[j]) * static_cast<double>(x[j]);
  });
  sum = block_sum(sum, shared);
  if (dev::thread_rank() == 0) sums[table.pieces_before + dev::block_index().x] = sum;
}

/// norm[0] = sqrt(sums[0] + ... + sums[count - 1]), by one block.
template <int Threads>
METTLE_GLOBAL(Threads)
void norm_of_sums(const double* sums, std::int64_t count, double* norm) {
  METTLE_SHARED(double, shared, Threads / dev::warp_size);
  double sum = 0;
  for (std::int64_t i = dev::thread_rank(); i < count; i += Threads) sum += sums[i];
  sum = block_sum(sum, shared);
  if (dev::thread_rank() == 0) norm[0] = square_root(sum);
}

}  // namespace mettle::kernels::cuda
