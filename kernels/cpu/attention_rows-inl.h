// The parts of the strip kernels that are not matrix products: loading, packing and storing rows,
// the bias of masked keys, dropout multipliers, 2^x. Scores are kept in units of ln 2, so that P =
// 2^(S - L) with the factor log2(e) folded into the packed keys. Included once per SIMD target.
#if defined(METTLE_KERNELS_CPU_ATTENTION_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef METTLE_KERNELS_CPU_ATTENTION_ROWS_INL_H_
#undef METTLE_KERNELS_CPU_ATTENTION_ROWS_INL_H_
#else
#define METTLE_KERNELS_CPU_ATTENTION_ROWS_INL_H_
#endif

#include <algorithm>
#include <array>
#include <limits>
#include <numbers>

#include "kernels/cpu/attention_plan.h"
#include "kernels/cpu/philox-inl.h"
#include "kernels/cpu/simd-inl.h"
#include "kernels/cpu/tile_product-inl.h"

HWY_BEFORE_NAMESPACE();
namespace mettle::kernels::cpu::attention::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using namespace cpu::HWY_NAMESPACE;
using namespace tile::HWY_NAMESPACE;

template <class T> inline constexpr T infinity = std::numeric_limits<T>::infinity();
template <class T> inline constexpr T log2e = std::numbers::log2e_v<T>;
template <class T> inline constexpr T ln2 = std::numbers::ln2_v<T>;

/// Rows of a strip. A strip of 64 rows x 1024 keys of f32 is 256 KB, a quarter of a common L2
/// cache.
inline std::int64_t strip_rows(const AttentionProblem& p) { return p.keys <= 1024 ? 64 : 32; }

/// Distance between the rows of a strip. One vector more than needed, so that the rows of a long
/// strip do not fall into the same cache set.
template <class T> std::int64_t strip_stride(const AttentionProblem& p) {
  return padded<T>(p.keys) + lanes<T>;
}

/// Keys that query row i may see under the causal rule.
inline std::int64_t visible_keys(const AttentionProblem& p, std::int64_t i) {
  return p.causal ? std::clamp<std::int64_t>(i + 1 + p.keys - p.queries, 0, p.keys) : p.keys;
}

/// lse of a query row in units of ln 2; +inf for a row without a valid key, which makes P = 0.
template <class T, class Args> T row_lse(const Args& args, const Stretch& at, std::int64_t i) {
  const AttentionProblem& p = args.problem;
  const T lse = static_cast<const T*>(args.lse)[(at.b * p.heads + at.h) * p.queries + i];
  return lse == -infinity<T> ? infinity<T> : lse * log2e<T>;
}

// ---- rows between storage and work buffers

template <class S, class T>
void convert_row(const void* base, std::int64_t offset, std::int64_t n, T factor, T* dst) {
  const Simd<T> d;
  const S* src = static_cast<const S*>(base) + offset;
  for_lanes(d, static_cast<std::size_t>(n), [&](std::size_t i, auto span) METTLE_LANES {
    store(d, hn::Mul(load(d, src + i, span), hn::Set(d, factor)), dst + i, span);
  });
}

/// dst[0, n) = factor * elements of `dtype` (f64 for T = double, the others for float).
template <class T>
void load_row(DType dtype, const void* base, std::int64_t offset, std::int64_t n, T factor,
              T* dst) {
  if constexpr (std::is_same_v<T, double>) {
    convert_row<double>(base, offset, n, factor, dst);
  } else {
    if (dtype == DType::f32) return convert_row<float>(base, offset, n, factor, dst);
    if (dtype == DType::bf16) return convert_row<bf16>(base, offset, n, factor, dst);
    convert_row<f16>(base, offset, n, factor, dst);
  }
}

template <class S, class T>
void round_row(const T* src, std::int64_t n, T factor, void* base, std::int64_t offset) {
  const Simd<T> d;
  S* dst = static_cast<S*>(base) + offset;
  for_lanes(d, static_cast<std::size_t>(n), [&](std::size_t i, auto span) METTLE_LANES {
    store(d, hn::Mul(load(d, src + i, span), hn::Set(d, factor)), dst + i, span);
  });
}

