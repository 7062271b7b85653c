// Softmax attention on separate q, k, v and on a packed qkv tensor: views by strides, never a
// transposed copy.
#include "kernels/attention.h"

#include <cmath>

#include "autograd/fused.h"
#include "autograd/fused_reference.h"
#include "autograd/ops/fused_support.h"

namespace mettle {
namespace {

using kernels::AttentionIn;
using kernels::AttentionOperand;
using kernels::AttentionOut;
using kernels::AttentionProblem;

// ------------------------------------------------------------------------------------ operands

/// The stride of the first `lead` axes taken as one; none when they do not lie so.
std::optional<std::int64_t> merged_stride(const Tensor& t, int lead) {
  std::int64_t stride = 0, extent = 1;  // of the axes so far, from the innermost
  for (int i = lead - 1; i >= 0; --i) {
    if (t.shape()[i] == 1) continue;
    if (extent == 1) {
      stride = t.strides()[i];
    } else if (t.strides()[i] != stride * extent) {
      return std::nullopt;
    }
    extent *= t.shape()[i];
  }
  return stride;
}

/// A value as the kernels take it: rows dense, all but the last three axes one batch.
Variable attention_operand(const Variable& v) {
  if (!v) return v;
  const Tensor& t = v.value();
  const bool rows_dense = t.strides().at(-1) == 1 || t.size(-1) == 1;
  return rows_dense && merged_stride(t, t.rank() - 3) ? v : contiguous(v);
}

/// Where the heads and rows of a tensor are, counted from its last axis.
struct Axes {
  int head, row;
};
constexpr Axes separate{-3, -2};  // (..., H, N, D)
constexpr Axes by_row{-2, -3};    // (..., N, H, D)
constexpr Axes packed{-2, -4};    // (..., N, 3, H, D)

template <class Pointer>
AttentionOperand<Pointer> operand(Pointer data, const Tensor& t, const Axes& axes) {
  const Strides& s = t.strides();
  const int lead = t.rank() + std::min(axes.head, axes.row);
  return {data, *merged_stride(t, lead), s.at(axes.head), s.at(axes.row)};
}
AttentionIn in(const Tensor* t, const Axes& axes) {
  return t ? operand<const void*>(t->data(), *t, axes) : AttentionIn{};
}
AttentionOut out(const Tensor& t, const Axes& axes) {
  return t.defined() ? operand<void*>(t.data(), t, axes) : AttentionOut{};
}

/// q, k or v (part 0, 1, 2) of a packed tensor.
std::byte* part_of(const Tensor& t, int part) {
  return static_cast<std::byte*>(t.data()) +
         part * t.strides().at(-3) * static_cast<std::int64_t>(size_of(t.dtype()));
}
AttentionIn in_part(const Tensor* t, int part) {
  return t ? operand<const void*>(part_of(*t, part), *t, packed) : AttentionIn{};
}
AttentionOut out_part(const Tensor& t, int part) {
  return t.defined() ? operand<void*>(part_of(t, part), t, packed) : AttentionOut{};
}

// ------------------------------------------------------------------------------------- problem

struct Sizes {
  Shape lead;  // together the batch
  std::int64_t heads, queries, keys, head_dim, value_dim;

