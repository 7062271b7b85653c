// One attention problem for the kernel tests: operands of a dtype in a layout, run through the
// forward, its tangent, backward and double backward of a chosen variant on the device under test,
// and once more by the plain formulas in f64 on the CPU.
#pragma once

#include "kernels/attention.h"
#include "tests/kernels/kernel_test_util.h"

namespace mettle::test {

enum class MaskKind { none, full, per_key, per_head };
enum class PaddingKind { none, ragged, first_batch_invalid };

/// A row of the tables. Strided operands are (B, N, H, D) with a gap of so many elements after each
/// row.
struct AttentionCase {
  std::int64_t batch, heads, queries, keys, head_dim, value_dim;
  bool causal = false;
  MaskKind mask = MaskKind::none;
  PaddingKind padding = PaddingKind::none;
  double dropout = 0;
  std::int64_t gap = 0;

  std::int64_t q_size() const { return batch * heads * queries * head_dim; }
  std::int64_t k_size() const { return batch * heads * keys * head_dim; }
  std::int64_t v_size() const { return batch * heads * keys * value_dim; }
  std::int64_t o_size() const { return batch * heads * queries * value_dim; }
};

inline std::string describe(const AttentionCase& c) {
  return fmt::format("B{} H{} Nq{} Nk{} D{} Dv{} causal{} mask{} padding{} dropout{} gap{}",
                     c.batch, c.heads, c.queries, c.keys, c.head_dim, c.value_dim, c.causal,
                     static_cast<int>(c.mask), static_cast<int>(c.padding), c.dropout, c.gap);
}

/// A (B, H, N, D) operand, dense or strided. `values` are always in (B, H, N, D) order.
class Operand {
 public:
  Operand(DType dtype, const AttentionCase& c, std::int64_t rows, std::int64_t cols)
      : heads_(c.heads),
        rows_(rows),
        cols_(cols),
        count_(c.batch * c.heads * rows * cols),
        gap_(c.gap),
        buffer_(dtype, Vec(static_cast<std::size_t>(gap_ ? c.batch * heads_ * rows * (cols + gap_)
                                                         : count_),
                           sentinel)) {}

  Operand& fill(const Vec& values) {
    Vec stored = buffer_.values();
    for (std::int64_t i = 0; i < count_; ++i)
      stored[place(i)] = values[static_cast<std::size_t>(i)];
    buffer_ = Buffer(buffer_.dtype(), stored);
    return *this;
  }

  Buffer values() const {
    const Vec stored = buffer_.values();
    Vec out(static_cast<std::size_t>(count_));
    for (std::int64_t i = 0; i < count_; ++i) out[static_cast<std::size_t>(i)] = stored[place(i)];
    return Buffer(buffer_.dtype(), out);
  }

  /// Whether the gaps still hold what they held at first.
  bool gaps_intact() const {
    std::size_t held = 0;
    const double mark = Buffer(buffer_.dtype(), Vec{sentinel}).values()[0];
    for (double x : buffer_.values()) held += x == mark;
    return held >= buffer_.values().size() - static_cast<std::size_t>(count_);
  }

  kernels::AttentionOut out() {
    if (!gap_) return {buffer_.data(), heads_ * rows_ * cols_, rows_ * cols_, cols_};
    const std::int64_t width = cols_ + gap_;
    return {buffer_.data(), rows_ * heads_ * width, width, heads_ * width};
  }
  kernels::AttentionIn in() {
    const auto o = out();
    return {o.data, o.batch, o.head, o.row};
  }

 private:
  static constexpr double sentinel = 77;

  std::size_t place(std::int64_t i) const {
    if (!gap_) return static_cast<std::size_t>(i);
    const std::int64_t col = i % cols_, row = i / cols_ % rows_,
                       head = i / (cols_ * rows_) % heads_, batch = i / (cols_ * rows_ * heads_);
    return static_cast<std::size_t>(((batch * rows_ + row) * heads_ + head) * (cols_ + gap_) + col);
  }

  std::int64_t heads_, rows_, cols_, count_, gap_;
  Buffer buffer_;
};

/// All operands of one case. Public, so that tests leave out or replace what they like.
class AttentionRun {
 public:
  AttentionRun(const AttentionCase& size, DType type)
      : c(size),
        q(type, c, c.queries, c.head_dim),
        k(type, c, c.keys, c.head_dim),
        v(type, c, c.keys, c.value_dim),
        dout(type, c, c.queries, c.value_dim),
        ddq(q),
        ddk(k),
        ddv(v),
        out(dout),
        tangent_out(dout),
        dq(q),
        dk(k),
        dv(v),
        dq2(q),
        dk2(k),
        dv2(v),
        ddout(dout),
        lse(statistics_dtype(type), c.batch * c.heads * c.queries),
        mask(type, mask_values()),
        padding(padding_values()) {
    q.fill(rounded(type, random_vec(c.q_size(), 1, -2, 2)));
    k.fill(rounded(type, random_vec(c.k_size(), 2, -2, 2)));
    v.fill(rounded(type, random_vec(c.v_size(), 3)));
    dout.fill(rounded(type, random_vec(c.o_size(), 4)));
    ddq.fill(rounded(type, random_vec(c.q_size(), 5)));
    ddk.fill(rounded(type, random_vec(c.k_size(), 6)));
    ddv.fill(rounded(type, random_vec(c.v_size(), 7)));
    dtype_ = type;
  }

