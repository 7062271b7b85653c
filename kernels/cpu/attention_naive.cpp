// The attention formulas as they stand in kernels/attention.h, in plain loops over whole (Nq, Nk)
// matrices: the oracle of the fast variants. Every sum is made in the accumulate type.
#include <cmath>
#include <limits>
#include <vector>

#include "engine/parallel.h"
#include "kernels/cpu/attention_plan.h"
#include "kernels/cpu/attention_variants.h"

namespace mettle::kernels::cpu::attention {
namespace {

// A row-major matrix of the accumulate type.
template <class A> struct Matrix {
  Matrix(std::int64_t row_count, std::int64_t col_count)
      : rows(row_count), cols(col_count), data(static_cast<std::size_t>(rows * cols), A(0)) {}
  A& operator()(std::int64_t i, std::int64_t j) {
    return data[static_cast<std::size_t>(i * cols + j)];
  }
  A operator()(std::int64_t i, std::int64_t j) const {
    return data[static_cast<std::size_t>(i * cols + j)];
  }
  std::int64_t rows, cols;
  std::vector<A> data;
};

template <class T> using Acc = accumulate_t<T>;

// A null operand reads as zeros.
template <class T>
Matrix<Acc<T>> load(AttentionIn x, std::int64_t b, std::int64_t h, std::int64_t rows,
                    std::int64_t cols) {
  Matrix<Acc<T>> out(rows, cols);
  if (!x.data) return out;
  const T* base = static_cast<const T*>(x.data) + b * x.batch + h * x.head;
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < cols; ++j) out(i, j) = static_cast<Acc<T>>(base[i * x.row + j]);
  return out;
}

template <class T>
void store(const Matrix<Acc<T>>& m, AttentionOut x, std::int64_t b, std::int64_t h) {
  if (!x.data) return;
  T* base = static_cast<T*>(x.data) + b * x.batch + h * x.head;
  for (std::int64_t i = 0; i < m.rows; ++i)
    for (std::int64_t j = 0; j < m.cols; ++j) base[i * x.row + j] = T(m(i, j));
}

// out += factor * a b, a b^T or a^T b.
template <class A>
void add_product(Matrix<A>& out, A factor, const Matrix<A>& a, const Matrix<A>& b) {
  for (std::int64_t i = 0; i < out.rows; ++i)
    for (std::int64_t j = 0; j < out.cols; ++j) {
      A sum = 0;
      for (std::int64_t k = 0; k < a.cols; ++k) sum += a(i, k) * b(k, j);
      out(i, j) += factor * sum;
    }
}
template <class A> Matrix<A> transposed(const Matrix<A>& m) {
  Matrix<A> out(m.cols, m.rows);
  for (std::int64_t i = 0; i < m.rows; ++i)
    for (std::int64_t j = 0; j < m.cols; ++j) out(j, i) = m(i, j);
  return out;
}

template <class A> Matrix<A> hadamard(const Matrix<A>& a, const Matrix<A>& b) {
  Matrix<A> out = a;
  for (std::size_t i = 0; i < out.data.size(); ++i) out.data[i] *= b.data[i];
  return out;
}

// a with a row constant taken off.
template <class A> Matrix<A> minus_rows(Matrix<A> a, const std::vector<A>& row) {
  for (std::int64_t i = 0; i < a.rows; ++i)
    for (std::int64_t j = 0; j < a.cols; ++j) a(i, j) -= row[static_cast<std::size_t>(i)];
  return a;
}

template <class A> std::vector<A> row_sums(const Matrix<A>& a) {
  std::vector<A> out(static_cast<std::size_t>(a.rows), A(0));
  for (std::int64_t i = 0; i < a.rows; ++i)
    for (std::int64_t j = 0; j < a.cols; ++j) out[static_cast<std::size_t>(i)] += a(i, j);
  return out;
}

template <class T>
Acc<T> mask_value(const AttentionProblem& p, std::int64_t b, std::int64_t h, std::int64_t i,
                  std::int64_t j) {
  constexpr Acc<T> excluded = -std::numeric_limits<Acc<T>>::infinity();
  if (p.causal && j > i + p.keys - p.queries) return excluded;
  if (p.padding.data && !p.padding.data[b * p.padding.batch + j * p.padding.key]) return excluded;
  if (!p.mask.data) return 0;
  const auto& m = p.mask;
  return static_cast<Acc<T>>(
      static_cast<const T*>(m.data)[b * m.batch + h * m.head + i * m.query + j * m.key]);
}

// P, Z and lse of one head.
template <class T> struct Probabilities {
  using A = Acc<T>;
  Probabilities(const AttentionProblem& problem, const Matrix<A>& q, const Matrix<A>& k,
                std::int64_t b, std::int64_t h)
      : p(q.rows, k.rows), z(q.rows, k.rows), lse(static_cast<std::size_t>(q.rows)) {
    add_product(p, static_cast<A>(problem.scale), q, transposed(k));
    for (std::int64_t i = 0; i < p.rows; ++i) softmax_row(problem, b, h, i);
  }
  Matrix<A> p, z;
  std::vector<A> lse;

 private:
  void softmax_row(const AttentionProblem& problem, std::int64_t b, std::int64_t h,
                   std::int64_t i) {
    constexpr A infinity = std::numeric_limits<A>::infinity();
    A top = -infinity, sum = 0;
    for (std::int64_t j = 0; j < p.cols; ++j) {
      p(i, j) += mask_value<T>(problem, b, h, i, j);
      if (p(i, j) > top || std::isnan(p(i, j))) top = p(i, j);
    }
    for (std::int64_t j = 0; j < p.cols; ++j) {
      p(i, j) = top == -infinity ? A(0) : std::exp(p(i, j) - top);
      sum += p(i, j);
    }
    lse[static_cast<std::size_t>(i)] = sum == A(0) ? -infinity : top + std::log(sum);
    const std::uint32_t threshold = drop_threshold(problem.dropout);
    const A kept = static_cast<A>(1.0 / (1.0 - problem.dropout));
    const auto first =
        static_cast<std::uint64_t>(((b * problem.heads + h) * problem.queries + i) * problem.keys);
    for (std::int64_t j = 0; j < p.cols; ++j) {
      if (sum != A(0)) p(i, j) /= sum;
      const std::uint32_t bits = problem.key.bits(first + static_cast<std::uint64_t>(j));
      z(i, j) = dropout_keeps(bits, threshold) ? kept : A(0);
    }
  }
};

// q, k, v, dout, P, Z, A = Z o (dout v^T) and D = rowsum(P o A) of one head.
template <class T> struct Recomputed {
  using A = Acc<T>;
  template <class Args>
  Recomputed(const Args& args, std::int64_t b, std::int64_t h)
      : problem(args.problem),
        q(load<T>(args.q, b, h, problem.queries, problem.head_dim)),
        k(load<T>(args.k, b, h, problem.keys, problem.head_dim)),
        v(load<T>(args.v, b, h, problem.keys, problem.value_dim)),
        g(load<T>(args.dout, b, h, problem.queries, problem.value_dim)),
        soft(problem, q, k, b, h),
        a(problem.queries, problem.keys) {
    add_product(a, A(1), g, transposed(v));
    a = hadamard(soft.z, a);
    centred_a = minus_rows(a, row_sums(hadamard(soft.p, a)));
  }
  const AttentionProblem& problem;
  Matrix<A> q, k, v, g;
  Probabilities<T> soft;
  Matrix<A> a, centred_a{0, 0};
};

template <class T>
void forward_head(const AttentionForwardArgs& args, std::int64_t b, std::int64_t h) {
  using A = Acc<T>;
  const AttentionProblem& p = args.problem;
  const auto q = load<T>(args.q, b, h, p.queries, p.head_dim);
  const auto k = load<T>(args.k, b, h, p.keys, p.head_dim);
  const auto v = load<T>(args.v, b, h, p.keys, p.value_dim);
  const Probabilities<T> soft(p, q, k, b, h);
  Matrix<A> out(p.queries, p.value_dim);
  add_product(out, A(1), hadamard(soft.z, soft.p), v);
  store<T>(out, args.out, b, h);
  if (args.lse)
    std::copy(soft.lse.begin(), soft.lse.end(),
              static_cast<A*>(args.lse) + (b * p.heads + h) * p.queries);
}

// U: tangent of S, centred by u = rowsum(P o U).
template <class T> void jvp_head(const AttentionJvpArgs& args, std::int64_t b, std::int64_t h) {
  using A = Acc<T>;
  const AttentionProblem& p = args.problem;
  const A tau = static_cast<A>(p.scale);
  const auto q = load<T>(args.q, b, h, p.queries, p.head_dim);
  const auto k = load<T>(args.k, b, h, p.keys, p.head_dim);
  const Probabilities<T> soft(p, q, k, b, h);
  Matrix<A> u(p.queries, p.keys), tangent_out(p.queries, p.value_dim);
  add_product(u, tau, load<T>(args.tangent_q, b, h, p.queries, p.head_dim), transposed(k));
  add_product(u, tau, q, transposed(load<T>(args.tangent_k, b, h, p.keys, p.head_dim)));
  u = minus_rows(u, row_sums(hadamard(soft.p, u)));
  const auto zp = hadamard(soft.z, soft.p);
  add_product(tangent_out, A(1), hadamard(zp, u), load<T>(args.v, b, h, p.keys, p.value_dim));
  add_product(tangent_out, A(1), zp, load<T>(args.tangent_v, b, h, p.keys, p.value_dim));
  store<T>(tangent_out, args.tangent_out, b, h);
}

template <class T>
void backward_head(const AttentionBackwardArgs& args, std::int64_t b, std::int64_t h) {
  using A = Acc<T>;
  const Recomputed<T> r(args, b, h);
  const auto e = hadamard(r.soft.p, r.centred_a);
  const A tau = static_cast<A>(r.problem.scale);
  Matrix<A> dq(r.q.rows, r.q.cols), dk(r.k.rows, r.k.cols), dv(r.v.rows, r.v.cols);
  add_product(dq, tau, e, r.k);
  add_product(dk, tau, transposed(e), r.q);
  add_product(dv, A(1), transposed(hadamard(r.soft.z, r.soft.p)), r.g);
  store<T>(dq, args.dq, b, h);
  store<T>(dk, args.dk, b, h);
  store<T>(dv, args.dv, b, h);
}

// Symbols: x, y, w = ddq, ddk, ddv; U = tangent of S, B = tangent of A, u = rowsum(P o U);
// E = dS = P o (A - D); F = tangent of E = P o [(U - u) o (A - D) + B - Dd], Dd = rowsum(dout o
// ddout).
template <class T>
void double_backward_head(const AttentionDoubleBackwardArgs& args, std::int64_t b, std::int64_t h) {
  using A = Acc<T>;
  const Recomputed<T> r(args, b, h);
  const A tau = static_cast<A>(r.problem.scale);
  const auto x = load<T>(args.ddq, b, h, r.q.rows, r.q.cols);
  const auto y = load<T>(args.ddk, b, h, r.k.rows, r.k.cols);
  const auto w = load<T>(args.ddv, b, h, r.v.rows, r.v.cols);
  Matrix<A> u(r.q.rows, r.k.rows), tangent_a(r.q.rows, r.k.rows);
  add_product(u, tau, x, transposed(r.k));
  add_product(u, tau, r.q, transposed(y));
  u = minus_rows(u, row_sums(hadamard(r.soft.p, u)));
  add_product(tangent_a, A(1), r.g, transposed(w));
  tangent_a = hadamard(r.soft.z, tangent_a);
  const auto zp = hadamard(r.soft.z, r.soft.p), zpu = hadamard(zp, u);

  Matrix<A> ddout(r.g.rows, r.g.cols);
  add_product(ddout, A(1), zpu, r.v);
  add_product(ddout, A(1), zp, w);
  const auto e = hadamard(r.soft.p, r.centred_a);
  auto f = minus_rows(tangent_a, row_sums(hadamard(r.g, ddout)));
  const auto product = hadamard(u, r.centred_a);
  for (std::size_t i = 0; i < f.data.size(); ++i) f.data[i] += product.data[i];
  f = hadamard(r.soft.p, f);

  Matrix<A> dq2(r.q.rows, r.q.cols), dk2(r.k.rows, r.k.cols), dv2(r.v.rows, r.v.cols);
  add_product(dq2, tau, f, r.k);
  add_product(dq2, tau, e, y);
  add_product(dk2, tau, transposed(f), r.q);
  add_product(dk2, tau, transposed(e), x);
  add_product(dv2, A(1), transposed(zpu), r.g);
  store<T>(ddout, args.ddout, b, h);
  store<T>(dq2, args.dq2, b, h);
  store<T>(dk2, args.dk2, b, h);
  store<T>(dv2, args.dv2, b, h);
}

template <class Body> void for_each_head(const AttentionProblem& p, Body&& body) {
  parallel_for(p.batch * p.heads, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t head = begin; head < end; ++head) body(head / p.heads, head % p.heads);
  });
}

}  // namespace

void forward_naive(const Stream&, const AttentionForwardArgs& args) {
  check_call(args, "attention_forward");
  dispatch_float(args.problem.dtype, [&]<class T>() {
    for_each_head(args.problem, [&](auto b, auto h) { forward_head<T>(args, b, h); });
  });
}

void jvp_naive(const Stream&, const AttentionJvpArgs& args) {
  check_call(args, "attention_jvp");
  dispatch_float(args.problem.dtype, [&]<class T>() {
    for_each_head(args.problem, [&](auto b, auto h) { jvp_head<T>(args, b, h); });
  });
}

void backward_naive(const Stream&, const AttentionBackwardArgs& args) {
  check_call(args, "attention_backward");
  dispatch_float(args.problem.dtype, [&]<class T>() {
    for_each_head(args.problem, [&](auto b, auto h) { backward_head<T>(args, b, h); });
  });
}

void double_backward_naive(const Stream&, const AttentionDoubleBackwardArgs& args) {
  check_call(args, "attention_double_backward");
  dispatch_float(args.problem.dtype, [&]<class T>() {
    for_each_head(args.problem, [&](auto b, auto h) { double_backward_head<T>(args, b, h); });
  });
}

}  // namespace mettle::kernels::cpu::attention