  Shape scores() const { return with(lead, {heads, queries, keys}); }
  static Shape with(Shape shape, std::initializer_list<std::int64_t> more) {
    for (const std::int64_t extent : more) shape.push_back(extent);
    return shape;
  }
};

Shape lead_of(const Shape& shape, int inner) {
  return Shape(shape.span().first(shape.size() - static_cast<std::size_t>(inner)));
}

/// The constants of a problem with queries q, packed or not. mask (lead..., H or 1, Nq or 1, Nk or
/// 1), padding (lead..., Nk).
AttentionProblem problem_of(const Tensor& q, const Sizes& sizes, const AttentionOptions& options,
                            const Tensor* mask, const Tensor* padding) {
  AttentionProblem p{q.dtype(),
                     numel(sizes.lead),
                     sizes.heads,
                     sizes.queries,
                     sizes.keys,
                     sizes.head_dim,
                     sizes.value_dim,
                     *options.scale,
                     options.causal,
                     {},
                     {},
                     options.dropout,
                     options.key.on(q.device(), "attention")};
  const int lead = sizes.lead.rank();
  if (mask) {
    const auto stride = [&](int axis) {
      return mask->size(axis) == 1 ? 0 : mask->strides().at(axis);
    };
    p.mask = {mask->data(), *merged_stride(*mask, lead), stride(-3), stride(-2), stride(-1)};
  }
  if (padding)
    p.padding = {static_cast<const std::uint8_t*>(padding->data()), *merged_stride(*padding, lead),
                 padding->strides().at(-1)};
  return p;
}

/// Repeats the axes before the last `inner` to `lead`, so that they merge into one batch.
Variable with_lead(const Variable& v, const Shape& lead, int inner) {
  Shape shape = lead;
  for (int axis = -inner; axis < 0; ++axis) shape.push_back(v.size(axis));
  const Variable repeated = expand(v, shape);
  return merged_stride(repeated.value(), lead.rank()) ? repeated : contiguous(repeated);
}

Variable laid_out_mask(const Variable& mask, const Sizes& sizes) {
  if (!mask) return mask;
  Shape shape = mask.shape();
  while (shape.rank() < 3) shape.insert(0, 1);
  return with_lead(reshape(mask, shape), sizes.lead, 3);
}
Variable laid_out_padding(const Variable& padding, const Sizes& sizes) {
  return padding ? with_lead(padding, sizes.lead, 1) : padding;
}

// -------------------------------------------------------------------------------------- checks

void check_mask(const Variable& q, const Variable& mask, const Sizes& sizes, const char* name) {
  if (!mask) return;
  ops::check_same(q.value(), mask.value(), name);
  ops::check_constant(mask, name, "mask", "detach() it");
  const Shape scores = sizes.scores();
  METTLE_CHECK(ShapeError, broadcast_shapes(mask.shape(), scores, name) == scores,
               "{}: mask {} does not broadcast to the scores {}", name, to_string(mask.shape()),
               to_string(scores));
}

void check_padding(const Variable& q, const Variable& padding, const Sizes& sizes,
                   const char* name) {
  if (!padding) return;
  METTLE_CHECK(DTypeError, padding.dtype() == DType::boolean || padding.dtype() == DType::u8,
               "{}: key_padding must be bool or u8, nonzero for a valid key, got {}", name,
               describe(padding.value()));
  METTLE_CHECK(DeviceError, padding.device() == q.device(), "{}: {} and {} are on two devices",
               name, describe(q.value()), describe(padding.value()));
  const Shape keys = Sizes::with(sizes.lead, {sizes.keys});
  METTLE_CHECK(ShapeError,
               padding.rank() >= 1 && padding.size(-1) == sizes.keys &&
                   broadcast_shapes(padding.shape(), keys, name) == keys,
               "{}: key_padding {} does not broadcast to {}, one entry for each key", name,
               to_string(padding.shape()), to_string(keys));
}

void check_options(const Variable& q, const AttentionOptions& options, const Sizes& sizes,
                   const char* name) {
  METTLE_CHECK(ValueError, 0.0 <= options.dropout && options.dropout < 1.0,
               "{}: the dropout probability {} is outside [0, 1)", name, options.dropout);
  check_mask(q, options.mask, sizes, name);
  check_padding(q, options.key_padding, sizes, name);
}

/// The options that stay in a node: the scale filled in, masks left to the operands.
AttentionOptions constants_of(const AttentionOptions& options, const Sizes& sizes) {
  AttentionOptions c;
  const auto dim = static_cast<double>(std::max<std::int64_t>(sizes.head_dim, 1));
  c.scale = options.scale.value_or(1.0 / std::sqrt(dim));
  c.causal = options.causal;
  c.dropout = options.dropout;
  c.key = options.key;
  return c;
}
AttentionOptions with_masks(AttentionOptions constants, const Variable& mask,
                            const Variable& padding) {
  constants.mask = mask;
  constants.key_padding = padding;
  return constants;
}

Tensor new_lse(const Tensor& q, const Sizes& sizes) {
  return Tensor::empty({numel(sizes.lead), sizes.heads, sizes.queries}, ops::wide_dtype(q.dtype()),
                       q.device());
}

// --------------------------------------------------------------------------------- separate form

struct Attention {
  static constexpr ops::FusedNames names = {"attention", "attention_backward",
                                            "attention_double_backward"};
  static constexpr std::size_t inputs = 5, outputs = 1;  // q, k, v, mask, key_padding -> out
  static constexpr bool curved[inputs] = {true, true, true, false, false};
  static constexpr auto laid_out = attention_operand;
  using Call = ops::FusedCall<inputs, outputs>;

