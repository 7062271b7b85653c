// Our own matrix product: f64 (which oneDNN does not have), matrices whose rows and columns are
// both strided, and products so small that the call into a library costs more than the arithmetic.
//
// A panel of B, kc rows by two vectors, is read in place when its columns are dense, else packed;
// six rows of A at a time meet it in registers. Each element of C is summed over k in one order on
// every machine with the same vector width.
#include <cstring>

#include "engine/parallel.h"
#include "kernels/cpu/matmul_shapes.h"
#include "kernels/cpu/register.h"
#include "kernels/cpu/simd_targets.h"
#include "kernels/matmul_then_gelu.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/matmul_blocked.cpp"
#include <hwy/foreach_target.h>

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace mettle::kernels::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr std::int64_t kc = 256;  // rows of a packed panel: 32 KB in L1
constexpr int mr = 6;

template <class T> struct Panel {
  const T* data;
  std::int64_t row;  // stride between rows
  std::int64_t k;
};

// C (Rows, width) = or += A (Rows, k) * panel; width <= 2 vectors.
template <int Rows, class T>
void MicroKernel(const T* a, std::int64_t a_row, std::int64_t a_column, const Panel<T>& panel, T* c,
                 std::int64_t c_row, std::int64_t width, bool add) {
  const hn::ScalableTag<T> d;
  using V = hn::Vec<decltype(d)>;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  V low[Rows], high[Rows];
  for (int r = 0; r < Rows; ++r) low[r] = high[r] = hn::Zero(d);
  const T* b = panel.data;
  for (std::int64_t p = 0; p < panel.k; ++p, b += panel.row) {
    const V b0 = hn::LoadU(d, b), b1 = hn::LoadU(d, b + lanes);
    HWY_UNROLL(8)
    for (int r = 0; r < Rows; ++r) {
      const V x = hn::Set(d, a[r * a_row + p * a_column]);
      low[r] = hn::MulAdd(x, b0, low[r]);
      high[r] = hn::MulAdd(x, b1, high[r]);
    }
  }
  HWY_ALIGN T edge[2 * hn::MaxLanes(hn::ScalableTag<T>())];
  for (int r = 0; r < Rows; ++r) {
    T* out = c + r * c_row;
    if (width == 2 * lanes) {
      hn::StoreU(add ? hn::Add(hn::LoadU(d, out), low[r]) : low[r], d, out);
      hn::StoreU(add ? hn::Add(hn::LoadU(d, out + lanes), high[r]) : high[r], d, out + lanes);
      continue;
    }
    hn::Store(low[r], d, edge);
    hn::Store(high[r], d, edge + lanes);
    for (std::int64_t j = 0; j < width; ++j) out[j] = add ? out[j] + edge[j] : edge[j];
  }
}

template <class T>
void RowBlock(std::int64_t rows, const T* a, std::int64_t a_row, std::int64_t a_column,
              const Panel<T>& panel, T* c, std::int64_t c_row, std::int64_t width, bool add) {
  switch (rows) {
    case 1: return MicroKernel<1>(a, a_row, a_column, panel, c, c_row, width, add);
    case 2: return MicroKernel<2>(a, a_row, a_column, panel, c, c_row, width, add);
    case 3: return MicroKernel<3>(a, a_row, a_column, panel, c, c_row, width, add);
    case 4: return MicroKernel<4>(a, a_row, a_column, panel, c, c_row, width, add);
    case 5: return MicroKernel<5>(a, a_row, a_column, panel, c, c_row, width, add);
    default: return MicroKernel<mr>(a, a_row, a_column, panel, c, c_row, width, add);
  }
}

