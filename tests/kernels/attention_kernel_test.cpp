// Attention kernels: every variant against the naive f64 oracle, tangents, first and second
// derivatives against numeric ones, exact identities of the formulas, equal bits, dropout bits, bad
// arguments.
#include <limits>
#include <memory>
#include <span>

#include "tests/kernels/attention_problem.h"
#include "tests/thread_counts.h"

namespace mettle::test {
namespace {

using namespace kernels;

constexpr auto full = MaskKind::full, per_key = MaskKind::per_key, per_head = MaskKind::per_head,
               no_mask = MaskKind::none;
constexpr auto no_padding = PaddingKind::none, ragged = PaddingKind::ragged,
               invalid = PaddingKind::first_batch_invalid;

// For every device.
const AttentionCase small_cases[] = {
    {1, 1, 1, 1, 1, 1},
    {1, 2, 33, 70, 13, 21},
    {1, 1, 65, 17, 64, 64, false, no_mask, no_padding, 0, 3},
    {2, 1, 40, 90, 16, 8, true},   // more keys than queries
    {1, 1, 90, 40, 16, 24, true},  // first rows see no key
    {2, 1, 37, 41, 8, 8, true, per_key, ragged, 0, 3},
    {1, 2, 20, 20, 16, 16, false, per_head, ragged},
    {2, 1, 30, 29, 8, 16, true, full, invalid, 0.2},  // rows with no valid key
    {1, 1, 12, 50, 8, 8, false, no_mask, no_padding, 0.5},
    {0, 2, 4, 4, 8, 8},
    {1, 2, 0, 4, 8, 8},
    {1, 2, 4, 0, 8, 8},
    {1, 2, 4, 5, 0, 8},
    {1, 2, 4, 5, 8, 0},
};
// What an emulated device is too slow for; several heads, long rows, tiles of every kind.
const AttentionCase cpu_cases[] = {
    {2, 3, 7, 7, 8, 8},
    {1, 2, 65, 17, 64, 64, false, no_mask, no_padding, 0, 3},
    {1, 2, 100, 100, 64, 64, true},
    {2, 2, 50, 67, 20, 20, false, full},
    {2, 2, 37, 41, 8, 8, true, per_key, ragged, 0, 3},
    {2, 3, 20, 20, 16, 16, false, per_head, ragged},
    {3, 2, 20, 19, 16, 16, false, no_mask, invalid},
    {2, 2, 30, 29, 8, 16, true, full, invalid, 0.2},
    {2, 1, 9, 9, 8, 8, false, full, ragged, 0.1, 3},
    {1, 1, 700, 130, 32, 32, false, no_mask, no_padding, 0.1},  // one head, cut into stretches
    {1, 1, 300, 300, 8, 72, true, no_mask, ragged},
    {1, 1, 70, 1100, 8, 8},  // lower strips
    {1, 2, 5, 6, 130, 140},  // several panels
    {160, 4, 6, 6, 8, 8},    // many short heads
    {37, 1, 1, 3, 1, 2},
    {20, 2, 20, 17, 10, 12, true, full, ragged, 0.3, 3},
    {33, 2, 12, 12, 16, 16, false, per_head, invalid, 0.1},
    {19, 3, 9, 5, 8, 4, true, per_key},
    {40, 2, 4, 0, 8, 8},
};
// Wider classes of head dims of the CUDA kernels.
const AttentionCase cuda_cases[] = {
    {1, 1, 9, 12, 72, 100, true, no_mask, ragged},
    {1, 1, 5, 17, 130, 8, false, no_mask, no_padding, 0.2},
};

bool on_cpu() { return device_under_test() == Device::cpu(); }

// On a device all dtypes but f64 share their kernels up to loads and stores: few rows will do, and
// emulated tiles of f32 are slow.
std::vector<AttentionCase> cases(DType dtype) {
  std::vector<AttentionCase> rows(std::begin(small_cases), std::end(small_cases));
  const auto more = on_cpu() ? std::span<const AttentionCase>(cpu_cases)
                             : std::span<const AttentionCase>(cuda_cases);
  rows.insert(rows.end(), more.begin(), more.end());
  if (on_cpu() || dtype == DType::f64) return rows;
  if (dtype == DType::f32)
    return {{1, 1, 20, 70, 13, 21, true, full, ragged, 0.1, 3}, {1, 1, 70, 9, 8, 8}, rows.back()};
  return {{1, 1, 9, 12, 8, 16, true, full, ragged, 0.1, 3}};
}
// Batches of which the CPU gives a thread several; on a device they would only take longer.
std::int64_t many(std::int64_t batches) { return on_cpu() ? batches : 2; }

// The variants of the device under test. Those of 16 bits alone have tests of their own.
std::vector<std::string> all_variants() {
  const DeviceType device = device_under_test().type;
  std::vector<std::string> names;
  for (const VariantInfo& v : attention_double_backward.variants())
    if (v.device == device && v.name.rfind("mma", 0) != 0) names.push_back(v.name);
  return names;
}
std::vector<std::string> fast_variants() {
  auto names = all_variants();
  std::erase(names, "naive");
  return names;
}

// Infinities compare as numbers: ASSERT_NEAR takes them for different.
Buffer finite(const Buffer& b) {
  Vec values = b.values();
  for (double& x : values)
    if (x == -std::numeric_limits<double>::infinity()) x = -1e6;
  return Buffer(b.dtype(), values);
}

TEST(Attention, AgreesWithTheOracle) {
  for (const std::string& variant : fast_variants())
    for (DType dtype : float_dtypes)
      for (const AttentionCase& c : cases(dtype)) {
        SCOPED_TRACE(variant + " " + describe(c));
        AttentionRun got(c, dtype);
        const AttentionRun want = got.oracle();
        got.run(variant.c_str());
        const auto length = static_cast<double>(std::max({c.queries, c.keys, c.head_dim}));
        const double operations = 24 * std::sqrt(length + 1);
        const auto g = got.results(), w = want.results();
        for (std::size_t i = 0; i < g.size(); ++i) {
          expect_close(g[i].name, g[i].operand->values(), w[i].operand->values(), operations);
          EXPECT_TRUE(g[i].operand->gaps_intact()) << g[i].name;
        }
        expect_close("lse", finite(got.lse), finite(want.lse), operations);
      }
}

TEST(Attention, NaiveRoundsOnceInEveryDtype) {
  const OnCpu cpu;
  for (DType dtype : float_dtypes) {
    AttentionRun got({2, 2, 9, 11, 8, 8, true, full, ragged, 0.2, 3}, dtype);
    const AttentionRun want = got.oracle();
    got.run("naive");
    for (std::size_t i = 0; i < got.results().size(); ++i)
      expect_close(got.results()[i].name, got.results()[i].operand->values(),
                   want.results()[i].operand->values(), 100);
  }
}

const AttentionCase derivative_cases[] = {
    {1, 2, 5, 7, 4, 3},
    {1, 1, 6, 9, 3, 5, true},
    {2, 1, 6, 4, 3, 3, true, full, ragged},
    {2, 2, 5, 6, 4, 4, false, per_key, invalid, 0.3},
    {1, 2, 4, 9, 3, 2, false, per_head, no_padding, 0.2, 3},
    {18, 1, 3, 4, 2, 3, true, per_key, ragged, 0.2},
};

// The rows whose derivatives are made numerically, which runs the kernels some seventy times.
std::vector<AttentionCase> derivative_rows() {
  std::vector<AttentionCase> rows(std::begin(derivative_cases), std::end(derivative_cases));
  if (!on_cpu()) rows.resize(3);
  return rows;
}

TEST(Attention, BackwardIsTheDerivativeOfForward) {
  for (const std::string& variant : all_variants())
    for (const AttentionCase& c : derivative_rows()) {
      AttentionRun r(c, DType::f64);
      r.run(variant.c_str());
      const auto forward = [&](const std::vector<Vec>& x) -> std::vector<Vec> {
        AttentionRun moved(r);
        moved.q.fill(x[0]);
        moved.k.fill(x[1]);
        moved.v.fill(x[2]);
        const Selected selected({&attention_forward}, variant.c_str());
        attention_forward(stream_under_test(), moved.forward_args());
        return {moved.out.values().values()};
      };
      const auto get = [](const Operand& o) { return o.values().values(); };
      check_gradient(variant + " " + describe(c), forward, {get(r.q), get(r.k), get(r.v)},
                     {get(r.dout)}, {get(r.dq), get(r.dk), get(r.dv)});
    }
}

TEST(Attention, DoubleBackwardIsTheDerivativeOfBackward) {
  for (const std::string& variant : all_variants())
    for (const AttentionCase& c : derivative_rows()) {
      AttentionRun r(c, DType::f64);
      r.run(variant.c_str());
      // lse is a function of q and k: the forward runs again for every displaced input.
      const auto backward = [&](const std::vector<Vec>& x) -> std::vector<Vec> {
        AttentionRun moved(r);
        moved.q.fill(x[0]);
        moved.k.fill(x[1]);
        moved.v.fill(x[2]);
        moved.dout.fill(x[3]);
        const Selected selected({&attention_forward, &attention_backward}, variant.c_str());
        attention_forward(stream_under_test(), moved.forward_args());
        attention_backward(stream_under_test(), moved.backward_args());
        return {moved.dq.values().values(), moved.dk.values().values(), moved.dv.values().values()};
      };
      const auto get = [](const Operand& o) { return o.values().values(); };
      check_gradient(
          variant + " " + describe(c), backward, {get(r.q), get(r.k), get(r.v), get(r.dout)},
          {get(r.ddq), get(r.ddk), get(r.ddv)}, {get(r.dq2), get(r.dk2), get(r.dv2), get(r.ddout)});
    }
}

// f64, so that the two agree to rounding whatever order they sum in.
TEST(Attention, TheTangentIsTheDerivativeOfForwardAndTheDoubleBackwardsDdout) {
  for (const std::string& variant : all_variants())
    for (const AttentionCase& c : derivative_rows()) {
      SCOPED_TRACE(variant + " " + describe(c));
      AttentionRun r(c, DType::f64);
      r.run(variant.c_str());
      const Vec tangent = r.tangent_out.values().values(), ddout = r.ddout.values().values();
      const auto out_at = [&](double step) {
        AttentionRun moved(r);
        const auto move = [&](Operand& x, const Operand& along) {
          Vec values = x.values().values();
          const Vec direction = along.values().values();
          for (std::size_t i = 0; i < values.size(); ++i) values[i] += step * direction[i];
          x.fill(values);
        };
        move(moved.q, r.ddq);
        move(moved.k, r.ddk);
        move(moved.v, r.ddv);
        const Selected selected({&attention_forward}, variant.c_str());
        attention_forward(stream_under_test(), moved.forward_args());
        return moved.out.values().values();
      };
      const double h = 1e-3;
      const Vec after = out_at(h), before = out_at(-h), far_after = out_at(2 * h),
                far_before = out_at(-2 * h);
      for (std::size_t i = 0; i < tangent.size(); ++i) {
        const double numeric =
            (8 * (after[i] - before[i]) - (far_after[i] - far_before[i])) / (12 * h);
        ASSERT_NEAR(tangent[i], numeric, 1e-7 * (1 + std::abs(numeric))) << i;
        ASSERT_NEAR(tangent[i], ddout[i], 1e-13) << i;
      }
    }
}

TEST(Attention, NullTangentsAreZeros) {
  const AttentionCase c{2, 1, 20, 17, 8, 12, true, per_key, ragged, 0.1};
  for (const std::string& variant : all_variants()) {
    AttentionRun r(c, DType::f64);
    r.run(variant.c_str());
    const Selected selected({&attention_jvp}, variant.c_str());
    Vec sum(static_cast<std::size_t>(c.o_size()), 0.0);
    using Tangent = AttentionIn AttentionJvpArgs::*;
    for (Tangent given : {&AttentionJvpArgs::tangent_q, &AttentionJvpArgs::tangent_k,
                          &AttentionJvpArgs::tangent_v}) {
      AttentionRun alone(r);
      auto args = alone.jvp_args();
      const AttentionIn kept = args.*given;
      args.tangent_q = args.tangent_k = args.tangent_v = {};
      args.*given = kept;
      attention_jvp(stream_under_test(), args);
      const Vec part = alone.tangent_out.values().values();
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += part[i];
    }
    const Vec whole = r.tangent_out.values().values();
    for (std::size_t i = 0; i < sum.size(); ++i) ASSERT_NEAR(sum[i], whole[i], 1e-13) << variant;
    auto args = r.jvp_args();
    args.tangent_q = args.tangent_k = args.tangent_v = {};
    attention_jvp(stream_under_test(), args);
    for (double x : r.tangent_out.values().values()) ASSERT_EQ(x, 0) << variant;
  }
}

// On a device one row has everything.
std::vector<AttentionCase> repeated_cases(DType dtype) {
  if (on_cpu()) return cases(dtype);
  return {{1, 2, 20, 37, 8, 16, true, full, ragged, 0.1, 3}};
}

TEST(Attention, SameBitsOnRepeatAndForAnyNumberOfThreads) {
  for (DType dtype : {DType::f64, DType::f32})
    for (const AttentionCase& c : repeated_cases(dtype)) {
      SCOPED_TRACE(describe(c));
      std::unique_ptr<AttentionRun> first;
      for (const int count : kThreadCounts) {
        if (!on_cpu() && count > 1) break;  // two runs with one thread
        const Threads threads(count);
        auto run = std::make_unique<AttentionRun>(c, dtype);
        run->run();
        if (!first) {
          first = std::move(run);
          continue;
        }
        for (std::size_t i = 0; i < run->results().size(); ++i)
          EXPECT_TRUE(run->results()[i].operand->values() == first->results()[i].operand->values())
              << run->results()[i].name << " with " << count << " threads";
        EXPECT_TRUE(run->lse == first->lse) << count << " threads";
      }
    }
}

TEST(Attention, PackedQkvNeedsNoCopies) {
  const std::int64_t batch = 2, heads = 3, n = 25, d = 8, token = 3 * heads * d;
  const AttentionCase c{batch, heads, n, n, d, d};
  for (const std::string& variant : all_variants()) {
    AttentionRun want(c, DType::f32);
    Vec qkv(static_cast<std::size_t>(batch * n * token));
    const Operand* parts[] = {&want.q, &want.k, &want.v};
    for (std::int64_t part = 0; part < 3; ++part) {
      const Vec values = parts[part]->values().values();
      for (std::int64_t i = 0; i < c.q_size(); ++i) {
        const std::int64_t col = i % d, row = i / d % n, head = i / (d * n) % heads,
                           b = i / (d * n * heads);
        qkv[static_cast<std::size_t>((b * n + row) * token + (part * heads + head) * d + col)] =
            values[static_cast<std::size_t>(i)];
      }
    }
    want.run(variant.c_str());
    AttentionRun got(c, DType::f32);
    Buffer packed(DType::f32, qkv), gradient(DType::f32, batch * n * token);
    auto forward = got.forward_args();
    auto backward = got.backward_args();
    const auto part = [&](Buffer& buffer, std::int64_t which) {
      return AttentionOut{static_cast<float*>(buffer.data()) + which * heads * d, n * token, d,
                          token};
    };
    const auto in = [](AttentionOut o) { return AttentionIn{o.data, o.batch, o.head, o.row}; };
    forward.q = backward.q = in(part(packed, 0));
    forward.k = backward.k = in(part(packed, 1));
    forward.v = backward.v = in(part(packed, 2));
    backward.dq = part(gradient, 0);
    backward.dk = part(gradient, 1);
    backward.dv = part(gradient, 2);
    const Selected selected({&attention_forward, &attention_backward}, variant.c_str());
    attention_forward(stream_under_test(), forward);
    attention_backward(stream_under_test(), backward);
    EXPECT_TRUE(got.out.values() == want.out.values()) << variant;
    const Operand* gradients[] = {&want.dq, &want.dk, &want.dv};
    const Vec stored = gradient.values();
    for (std::int64_t p = 0; p < 3; ++p) {
      const Vec values = gradients[p]->values().values();
      for (std::int64_t i = 0; i < c.q_size(); ++i) {
        const std::int64_t col = i % d, row = i / d % n, head = i / (d * n) % heads,
                           b = i / (d * n * heads);
        ASSERT_EQ(
            stored[static_cast<std::size_t>((b * n + row) * token + (p * heads + head) * d + col)],
            values[static_cast<std::size_t>(i)])
            << variant;
      }
    }
  }
}

TEST(Attention, DropoutFollowsTheSharedRule) {
  // Equal scores and v = identity: out(i, j) shows the multiplier of element (i, j) itself.
  for (const std::string& variant : all_variants())
    for (const std::int64_t batch : {std::int64_t{2}, many(40)}) {
      const std::int64_t heads = 2, rows = 7, n = 21;
      AttentionRun r({batch, heads, rows, n, 1, n, false, no_mask, no_padding, 0.3}, DType::f64);
      r.q.fill(Vec(static_cast<std::size_t>(r.c.q_size()), 0.0));
      Vec identity(static_cast<std::size_t>(r.c.v_size()));
      for (std::size_t i = 0; i < identity.size(); ++i) identity[i] = i % n == i / n % n ? 1 : 0;
      r.v.fill(identity).values();
      r.run(variant.c_str());
      const Vec out = r.out.values().values();
      const PhiloxKey key = r.problem().key;
      for (std::size_t i = 0; i < out.size(); ++i)
        ASSERT_NEAR(out[i], dropout_keeps(key.bits(i), drop_threshold(0.3)) ? 1 / (n * 0.7) : 0,
                    1e-15)
            << variant << " " << i;
    }
}

TEST(Attention, AStoredKeyDropsTheSame) {
  for (const std::string& variant : all_variants())
    for (const DType dtype : {DType::f64, DType::f32}) {
      AttentionRun want({2, 2, 9, 13, 8, 8, true, no_mask, no_padding, 0.3}, dtype), got(want);
      const Array<std::uint64_t> stored({want.key.seed, want.key.offset});
      got.key = {1, 2, stored.data()};
      want.run(variant.c_str());
      got.run(variant.c_str());
      for (std::size_t i = 0; i < got.results().size(); ++i)
        EXPECT_TRUE(got.results()[i].operand->values() == want.results()[i].operand->values())
            << variant << " " << got.results()[i].name;
    }
}

TEST(Attention, NullOutputsAreSkippedAndOthersKeepTheirBits) {
  const AttentionCase c{many(20), 2, 9, 11, 8, 8, false, no_mask, no_padding, 0.1};
  for (const std::string& variant : all_variants()) {
    AttentionRun want(c, DType::f32);
    want.run(variant.c_str());
    const Selected selected({&attention_forward, &attention_backward, &attention_double_backward},
                            variant.c_str());
    using Backward = AttentionOut AttentionBackwardArgs::*;
    for (Backward wanted :
         {&AttentionBackwardArgs::dq, &AttentionBackwardArgs::dk, &AttentionBackwardArgs::dv}) {
      AttentionRun got(want);
      auto args = got.backward_args();
      const AttentionOut kept = args.*wanted;
      args.dq = args.dk = args.dv = {};
      args.*wanted = kept;
      attention_backward(stream_under_test(), args);
      EXPECT_TRUE(got.dq.values() == want.dq.values() && got.dk.values() == want.dk.values() &&
                  got.dv.values() == want.dv.values());
    }
    using Double = AttentionOut AttentionDoubleBackwardArgs::*;
    using DoubleArgs = AttentionDoubleBackwardArgs;
    for (Double wanted :
         {&DoubleArgs::dq2, &DoubleArgs::dk2, &DoubleArgs::dv2, &DoubleArgs::ddout}) {
      AttentionRun got(c, DType::f32);
      got.lse = want.lse;
      auto args = got.double_backward_args();
      const AttentionOut kept = args.*wanted;
      args.dq2 = args.dk2 = args.dv2 = args.ddout = {};
      args.*wanted = kept;
      attention_double_backward(stream_under_test(), args);
      const int equal =
          (got.dq2.values() == want.dq2.values()) + (got.dk2.values() == want.dk2.values()) +
          (got.dv2.values() == want.dv2.values()) + (got.ddout.values() == want.ddout.values());
      EXPECT_EQ(equal, 1) << variant;
    }
    AttentionRun got(want);
    auto args = got.forward_args();
    args.lse = nullptr;
    attention_forward(stream_under_test(), args);
    EXPECT_TRUE(got.out.values() == want.out.values());
  }
}

// The double backward with some cotangents left out (null).
AttentionRun double_backward_with(AttentionRun r, const std::string& variant, bool x, bool y,
                                  bool w) {
  auto args = r.double_backward_args();
  if (!x) args.ddq = {};
  if (!y) args.ddk = {};
  if (!w) args.ddv = {};
  const Selected selected({&attention_double_backward}, variant.c_str());
  attention_double_backward(stream_under_test(), args);
  return r;
}

TEST(Attention, DoubleBackwardIsLinearAndNullCotangentsAreZeros) {
  const AttentionCase sizes[] = {{2, 2, 40, 33, 8, 12, true, per_key, ragged, 0.1},
                                 {many(20), 1, 9, 8, 8, 6, false, no_mask, ragged, 0.1}};
  for (const std::string& variant : all_variants())
    for (const AttentionCase& c : sizes) {
      AttentionRun r(c, DType::f64);
      r.run(variant.c_str());
      const AttentionRun parts[] = {double_backward_with(r, variant, true, false, false),
                                    double_backward_with(r, variant, false, true, false),
                                    double_backward_with(r, variant, false, false, true)};
      const AttentionRun none = double_backward_with(r, variant, false, false, false);
      for (std::size_t i = 0; i < r.double_results().size(); ++i) {
        const auto get = [&](const AttentionRun& run) {
          return run.double_results()[i].operand->values().values();
        };
        const Vec whole = get(r), zero = get(none);
        const Vec summands[] = {get(parts[0]), get(parts[1]), get(parts[2])};
        for (std::size_t e = 0; e < whole.size(); ++e) {
          const double sum = summands[0][e] + summands[1][e] + summands[2][e];
          ASSERT_NEAR(whole[e], sum, 1e-13) << variant << " " << r.double_results()[i].name;
          ASSERT_EQ(zero[e], 0) << variant;
        }
      }
      for (double x : parts[2].dv2.values().values()) ASSERT_EQ(x, 0) << variant;
    }
}

// Adding a row constant to S changes nothing, so rows of E and F sum to 0: dk and dk2 sum to 0 over
// the keys of a head whatever q is, and a common offset of k leaves dq and dq2 as they are.
TEST(Attention, RowsOfTheScoreGradientsSumToZero) {
  const AttentionCase c{2, 2, 60, 50, 8, 8, false, no_mask, no_padding, 0.2};
  for (const std::string& variant : all_variants()) {
    AttentionRun r(c, DType::f64);
    r.run(variant.c_str());
    for (const Operand* gradient : {&r.dk, &r.dk2}) {
      const Vec values = gradient->values().values();
      for (std::int64_t head = 0; head < 4; ++head)
        for (std::int64_t col = 0; col < c.head_dim; ++col) {
          double sum = 0;
          for (std::int64_t j = 0; j < c.keys; ++j)
            sum += values[static_cast<std::size_t>((head * c.keys + j) * c.head_dim + col)];
          EXPECT_NEAR(sum, 0, 1e-13) << variant;
        }
    }
    AttentionRun moved(r);
    Vec k = r.k.values().values(), y = r.ddk.values().values();
    for (std::size_t i = 0; i < k.size(); ++i) {
      k[i] += 0.5 + static_cast<double>(i % 8);
      y[i] -= 0.25 * static_cast<double>(i % 8);
    }
    moved.k.fill(k);
    moved.ddk.fill(y);
    moved.run(variant.c_str());
    for (const auto& [before, after] : {std::pair{&r.dq, &moved.dq}, std::pair{&r.dq2, &moved.dq2},
                                        std::pair{&r.ddout, &moved.ddout}}) {
      const Vec a = before->values().values(), b = after->values().values();
      for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-12) << variant;
    }
  }
}

TEST(Attention, RowsWithoutValidKeysGiveZeros) {
  const AttentionCase sizes[] = {{2, 2, 40, 33, 8, 12, false, no_mask, invalid},
                                 {many(20), 2, 5, 6, 8, 4, false, no_mask, invalid}};
  for (const std::string& variant : all_variants())
    for (const AttentionCase& c : sizes) {
      AttentionRun r(c, DType::f32);
      r.run(variant.c_str());
      for (const auto& result : r.results()) {
        const Vec values = result.operand->values().values();
        const std::size_t per_batch = values.size() / static_cast<std::size_t>(c.batch);
        for (std::size_t i = 0; i < per_batch; ++i) ASSERT_EQ(values[i], 0) << result.name;
      }
      const Vec lse = r.lse.values();
      for (std::int64_t i = 0; i < c.heads * c.queries; ++i)
        ASSERT_EQ(lse[static_cast<std::size_t>(i)], -std::numeric_limits<double>::infinity());
    }
}

TEST(Attention, NanInAQueryReachesItsOutput) {
  for (const std::string& variant : all_variants())
    for (const std::int64_t batch : {std::int64_t{1}, many(40)}) {
      AttentionRun r({batch, 1, 3, 4, 2, 2}, DType::f32);
      Vec q = r.q.values().values();
      q[2] = std::numeric_limits<double>::quiet_NaN();  // second row of the first head
      r.q.fill(q);
      r.run(variant.c_str());
      const Vec out = r.out.values().values();
      EXPECT_TRUE(std::isnan(out[2]) && std::isnan(out[3])) << variant;
      EXPECT_FALSE(std::isnan(out[0]) || std::isnan(out[4])) << variant;
    }
}

TEST(Attention, LargeScoresNeitherOverflowNorLoseTheLargest) {
  for (const std::string& variant : all_variants())
    for (const std::int64_t batch : {std::int64_t{1}, many(40)}) {
      AttentionRun r({batch, 1, 2, 3, 1, 1}, DType::f32);
      r.q.fill(Vec(static_cast<std::size_t>(r.c.q_size()), 1000.0));
      Vec k(static_cast<std::size_t>(r.c.k_size())), v(k.size());
      for (std::size_t i = 0; i < k.size(); ++i) {
        k[i] = i % 3 == 1 ? 1000.0 : -1000.0;
        v[i] = static_cast<double>(i % 3);
      }
      r.k.fill(k);
      r.v.fill(v);
      r.run(variant.c_str());
      for (double x : r.out.values().values()) EXPECT_EQ(x, 1) << variant;
      for (double x : r.lse.values()) EXPECT_NEAR(x, 1e6, 1) << variant;
      for (double x : r.dq.values().values()) EXPECT_EQ(x, 0) << variant;
    }
}

TEST(Attention, BadArgumentsThrowBeforeAnyWork) {
  AttentionRun r({1, 1, 3, 3, 4, 4}, DType::f32);
  r.run();
  for (const std::string& variant : all_variants()) {
    const Selected selected(
        {&attention_forward, &attention_jvp, &attention_backward, &attention_double_backward},
        variant.c_str());
    const auto forward = [&](auto change) {
      auto args = r.forward_args();
      change(args);
      attention_forward(stream_under_test(), args);
    };
    EXPECT_THROW(forward([](auto& a) { a.problem.dtype = DType::i32; }), DTypeError);
    EXPECT_THROW(forward([](auto& a) { a.problem.keys = -1; }), ShapeError);
    EXPECT_THROW(forward([](auto& a) { a.problem.dropout = 1; }), ValueError);
    EXPECT_THROW(forward([](auto& a) { a.q = {}; }), ValueError);
    EXPECT_THROW(forward([](auto& a) { a.v = {}; }), ValueError);
    auto jvp = r.jvp_args();
    jvp.lse = nullptr;
    EXPECT_THROW(attention_jvp(stream_under_test(), jvp), ValueError);
    auto backward = r.backward_args();
    backward.lse = nullptr;
    EXPECT_THROW(attention_backward(stream_under_test(), backward), ValueError);
    auto twice = r.double_backward_args();
    twice.dout = {};
    EXPECT_THROW(attention_double_backward(stream_under_test(), twice), ValueError);
  }
}

}  // namespace
}  // namespace mettle::test