  AttentionOptions constants;
  Saved y, lse;

  static Sizes sizes(const Tensor& q, const Tensor& k, const Tensor& v) {
    return {lead_of(q.shape(), 3), q.size(-3), q.size(-2), k.size(-2), q.size(-1), v.size(-1)};
  }
  AttentionProblem problem(const Call& c) const {
    return problem_of(*c.x[0], sizes(*c.x[0], *c.x[1], *c.x[2]), constants, c.x[3], c.x[4]);
  }

  void backward(Call& c) const {
    kernels::attention_backward(
        c.stream(), {problem(c), in(c.x[0], separate), in(c.x[1], separate), in(c.x[2], separate),
                     in(&c.saved(y), separate), c.saved(lse).data(), in(c.dy[0], separate),
                     out(c.dx[0], separate), out(c.dx[1], separate), out(c.dx[2], separate)});
  }
  void double_backward(Call& c) const {
    kernels::attention_double_backward(
        c.stream(), {problem(c), in(c.x[0], separate), in(c.x[1], separate), in(c.x[2], separate),
                     in(&c.saved(y), separate), c.saved(lse).data(), in(c.dy[0], separate),
                     in(c.ddx[0], separate), in(c.ddx[1], separate), in(c.ddx[2], separate),
                     out(c.dx[0], separate), out(c.dx[1], separate), out(c.dx[2], separate),
                     out(c.ddy[0], separate)});
  }
  Variables reference(std::span<const Variable> x) const {
    return {reference::attention(x[0], x[1], x[2], with_masks(constants, x[3], x[4]))};
  }
};

void check_operands(const Variable& q, const Variable& k, const Variable& v) {
  ops::check_floating(q.value(), "attention");
  ops::check_same(q.value(), k.value(), "attention");
  ops::check_same(q.value(), v.value(), "attention");
  const Shape &qs = q.shape(), &ks = k.shape(), &vs = v.shape();
  const bool ranks = qs.rank() >= 3 && qs.rank() == ks.rank() && qs.rank() == vs.rank();
  const auto agree = [&] {
    for (int axis = 0; axis <= qs.rank() - 3; ++axis)
      if (qs[axis] != ks[axis] || qs[axis] != vs[axis]) return false;
    return qs.at(-1) == ks.at(-1) && ks.at(-2) == vs.at(-2);
  };
  METTLE_CHECK(ShapeError, ranks && agree(),
               "attention: q {}, k {}, v {} do not fit; they must be (..., H, Nq, D), (..., H, Nk, "
               "D), (..., H, Nk, Dv) with the same leading axes; expand() what is shared",
               to_string(qs), to_string(ks), to_string(vs));
}

// ---------------------------------------------------------------------------------- packed form

struct PackedAttention {
  static constexpr ops::FusedNames names = {"attention_packed", "attention_packed_backward",
                                            "attention_packed_double_backward"};
  static constexpr std::size_t inputs = 3, outputs = 1;  // qkv, mask, key_padding -> out
  static constexpr bool curved[inputs] = {true, false, false};
  static constexpr auto laid_out = attention_operand;
  using Call = ops::FusedCall<inputs, outputs>;

  AttentionOptions constants;
  Saved y, lse;

  static Sizes sizes(const Tensor& qkv) {
    const std::int64_t n = qkv.size(-4), d = qkv.size(-1);
    return {lead_of(qkv.shape(), 4), qkv.size(-2), n, n, d, d};
  }
  AttentionProblem problem(const Call& c) const {
    return problem_of(*c.x[0], sizes(*c.x[0]), constants, c.x[1], c.x[2]);
  }

