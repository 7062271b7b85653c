// Softmax cross-entropy of the logits Z = X W' + b of a linear layer, a few rows of Z at a time.
// Each order makes the logits of a chunk again, hands them to the kernels of cross_entropy() and
// multiplies what comes back by the operands; only losses, two numbers a row and results of the
// operands' sizes outlive a chunk.
//
// Backward. G = dL/dZ (N, C) comes from the kernel:
//     dX = G W,   dW = G' X,   db = G' 1.
// Double backward, for the cotangents U = ddX, V = ddW, c = ddb:
//     <U, dX> + <V, dW> + <c, db> = <T, G>,   T = U W' + X V' + 1 c'.
// The kernel gives H = d<T, G>/dZ and <T, dG/d(dloss)>. Z and T contain the operands, hence
//     dX2 = H W + G V,   dW2 = H' X + G' U,   db2 = H' 1.
#include <algorithm>

#include "autograd/fused_reference.h"
#include "autograd/ops/cross_entropy_support.h"
#include "kernels/copy.h"
#include "kernels/matmul.h"
#include "kernels/reduce.h"

namespace mettle {
namespace {

// ------------------------------------------------------------------ products and sums of matrices

/// out = a b; out is dense, a and b have any strides.
void product(const Tensor& a, const Tensor& b, const Tensor& out) {
  if (out.numel() == 0) return;
  kernels::matmul(current_stream(out.device()), {out.dtype(),
                                                 a.size(0),
                                                 b.size(1),
                                                 a.size(1),
                                                 a.data(),
                                                 b.data(),
                                                 out.data(),
                                                 a.strides()[0],
                                                 a.strides()[1],
                                                 b.strides()[0],
                                                 b.strides()[1],
                                                 {},
                                                 {},
                                                 {}});
}

/// out += x, which broadcasts; out is dense.
void add(const Tensor& x, const Tensor& out) {
  kernels::binary(current_stream(out.device()),
                  {kernels::BinaryOp::add, out.dtype(), out.data(), x.data(), out.data(),
                   out.shape(), out.strides(), x.expand(out.shape()).strides()});
}

/// out += a b, in blocks of rows that are still in the cache when they are added.
void add_product(const Tensor& a, const Tensor& b, const Tensor& out) {
  constexpr std::int64_t block_elements = std::int64_t{1} << 18;
  const std::int64_t rows = out.size(0), width = std::max<std::int64_t>(out.size(1), 1);
  const std::int64_t block = std::max<std::int64_t>(block_elements / width, 16);
  for (std::int64_t first = 0; first < rows; first += block) {
    const std::int64_t last = std::min(first + block, rows);
    const Tensor part = Tensor::empty({last - first, out.size(1)}, out.dtype(), out.device());
    product(a.slice(0, first, last), b, part);
    add(part, out.slice(0, first, last));
  }
}

/// out += the sums of the columns of x.
void add_column_sums(const Tensor& x, const Tensor& out) {
  const Tensor sums = Tensor::empty(out.shape(), out.dtype(), out.device());
  kernels::reduce(current_stream(x.device()), {kernels::ReduceOp::sum, x.dtype(), x.data(),
                                               sums.data(), x.shape(), x.strides(), 1u << 0});
  add(sums, out);
}

// --------------------------------------------------------------------------- operands and results

/// An operand as a matrix (or vector) in f32, or f64; undefined stays undefined.
Tensor widened(const Tensor* x, const Shape& shape) {
  if (!x) return {};
  Tensor flat = x->view(shape);
  const DType wide = ops::wide_dtype(x->dtype());
  if (x->dtype() == wide) return flat;
  Tensor copy = Tensor::empty(shape, wide, x->device());
  ops::copy_into(flat, copy);
  return copy;
}

/// X, W and b, or one cotangent for each.
struct Operands {
  Tensor x, weight, bias;
};

/// A gradient that is summed up in f32 (f64) and rounded once. Undefined where not wanted.
class Sum {
 public:
  Sum(const Tensor& result, const Shape& shape) {
    if (!result.defined()) return;
    result_ = result.view(shape);
    const DType wide = ops::wide_dtype(result.dtype());
    total_ = result.dtype() == wide ? result_ : Tensor::empty(shape, wide, result.device());
    kernels::fill(current_stream(result.device()), {total_.data(), wide, total_.numel(), 0.0});
  }
  bool wanted() const { return total_.defined(); }
  const Tensor& total() const { return total_; }
  void round() const {
    if (wanted() && total_.dtype() != result_.dtype()) ops::copy_into(total_, result_);
  }

