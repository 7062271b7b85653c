// Argument checks and the cut into tasks.
#include "kernels/cpu/attention_plan.h"

#include "engine/check.h"

namespace mettle::kernels::cpu::attention {
namespace {

void check_problem(const AttentionProblem& p, const char* operation) {
  METTLE_CHECK(DTypeError, is_floating(p.dtype),
               "{}: takes f64, f32, bf16 or f16, got {}; convert with cast()", operation,
               to_string(p.dtype));
  METTLE_CHECK(ShapeError,
               p.batch >= 0 && p.heads >= 0 && p.queries >= 0 && p.keys >= 0 && p.head_dim >= 0 &&
                   p.value_dim >= 0,
               "{}: negative size in B {}, H {}, Nq {}, Nk {}, D {}, Dv {}", operation, p.batch,
               p.heads, p.queries, p.keys, p.head_dim, p.value_dim);
  METTLE_CHECK(ValueError, p.dropout >= 0.0 && p.dropout < 1.0,
               "{}: dropout probability {} is outside [0, 1)", operation, p.dropout);
}

void check_input(const void* data, std::int64_t elements, const char* operation, const char* name) {
  METTLE_CHECK(ValueError, data || elements == 0, "{}: {} is null; it must be given", operation,
               name);
}

// q, k, v, and the extent of everything else that is read.
template <class Args> void check_operands(const Args& args, const char* operation) {
  const AttentionProblem& p = args.problem;
  check_problem(p, operation);
  const std::int64_t heads = p.batch * p.heads;
  check_input(args.q.data, heads * p.queries * p.head_dim, operation, "q");
  check_input(args.k.data, heads * p.keys * p.head_dim, operation, "k");
  check_input(args.v.data, heads * p.keys * p.value_dim, operation, "v");
}

// And what the forward call has left.
template <class Args> void check_saved(const Args& args, const char* operation) {
  const AttentionProblem& p = args.problem;
  check_operands(args, operation);
  check_input(args.lse, p.batch * p.heads * p.queries, operation, "lse");
}

// And the cotangent of its output.
template <class Args> void check_cotangent(const Args& args, const char* operation) {
  const AttentionProblem& p = args.problem;
  check_saved(args, operation);
  check_input(args.dout.data, p.batch * p.heads * p.queries * p.value_dim, operation, "dout");
}

}  // namespace

void check_call(const AttentionForwardArgs& args, const char* operation) {
  check_operands(args, operation);
}
void check_call(const AttentionJvpArgs& args, const char* operation) {
  check_saved(args, operation);
}
void check_call(const AttentionBackwardArgs& args, const char* operation) {
  check_cotangent(args, operation);
}
void check_call(const AttentionDoubleBackwardArgs& args, const char* operation) {
  check_cotangent(args, operation);
}

Plan::Plan(const AttentionProblem& p, int units)
    : heads_(p.batch * p.heads), heads_per_batch_(p.heads), queries_(p.queries) {
  const std::int64_t wanted = heads_ ? (few + heads_ - 1) / heads_ : 1;
  stretches_ = std::clamp<std::int64_t>(queries_ / min_rows, 1, wanted);
  rows_ = (queries_ + stretches_ - 1) / stretches_;
  const std::int64_t width = std::max<std::int64_t>(p.head_dim + p.value_dim, 1);
  const std::int64_t flop = std::max<std::int64_t>(units * rows_ * p.keys * width, 1);
  chunk_ = std::max<std::int64_t>(flop_per_chunk / flop, 1);
}

Stretch Plan::operator[](std::int64_t task) const {
  const std::int64_t head = task / stretches_, first = task % stretches_ * rows_;
  return {head / heads_per_batch_, head % heads_per_batch_, std::min(first, queries_),
          std::min(first + rows_, queries_)};
}

}  // namespace mettle::kernels::cpu::attention