  void backward(Call& c) const {
    const Tensor* qkv = c.x[0];
    kernels::attention_backward(c.stream(),
                                {problem(c), in_part(qkv, 0), in_part(qkv, 1), in_part(qkv, 2),
                                 in(&c.saved(y), by_row), c.saved(lse).data(), in(c.dy[0], by_row),
                                 out_part(c.dx[0], 0), out_part(c.dx[0], 1), out_part(c.dx[0], 2)});
  }
  void double_backward(Call& c) const {
    const Tensor *qkv = c.x[0], *dd = c.ddx[0];
    kernels::attention_double_backward(
        c.stream(),
        {problem(c), in_part(qkv, 0), in_part(qkv, 1), in_part(qkv, 2), in(&c.saved(y), by_row),
         c.saved(lse).data(), in(c.dy[0], by_row), in_part(dd, 0), in_part(dd, 1), in_part(dd, 2),
         out_part(c.dx[0], 0), out_part(c.dx[0], 1), out_part(c.dx[0], 2), out(c.ddy[0], by_row)});
  }
  Variables reference(std::span<const Variable> x) const {
    return {reference::attention_packed(x[0], with_masks(constants, x[1], x[2]))};
  }
};

}  // namespace

Variable attention(const Variable& q, const Variable& k, const Variable& v,
                   const AttentionOptions& options) {
  check_operands(q, k, v);
  const Sizes sizes = Attention::sizes(q.value(), k.value(), v.value());
  check_options(q, options, sizes, "attention");
  const std::array x{attention_operand(q), attention_operand(k), attention_operand(v),
                     laid_out_mask(options.mask, sizes),
                     laid_out_padding(options.key_padding, sizes)};
  const AttentionOptions constants = constants_of(options, sizes);
  const Tensor &tq = x[0].value(), &tk = x[1].value(), &tv = x[2].value();
  Shape shape = q.shape();
  shape[shape.rank() - 1] = sizes.value_dim;
  const Tensor y = ops::empty_in_order_of(tq, shape);
  const bool records = ops::Fused<Attention>::records(x);
  const Tensor lse = records ? new_lse(tq, sizes) : Tensor();
  kernels::attention_forward(
      current_stream(tq.device()),
      {problem_of(tq, sizes, constants, ops::value_of(x[3]), ops::value_of(x[4])),
       in(&tq, separate), in(&tk, separate), in(&tv, separate), out(y, separate),
       ops::data_of(lse)});
  return ops::Fused<Attention>::record(
      {constants, ops::keep(records ? y : Tensor()), ops::keep(lse)}, y, x);
}

Variable attention_packed(const Variable& qkv, const AttentionOptions& options) {
  ops::check_floating(qkv.value(), "attention_packed");
  METTLE_CHECK(ShapeError, qkv.rank() >= 4 && qkv.size(-3) == 3,
               "attention_packed: qkv {} must be (..., N, 3, H, D)", to_string(qkv.shape()));
  const Sizes sizes = PackedAttention::sizes(qkv.value());
  check_options(qkv, options, sizes, "attention_packed");
  const std::array x{attention_operand(qkv), laid_out_mask(options.mask, sizes),
                     laid_out_padding(options.key_padding, sizes)};
  const AttentionOptions constants = constants_of(options, sizes);
  const Tensor& t = x[0].value();
  const Tensor y =
      Tensor::empty(Sizes::with(sizes.lead, {sizes.queries, sizes.heads, sizes.value_dim}),
                    t.dtype(), t.device());
  const bool records = ops::Fused<PackedAttention>::records(x);
  const Tensor lse = records ? new_lse(t, sizes) : Tensor();
  kernels::attention_forward(
      current_stream(t.device()),
      {problem_of(t, sizes, constants, ops::value_of(x[1]), ops::value_of(x[2])), in_part(&t, 0),
       in_part(&t, 1), in_part(&t, 2), out(y, by_row), ops::data_of(lse)});
  return ops::Fused<PackedAttention>::record(
      {constants, ops::keep(records ? y : Tensor()), ops::keep(lse)}, y, x);
}

}  // namespace mettle