 private:
  Tensor result_, total_;
};

struct LinearCrossEntropy {
  static constexpr ops::FusedNames names = {"linear_cross_entropy", "linear_cross_entropy_backward",
                                            "linear_cross_entropy_double_backward"};
  static constexpr std::size_t inputs = 4, outputs = 1;  // x, weight, bias, target -> losses
  static constexpr bool curved[inputs] = {true, true, true, false};
  static constexpr auto laid_out = ops::dense_operand;
  using Call = ops::FusedCall<inputs, outputs>;

  CrossEntropyOptions options;
  std::int64_t rows, classes, width;  // N, C, D
  Saved statistics;                   // (2, rows): highest, inverse

  /// Calls body(first, last) for every chunk of rows.
  void for_chunks(auto&& body) const {
    constexpr std::int64_t elements = std::int64_t{1} << 23, least = 16;
    const std::int64_t chunk = options.chunk_rows > 0
                                   ? options.chunk_rows
                                   : std::max(elements / classes / least * least, least);
    for (std::int64_t first = 0; first < rows; first += chunk)
      body(first, std::min(first + chunk, rows));
  }

  /// The logits of some rows.
  Tensor logits(const Operands& in, std::int64_t first, std::int64_t last) const {
    Tensor z = Tensor::empty({last - first, classes}, in.x.dtype(), in.x.device());
    product(in.x.slice(0, first, last), in.weight.transpose(0, 1), z);
    if (in.bias.defined()) add(in.bias, z);
    return z;
  }

  /// T of some rows: the change of their logits along the cotangents.
  Tensor change(const Operands& in, const Operands& along, std::int64_t first,
                std::int64_t last) const {
    Tensor t = ops::filled({last - first, classes}, 0.0, in.x.dtype(), in.x.device());
    if (along.x.defined()) add_product(along.x.slice(0, first, last), in.weight.transpose(0, 1), t);
    if (along.weight.defined())
      add_product(in.x.slice(0, first, last), along.weight.transpose(0, 1), t);
    if (along.bias.defined()) add(along.bias, t);
    return t;
  }

  Operands operands(const std::array<const Tensor*, inputs>& x) const {
    return {widened(x[0], {rows, width}), widened(x[1], {classes, width}),
            widened(x[2], {classes})};
  }
  kernels::CrossEntropyRows rows_of(const Tensor& z, const Tensor& target, std::int64_t first,
                                    std::int64_t last) const {
    return ops::cross_entropy_rows(z, target.view({rows}).slice(0, first, last), options, first);
  }
  /// Where the numbers of the rows from `first` on begin.
  void* from_row(const Tensor& of_rows, std::int64_t first) const {
    return of_rows.defined() ? of_rows.view({rows}).slice(0, first, rows).data() : nullptr;
  }

  void forward(const std::array<const Tensor*, inputs>& x, const Tensor& losses,
               const Tensor& saved) const {
    const Operands in = operands(x);
    for_chunks([&](std::int64_t first, std::int64_t last) {
      const Tensor z = logits(in, first, last);
      const ops::RowStatistics s(saved, first);
      kernels::cross_entropy_forward(
          current_stream(z.device()),
          {rows_of(z, *x[3], first, last), from_row(losses, first), s.highest(), s.inverse()});
    });
  }

  void backward(Call& c) const {
    const Operands in = operands(c.x);
    const Sum dx(c.dx[0], {rows, width}), dweight(c.dx[1], {classes, width}),
        dbias(c.dx[2], {classes});
    for_chunks([&](std::int64_t first, std::int64_t last) {
      const Tensor z = logits(in, first, last), &g = z;
      gradient(c, z, first, last);
      if (dx.wanted()) product(g, in.weight, dx.total().slice(0, first, last));
      if (dweight.wanted())
        add_product(g.transpose(0, 1), in.x.slice(0, first, last), dweight.total());
      if (dbias.wanted()) add_column_sums(g, dbias.total());
    });
    for (const Sum* sum : {&dx, &dweight, &dbias}) sum->round();
  }

