// The three layers of a fused operation, written once: the forward pass records its backward
// kernel, that one records the double-backward kernel, and that one the closing rule, by which
// order 3 and above differentiate the reference.
//
// An operation is a struct of constants and saved statistics. The statistics are functions of the
// inputs: no gradient flows to them, the kernels' formulas already contain the paths through them.
//
//   struct LayerNorm {
//     static constexpr FusedNames names = {"layer_norm", "layer_norm_backward", ...};
//     static constexpr std::size_t inputs = 3, outputs = 1;
//     // Whether the gradient depends on an input's value; where not, its second derivatives are 0.
//     static constexpr bool curved[inputs] = {true, true, false};
//     // A value as the kernels take it; used for cotangents as well as for inputs.
//     static constexpr auto laid_out = dense_operand;
//     void backward(FusedCall<inputs, outputs>& call) const;         // writes call.dx
//     void double_backward(FusedCall<inputs, outputs>& call) const;  // writes call.dx and call.ddy
//     Variables reference(std::span<const Variable> x) const;  // see autograd/fused_reference.h
//   };
#pragma once

#include <algorithm>
#include <array>
#include <concepts>

#include "autograd/grad.h"
#include "autograd/ops/support.h"

namespace mettle::ops {

struct FusedNames {
  const char* forward;
  const char* backward;
  const char* double_backward;
};

/// Operands and results of one backward or double-backward kernel. The results are allocated; the
/// kernel overwrites them.
template <std::size_t Inputs, std::size_t Outputs> struct FusedCall {
  const Backward& backward;
  std::array<const Tensor*, Inputs> x{};    // null: not given
  std::array<const Tensor*, Outputs> dy{};  // null: zero
  std::array<const Tensor*, Inputs> ddx{};  // null: zero; of the double backward
  std::array<Tensor, Inputs> dx{};          // undefined: not wanted; the double backward's dx2
  std::array<Tensor, Outputs> ddy{};        // undefined: not wanted; of the double backward

  /// A statistic, after the check that nobody wrote into it.
  const Tensor& saved(const Saved& statistic) const { return backward(statistic).value(); }
  Stream stream() const { return current_stream(x[0]->device()); }
};

inline const void* data_of(const Tensor* t) { return t ? t->data() : nullptr; }
inline void* data_of(const Tensor& t) { return t.defined() ? t.data() : nullptr; }
inline const Tensor* value_of(const Variable& v) { return v ? &v.value() : nullptr; }
inline const void* data_of(const Variable& v) { return v ? v.value().data() : nullptr; }

/// The value dense in row-major order; a null Variable stays null.
inline Variable dense_operand(const Variable& v) { return v ? contiguous(v) : v; }

/// Keeps a statistic; one that was not made stays null.
inline Saved keep(const Tensor& statistic) {
  return statistic.defined() ? Saved(Variable(statistic)) : Saved();
}

/// Uninitialised and dense, of x's dtype and of a shape of x's rank, with the axes in memory in the
/// order of x's: what is a free view of x by permute and reshape is so of the result.
Tensor empty_in_order_of(const Tensor& x, const Shape& shape);
inline Tensor empty_like(const Tensor& x) { return empty_in_order_of(x, x.shape()); }

/// How many consecutive groups of x's rows have a row of `weight` of their own: 1 for a weight [D],
/// T for [T, D] beside x [T, ..., D]. A null weight is one group. Throws ShapeError, and DTypeError
/// or DeviceError when x and weight differ in those.
std::int64_t weight_groups(const Variable& x, const Variable& weight, const char* operation,
                           const char* weight_name);
/// The same for the gain and shift of a norm over the last axis of x, which must be floating and
/// have such an axis.
std::int64_t norm_groups(const Variable& x, const Variable& gamma, const Variable& beta,
                         const char* operation);
/// The weight shaped so that it broadcasts against x.
Variable grouped_weight(const Variable& weight, int rank);

/// Throws AutogradError when a gradient with respect to a constant operand is asked for.
void check_constant(const Variable& v, const char* operation, const char* name, const char* remedy);

/// The gradient of a double backward: `arguments` are its inputs (x, dy, ddx), `cotangents` those
/// of its results (dx2, ddy).
Variables closing_rule(const Function& reference, std::size_t inputs, std::size_t outputs,
                       std::span<const Variable> arguments, std::span<const Variable> cotangents,
                       std::span<const std::uint8_t> needed);

template <class Op> class Fused {
  static constexpr std::size_t n = Op::inputs, m = Op::outputs;
  template <std::size_t K> using Values = std::array<Variable, K>;
  using Call = FusedCall<n, m>;

 public:
  /// Wraps the results of the forward kernel. `x` are its operands, laid out; null where absent.
  static Variables record(const Op& op, std::span<const Tensor> y, const Values<n>& x) {
    return record_all(Op::names.forward, y, pointers(x),
                      [op, saved = saved_of(x)](const Backward& b) {
                        return backward(op, arguments<n, m>(saved, b), b);
                      });
  }
  static Variable record(const Op& op, const Tensor& y, const Values<n>& x) {
    return record(op, std::span(&y, 1), x)[0];
  }
  /// Whether record() will keep anything: statistics are made only then.
  static bool records(const Values<n>& x) { return detail::must_record(pointers(x)); }

 private:
  // (x, dy) -> dx
  static Variables backward(const Op& op, const Values<n + m>& in, const Backward& b) {
    Call call{b};
    read<0>(in, call.x);
    read<n>(in, call.dy);
    for (std::size_t i = 0; i < n; ++i)
      if (b.needs(i)) call.dx[i] = empty_like(*call.x[i]);
    op.backward(call);
    return record_all(Op::names.backward, call.dx, pointers(in),
                      [op, saved = saved_of(in)](const Backward& bb) {
                        return double_backward(op, arguments<n + m, n>(saved, bb), bb);
                      });
  }

  // (x, dy, ddx) -> (dx2, ddy)
  static Variables double_backward(const Op& op, const Values<n + m + n>& in, const Backward& b) {
    Call call{b};
    read<0>(in, call.x);
    read<n>(in, call.dy);
    read<n + m>(in, call.ddx);
    for (std::size_t i = 0; i < n; ++i)
      if (b.needs(i) && Op::curved[i]) call.dx[i] = empty_like(*call.x[i]);
    for (std::size_t j = 0; j < m; ++j)
      if (b.needs(n + j)) call.ddy[j] = empty_like(*call.dy[j]);
    op.double_backward(call);
    std::array<Tensor, n + m> out;
    std::move(call.dx.begin(), call.dx.end(), out.begin());
    std::move(call.ddy.begin(), call.ddy.end(), out.begin() + n);
    return record_all(Op::names.double_backward, out, pointers(in),
                      [op, saved = saved_of(in)](const Backward& bb) {
                        Values<n + m + n> again;
                        std::transform(saved.begin(), saved.end(), again.begin(), std::ref(bb));
                        return closing_rule(
                            [op](std::span<const Variable> x) { return op.reference(x); }, n, m,
                            again, bb.dys(), bb.needed());
                      });
  }

  // What a rule works on: what its operation saved, followed by the cotangents that arrive.
  template <std::size_t Kept, std::size_t Arriving>
  static Values<Kept + Arriving> arguments(const std::array<Saved, Kept>& saved,
                                           const Backward& b) {
    Values<Kept + Arriving> all;
    for (std::size_t i = 0; i < Kept; ++i) all[i] = b(saved[i]);
    for (std::size_t i = 0; i < Arriving; ++i) all[Kept + i] = Op::laid_out(b.dy(i));
    return all;
  }
  template <std::size_t First, std::size_t K, std::size_t Count>
  static void read(const Values<K>& in, std::array<const Tensor*, Count>& to) {
    for (std::size_t i = 0; i < Count; ++i)
      if (in[First + i]) to[i] = &in[First + i].value();
  }
  template <std::size_t K> static std::array<Saved, K> saved_of(const Values<K>& in) {
    std::array<Saved, K> saved;
    for (std::size_t i = 0; i < K; ++i) saved[i] = Saved(in[i]);
    return saved;
  }
  template <std::size_t K> static std::array<const Variable*, K> pointers(const Values<K>& in) {
    std::array<const Variable*, K> all;
    for (std::size_t i = 0; i < K; ++i) all[i] = &in[i];
    return all;
  }
};

}  // namespace mettle::ops