/// The inverse of load_row, rounded once.
template <class T>
void store_row(DType dtype, const T* src, std::int64_t n, T factor, void* base,
               std::int64_t offset) {
  if constexpr (std::is_same_v<T, double>) {
    round_row<double>(src, n, factor, base, offset);
  } else {
    if (dtype == DType::f32) return round_row<float>(src, n, factor, base, offset);
    if (dtype == DType::bf16) return round_row<bf16>(src, n, factor, base, offset);
    round_row<f16>(src, n, factor, base, offset);
  }
}

template <class Pointer>
std::int64_t head_offset(const AttentionOperand<Pointer>& x, const Stretch& at) {
  return at.b * x.batch + at.h * x.head;
}

/// Rows [first, first + count) of one head as a row-major matrix with rows padded<T>(cols) apart,
/// zeros in the padding.
template <class T>
void load_rows(DType dtype, AttentionIn x, const Stretch& at, std::int64_t first,
               std::int64_t count, std::int64_t cols, T* dst) {
  const std::int64_t row = padded<T>(cols);
  for (std::int64_t i = 0; i < count; ++i, dst += row) {
    load_row(dtype, x.data, head_offset(x, at) + (first + i) * x.row, cols, T(1), dst);
    std::fill(dst + cols, dst + row, T(0));
  }
}

/// Elements of the buffer that load_transposed fills.
template <class T> std::int64_t transposed_size(std::int64_t rows, std::int64_t cols) {
  return (rows + panel_width<T> - 1) / panel_width<T> * panel_width<T> * cols;
}

/// factor * (rows [0, count) of one head) transposed, (cols, count), in panels: the right operand
/// of products with keys as columns. Columns past `count` are zero. `line` holds padded<T>(cols).
template <class T>
void load_transposed(DType dtype, AttentionIn x, const Stretch& at, std::int64_t count,
                     std::int64_t cols, T factor, T* line, T* dst) {
  constexpr std::int64_t width = panel_width<T>;
  for (std::int64_t first = 0; first < count; first += width, dst += width * cols) {
    const std::int64_t rows = std::min(width, count - first);
    if (rows < width) std::fill(dst, dst + width * cols, T(0));
    for (std::int64_t j = 0; j < rows; ++j) {
      load_row(dtype, x.data, head_offset(x, at) + (first + j) * x.row, cols, factor, line);
      for (std::int64_t c = 0; c < cols; ++c) dst[c * width + j] = line[c];
    }
  }
}

/// factor * a row-major matrix with rows padded<T>(cols) apart, into rows [first, first + count).
template <class T>
void store_rows(DType dtype, const T* src, AttentionOut x, const Stretch& at, std::int64_t first,
                std::int64_t count, std::int64_t cols, T factor) {
  for (std::int64_t i = 0; i < count; ++i)
    store_row(dtype, src + i * padded<T>(cols), cols, factor, x.data,
              head_offset(x, at) + (first + i) * x.row);
}

// ---- 2^x

/// ln(2)^k / k!, the Taylor coefficients of 2^x.
template <class T> constexpr auto exp2_coefficients() {
  std::array<T, std::is_same_v<T, double> ? 14 : 8> out{};
  double term = 1;
  for (std::size_t k = 0; k < out.size(); ++k) {
    out[k] = static_cast<T>(term);
    term *= std::numbers::ln2 / static_cast<double>(k + 1);
  }
  return out;
}

/// 2^x for x below the overflow bound, within 2 ulp; results below the least normal number are 0,
/// NaN stays NaN. x = n + f with |f| <= 1/2: the series' first left-out term is below 1e-8 (f32),
/// 1e-17.
template <class T> HWY_INLINE hn::Vec<Simd<T>> exp2(hn::Vec<Simd<T>> x) {
  const Simd<T> d;
  const hn::RebindToSigned<Simd<T>> di;
  constexpr auto c = exp2_coefficients<T>();
  constexpr int bias = std::numeric_limits<T>::max_exponent - 1;
  constexpr int mantissa_bits = std::numeric_limits<T>::digits - 1;
  // A comparison, not Max: NaN passes on every target.
  const auto least = hn::Set(d, static_cast<T>(-bias));
  x = hn::IfThenElse(hn::Lt(x, least), least, x);
  const auto whole = hn::Round(x);
  const auto f = hn::Sub(x, whole);
  auto sum = hn::Set(d, c.back());
  for (std::size_t k = c.size() - 1; k-- > 0;) sum = hn::MulAdd(sum, f, hn::Set(d, c[k]));
  const auto exponent = hn::Add(hn::ConvertTo(di, whole), hn::Set(di, bias));
  return hn::Mul(sum, hn::BitCast(d, hn::ShiftLeft<mantissa_bits>(exponent)));
}