  void double_backward(Call& c) const {
    const Operands in = operands(c.x), along = operands(c.ddx);
    const Sum dx(c.dx[0], {rows, width}), dweight(c.dx[1], {classes, width}),
        dbias(c.dx[2], {classes});
    for_chunks([&](std::int64_t first, std::int64_t last) {
      const Tensor z = logits(in, first, last), &g = z;
      const Tensor t = change(in, along, first, last), &h = t;
      const ops::RowStatistics s(c.saved(statistics), first);
      kernels::cross_entropy_double_backward(
          c.stream(), {rows_of(z, *c.x[3], first, last), s.highest(), s.inverse(),
                       from_row(*c.dy[0], first), t.data(), h.data(), from_row(c.ddy[0], first)});
      gradient(c, z, first, last);
      const Tensor x = in.x.slice(0, first, last);
      if (dx.wanted()) {
        const Tensor out = dx.total().slice(0, first, last);
        product(h, in.weight, out);
        if (along.weight.defined()) add_product(g, along.weight, out);
      }
      if (dweight.wanted()) {
        add_product(h.transpose(0, 1), x, dweight.total());
        if (along.x.defined())
          add_product(g.transpose(0, 1), along.x.slice(0, first, last), dweight.total());
      }
      if (dbias.wanted()) add_column_sums(h, dbias.total());
    });
    for (const Sum* sum : {&dx, &dweight, &dbias}) sum->round();
  }

  Variables reference(std::span<const Variable> x) const {
    return {reference_losses(x[0], x[1], x[2], x[3], options)};
  }
  static Variable reference_losses(const Variable& x, const Variable& weight, const Variable& bias,
                                   const Variable& target, const CrossEntropyOptions& options) {
    const DType wide = ops::wide_dtype(x.dtype());
    Variable z = matmul(reshape(cast(x, wide), {target.numel(), x.size(-1)}),
                        transpose(cast(weight, wide), 0, 1));
    if (bias) z = z + cast(bias, wide);
    return reshape(ops::reference_losses(z, reshape(target, {target.numel()}), options),
                   target.shape());
  }

 private:
  /// Turns the logits of some rows into G.
  void gradient(Call& c, const Tensor& z, std::int64_t first, std::int64_t last) const {
    const ops::RowStatistics s(c.saved(statistics), first);
    kernels::cross_entropy_backward(c.stream(), {rows_of(z, *c.x[3], first, last), s.highest(),
                                                 s.inverse(), from_row(*c.dy[0], first), z.data()});
  }
};

void check_operands(const Variable& x, const Variable& weight, const Variable& bias,
                    const CrossEntropyOptions& options) {
  constexpr const char* name = "linear_cross_entropy";
  ops::check_floating(x.value(), name);
  ops::check_same(x.value(), weight.value(), name);
  METTLE_CHECK(
      ShapeError,
      x.rank() >= 1 && weight.rank() == 2 && weight.size(1) == x.size(-1) && weight.size(0) >= 1,
      "{}: weight {} does not fit x {}; x is (..., D), the weight (C, D) with C >= 1", name,
      to_string(weight.shape()), to_string(x.shape()));
  METTLE_CHECK(ValueError, options.chunk_rows >= 0, "{}: chunk_rows is {}; 0 chooses by size", name,
               options.chunk_rows);
  if (!bias) return;
  ops::check_same(x.value(), bias.value(), name);
  METTLE_CHECK(ShapeError, bias.shape() == Shape({weight.size(0)}),
               "{}: bias {} must be (C) for the weight {}", name, to_string(bias.shape()),
               to_string(weight.shape()));
}

}  // namespace

Variable reference::linear_cross_entropy(const Variable& x, const Variable& weight,
                                         const Variable& bias, const Variable& target,
                                         const CrossEntropyOptions& options) {
  return ops::reduced_losses(LinearCrossEntropy::reference_losses(x, weight, bias, target, options),
                             target, options);
}

Variable linear_cross_entropy(const Variable& x, const Variable& weight, const Variable& bias,
                              const Variable& target, const CrossEntropyOptions& options) {
  check_operands(x, weight, bias, options);
  ops::check_class_targets(target, x, options, "linear_cross_entropy");
  const std::array in{contiguous(x), contiguous(weight), ops::dense_operand(bias),
                      contiguous(target)};
  const DType wide = ops::wide_dtype(x.dtype());
  LinearCrossEntropy op{options, target.numel(), weight.size(0), x.size(-1), {}};
  const Tensor losses = Tensor::empty(target.shape(), wide, x.device());
  Tensor statistics;
  if (ops::Fused<LinearCrossEntropy>::records(in))
    statistics = Tensor::empty({2, op.rows}, wide, x.device());
  op.forward({&in[0].value(), &in[1].value(), ops::value_of(in[2]), &in[3].value()}, losses,
             statistics);
  op.statistics = ops::keep(statistics);
  return ops::reduced_losses(ops::Fused<LinearCrossEntropy>::record(op, losses, in), target,
                             options);
}

}  // namespace mettle