template <class T> void Product(const Matrices<T>& p) {
  const auto nr = static_cast<std::int64_t>(2 * hn::Lanes(hn::ScalableTag<T>()));
  HWY_ALIGN T packed[kc * 2 * hn::MaxLanes(hn::ScalableTag<T>())];
  for (std::int64_t i = 0; i < p.m && (p.bias || p.k == 0); ++i)
    p.bias ? std::copy_n(p.bias, p.n, p.c + i * p.c_row) : std::fill_n(p.c + i * p.c_row, p.n, T{});
  for (std::int64_t k0 = 0; k0 < p.k; k0 += kc) {
    const std::int64_t depth = std::min(kc, p.k - k0);
    for (std::int64_t j = 0; j < p.n; j += nr) {
      const std::int64_t width = std::min(nr, p.n - j);
      const T* b = p.b + k0 * p.b_row + j * p.b_column;
      Panel<T> panel{b, p.b_row, depth};
      if (width < nr || p.b_column != 1) {
        for (std::int64_t r = 0; r < depth; ++r) {
          T* to = packed + r * nr;
          for (std::int64_t q = 0; q < width; ++q) to[q] = b[r * p.b_row + q * p.b_column];
          std::fill(to + width, to + nr, T{});
        }
        panel = {packed, nr, depth};
      }
      for (std::int64_t i = 0; i < p.m; i += mr)
        RowBlock(std::min<std::int64_t>(mr, p.m - i), p.a + i * p.a_row + k0 * p.a_column, p.a_row,
                 p.a_column, panel, p.c + i * p.c_row + j, p.c_row, width, p.bias || k0 > 0);
    }
  }
}

void ProductF32(const Matrices<float>& p) { Product(p); }
void ProductF64(const Matrices<double>& p) { Product(p); }

}  // namespace mettle::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mettle::kernels::cpu {

HWY_EXPORT(ProductF32);
HWY_EXPORT(ProductF64);

void product(const Matrices<float>& p) { HWY_DYNAMIC_DISPATCH(ProductF32)(p); }
void product(const Matrices<double>& p) { HWY_DYNAMIC_DISPATCH(ProductF64)(p); }

namespace {

constexpr std::int64_t rows_per_task = 96;

// Tasks are row blocks of single matrices; several small ones share a task.
template <class T> void run_typed(const MatmulArgs& original) {
  const MatmulArgs args = merge_batch(original);
  const std::int64_t batch = numel(args.batch);
  const std::int64_t blocks = (args.m + rows_per_task - 1) / rows_per_task;
  const std::int64_t work =
      std::max<std::int64_t>(1, std::min(args.m, rows_per_task) * args.n * args.k);
  const std::int64_t per_task = std::max<std::int64_t>(1, (1 << 18) / work);
  parallel_for(batch * blocks, per_task, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t at = task / blocks, row = task % blocks * rows_per_task;
      const auto [a, b, bias] = batch_offsets(args, at);
      const T* bias_row = static_cast<const T*>(args.epilogue.bias);
      product(Matrices<T>{std::min(rows_per_task, args.m - row), args.n, args.k,
                          static_cast<const T*>(args.a) + a + row * args.a_row, args.a_row,
                          args.a_column, static_cast<const T*>(args.b) + b, args.b_row,
                          args.b_column, static_cast<T*>(args.c) + (at * args.m + row) * args.n,
                          args.n, bias_row ? bias_row + bias : nullptr});
    }
  });
}

void run_blocked(const Stream&, const MatmulArgs& args) {
  return args.dtype == DType::f64 ? run_typed<double>(args) : run_typed<float>(args);
}

bool takes(const MatmulArgs& args) { return args.dtype == DType::f64 || args.dtype == DType::f32; }

// Below this much work a call into oneDNN (about a microsecond) costs more than the product.
bool is_small(const MatmulArgs& args) {
  return takes(args) && args.m * args.n * args.k * numel(args.batch) <= 16 * 16 * 16;
}

}  // namespace

void register_matmul_blocked() {
  matmul.add({"blocked", DeviceType::cpu, 0, takes, matmul_then_gelu<run_blocked>});
  matmul.add({"small", DeviceType::cpu, 20, is_small, matmul_then_gelu<run_blocked>});
}

}  // namespace mettle::kernels::cpu
#endif  // HWY_ONCE