// ---- masks and dropout, a row at a time

/// The bias that a row's scores get, in units of ln 2: 0, the additive mask, or -inf for keys that
/// the row must not see and for the padding of the row.
template <class T> class BiasRow {
 public:
  explicit BiasRow(const AttentionProblem& problem)
      : p_(problem), padding_(strip_stride<T>(problem)), row_(strip_stride<T>(problem)) {}

  void start_head(const Stretch& at) {
    at_ = at;
    std::fill(padding_.data(), padding_.data() + strip_stride<T>(p_), -infinity<T>);
    for (std::int64_t j = 0; j < p_.keys; ++j)
      if (!p_.padding.data || p_.padding.data[at.b * p_.padding.batch + j * p_.padding.key])
        padding_[j] = 0;
  }

  /// Columns [0, padded(cols)) of query row i.
  const T* row(std::int64_t i, std::int64_t cols) {
    const std::int64_t visible = std::min(visible_keys(p_, i), cols);
    if (!p_.mask.data && visible == p_.keys) return padding_.data();
    std::fill(row_.data() + visible, row_.data() + padded<T>(cols), -infinity<T>);
    if (!p_.mask.data) {
      std::copy_n(padding_.data(), visible, row_.data());
      return row_.data();
    }
    const auto& m = p_.mask;
    const std::int64_t offset = at_.b * m.batch + at_.h * m.head + i * m.query;
    if (m.key == 1) {
      load_row(p_.dtype, m.data, offset, visible, log2e<T>, row_.data());
    } else {
      for (std::int64_t j = 0; j < visible; ++j)
        load_row(p_.dtype, m.data, offset + j * m.key, 1, log2e<T>, row_.data() + j);
    }
    for (std::int64_t j = 0; j < visible; ++j) row_[j] += padding_[j];
    return row_.data();
  }

 private:
  const AttentionProblem& p_;
  Stretch at_{};
  WorkBuffer<T> padding_, row_;
};

/// The dropout multipliers Z of a row: 0 or 1/(1-p).
template <class T> class DropoutRow {
 public:
  explicit DropoutRow(const AttentionProblem& problem)
      : p_(problem),
        words_(problem.dropout > 0 ? 4 + problem.keys + random::HWY_NAMESPACE::words_slack : 0),
        row_(strip_stride<T>(problem)) {
    std::fill(row_.data(), row_.data() + strip_stride<T>(p_), T(1));
  }

  bool drops() const { return p_.dropout != 0; }

  const T* row(const Stretch& at, std::int64_t i, std::int64_t cols) {
    if (!drops()) return row_.data();
    const auto first =
        static_cast<std::uint64_t>(((at.b * p_.heads + at.h) * p_.queries + i) * p_.keys);
    const auto skipped = static_cast<std::int64_t>(first % 4);
    random::HWY_NAMESPACE::philox_words(p_.key.value(), first / 4, skipped + cols, words_.data());
    const std::uint32_t threshold = drop_threshold(p_.dropout);
    const T kept = static_cast<T>(1.0 / (1.0 - p_.dropout));
    const std::uint32_t* bits = words_.data() + skipped;
    for (std::int64_t j = 0; j < cols; ++j)
      row_[j] = dropout_keeps(bits[j], threshold) ? kept : T(0);
    return row_.data();
  }

 private:
  const AttentionProblem& p_;
  WorkBuffer<std::uint32_t> words_;
  WorkBuffer<T> row_;
};

}  // namespace mettle::kernels::cpu::attention::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