  /// The same problem in f64 on the CPU, with operands that hold what this one's dtype holds, run
  /// by the plain formulas.
  AttentionRun oracle() const {
    const OnCpu cpu;
    AttentionRun r(c, DType::f64);
    r.q.fill(q.values().values());
    r.k.fill(k.values().values());
    r.v.fill(v.values().values());
    r.dout.fill(dout.values().values());
    r.ddq.fill(ddq.values().values());
    r.ddk.fill(ddk.values().values());
    r.ddv.fill(ddv.values().values());
    r.mask = Buffer(DType::f64, mask.values());
    r.run("naive");
    return r;
  }

  kernels::AttentionProblem problem() {
    kernels::AttentionProblem p;
    p.dtype = dtype_;
    p.batch = c.batch;
    p.heads = c.heads;
    p.queries = c.queries;
    p.keys = c.keys;
    p.head_dim = c.head_dim;
    p.value_dim = c.value_dim;
    p.scale = c.head_dim ? 1 / std::sqrt(static_cast<double>(c.head_dim)) : 1;
    p.causal = c.causal;
    p.dropout = c.dropout;
    p.key = key;
    if (c.mask == MaskKind::full)
      p.mask = {mask.data(), c.heads * c.queries * c.keys, c.queries * c.keys, c.keys, 1};
    if (c.mask == MaskKind::per_key) p.mask = {mask.data(), c.keys, 0, 0, 1};
    if (c.mask == MaskKind::per_head)  // stored (H, Nk, Nq): a key stride that is not 1
      p.mask = {mask.data(), 0, c.queries * c.keys, 1, c.queries};
    if (c.padding != PaddingKind::none) p.padding = {padding.data(), 2 * c.keys, 2};
    return p;
  }

  kernels::AttentionForwardArgs forward_args() {
    return {problem(), q.in(), k.in(), v.in(), out.out(), lse.data()};
  }
  /// Along ddq, ddk and ddv.
  kernels::AttentionJvpArgs jvp_args() {
    return {problem(),  q.in(),   k.in(),   v.in(),   out.in(),
            lse.data(), ddq.in(), ddk.in(), ddv.in(), tangent_out.out()};
  }
  kernels::AttentionBackwardArgs backward_args() {
    return {problem(),  q.in(),    k.in(),   v.in(),   out.in(),
            lse.data(), dout.in(), dq.out(), dk.out(), dv.out()};
  }
  kernels::AttentionDoubleBackwardArgs double_backward_args() {
    return {problem(), q.in(),   k.in(),   v.in(),    out.in(),  lse.data(), dout.in(),
            ddq.in(),  ddk.in(), ddv.in(), dq2.out(), dk2.out(), dv2.out(),  ddout.out()};
  }

  AttentionRun& run() {
    kernels::attention_forward(stream_under_test(), forward_args());
    kernels::attention_jvp(stream_under_test(), jvp_args());
    kernels::attention_backward(stream_under_test(), backward_args());
    kernels::attention_double_backward(stream_under_test(), double_backward_args());
    return *this;
  }
  AttentionRun& run(const char* variant) {
    const Selected selected({&kernels::attention_forward, &kernels::attention_jvp,
                             &kernels::attention_backward, &kernels::attention_double_backward},
                            variant);
    return run();
  }

  struct Result {
    const char* name;
    const Operand* operand;
  };
  std::vector<Result> results() const {
    std::vector<Result> all = {
        {"out", &out}, {"tangent_out", &tangent_out}, {"dq", &dq}, {"dk", &dk}, {"dv", &dv}};
    for (const Result& result : double_results()) all.push_back(result);
    return all;
  }
  std::vector<Result> double_results() const {
    return {{"dq2", &dq2}, {"dk2", &dk2}, {"dv2", &dv2}, {"ddout", &ddout}};
  }

  const AttentionCase c;
  Operand q, k, v, dout, ddq, ddk, ddv;
  Operand out, tangent_out, dq, dk, dv, dq2, dk2, dv2, ddout;
  Buffer lse, mask;
  Array<std::uint8_t> padding;  // (B, Nk, 2), of which the first of each pair is used
  PhiloxKey key{0x1234567890abcdefull, 3};

 private:
  static Vec rounded(DType dtype, const Vec& values) { return Buffer(dtype, values).values(); }

  Vec mask_values() const {
    if (c.mask == MaskKind::none) return {};
    const std::int64_t n = c.mask == MaskKind::full      ? c.batch * c.heads * c.queries * c.keys
                           : c.mask == MaskKind::per_key ? c.batch * c.keys
                                                         : c.heads * c.queries * c.keys;
    Vec out_values = random_vec(n, 8, -3, 1);
    for (std::size_t i = 0; i < out_values.size(); i += 5)
      out_values[i] = -std::numeric_limits<double>::infinity();
    return out_values;
  }

  std::vector<std::uint8_t> padding_values() const {
    std::vector<std::uint8_t> valid(static_cast<std::size_t>(2 * c.batch * c.keys), 0);
    for (std::int64_t b = 0; b < c.batch; ++b)
      for (std::int64_t j = 0; j < c.keys; ++j) {
        const bool keep = c.padding == PaddingKind::ragged ? j % 7 != 3 && j < c.keys - b : b > 0;
        valid[static_cast<std::size_t>(2 * (b * c.keys + j))] = keep ? 255 : 0;
      }
    return valid;
  }

  DType dtype_ = DType::f32;
};

}  // namespace mettle::test
