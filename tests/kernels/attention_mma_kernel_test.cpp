// The attention kernels that multiply in 16 bits: every variant of the device under test whose name
// begins with "mma" against the naive f64 oracle, and what must hold exactly.
#include <limits>

#include "tests/kernels/attention_problem.h"

namespace mettle::test {
namespace {

using namespace kernels;

constexpr auto full = MaskKind::full, per_key = MaskKind::per_key, per_head = MaskKind::per_head,
               no_mask = MaskKind::none;
constexpr auto no_padding = PaddingKind::none, ragged = PaddingKind::ragged,
               invalid = PaddingKind::first_batch_invalid;

const AttentionCase cases[] = {
    {1, 1, 16, 16, 32, 32},
    {1, 1, 7, 7, 8, 8},
    {1, 2, 33, 70, 16, 24},
    {1, 1, 65, 17, 64, 64, false, no_mask, no_padding, 0, 8},
    {1, 1, 140, 140, 64, 64, true},  // tiles that the causal mask skips, cuts and leaves whole
    {1, 1, 30, 90, 16, 8, true},     // more keys than queries
    {1, 1, 90, 40, 16, 24, true},    // first rows see no key
    {1, 1, 30, 67, 24, 24, false, full},
    {2, 1, 37, 41, 8, 8, true, per_key, ragged, 0, 16},
    {1, 2, 20, 20, 40, 48, false, per_head, ragged},
    {2, 1, 20, 45, 16, 16, false, no_mask, ragged},   // padding alone
    {2, 1, 20, 19, 16, 16, false, no_mask, invalid},  // rows with no valid key
    {2, 1, 18, 29, 8, 16, true, full, invalid, 0.2},  // dropout bits one at a time
    {1, 1, 40, 52, 8, 8, false, no_mask, no_padding, 0.5},
    {1, 1, 35, 72, 32, 32, true, no_mask, ragged, 0.3},
    {1, 1, 20, 33, 128, 128},
    {1, 1, 20, 24, 96, 72, true, no_mask, ragged, 0.1},
    {1, 1, 17, 40, 128, 120, true, full, no_padding, 0.1},
    {1, 1, 20, 36, 64, 56, true, full, no_padding, 0.1},
    {0, 2, 4, 4, 8, 8},
    {1, 2, 0, 4, 8, 8},
    {1, 2, 4, 0, 8, 8},
};
constexpr DType dtypes[] = {DType::bf16, DType::f16};

std::vector<std::string> variants() {
  const DeviceType device = device_under_test().type;
  std::vector<std::string> names;
  for (const VariantInfo& v : attention_double_backward.variants())
    if (v.device == device && v.name.rfind("mma", 0) == 0) names.push_back(v.name);
  return names;
}
// Whose sums have a fixed order.
std::vector<std::string> repeatable_variants() {
  auto names = variants();
  std::erase_if(names, [](const std::string& name) { return name.ends_with("atomic"); });
  return names;
}

Vec values_of(const Operand& o) { return o.values().values(); }

double norm(const Vec& v) {
  double sum = 0;
  for (double x : v) sum += x * x;
  return std::sqrt(sum);
}

// In the Frobenius norm. Operands of products are rounded (P and its kin), D is of a rounded
// output, the result is rounded: three roundings of relative size u / 2 to u / 2.4 in the mean,
// independent of each other, are 0.8 u; twice that, because few elements scatter. u is one
// rounding.
void expect_near(const std::string& what, const Operand& got, const Operand& want, DType dtype) {
  const Vec g = values_of(got), w = values_of(want);
  ASSERT_EQ(g.size(), w.size());
  Vec difference(g.size());
  for (std::size_t i = 0; i < g.size(); ++i) difference[i] = g[i] - w[i];
  EXPECT_LE(norm(difference), 1.6 * rounding(dtype) * norm(w)) << what << " " << to_string(dtype);
}

TEST(AttentionMma, AgreesWithTheOracle) {
  for (const std::string& variant : variants())
    for (const AttentionCase& c : cases)
      for (DType dtype : dtypes) {
        SCOPED_TRACE(variant + " " + describe(c));
        AttentionRun got(c, dtype);
        const AttentionRun want = got.oracle();
        got.run(variant.c_str());
        const auto g = got.results(), w = want.results();
        for (std::size_t i = 0; i < g.size(); ++i) {
          expect_near(g[i].name, *g[i].operand, *w[i].operand, dtype);
          EXPECT_TRUE(g[i].operand->gaps_intact()) << g[i].name;
        }
        // Scores are summed in f32, so lse is as precise as that.
        const Vec a = got.lse.values(), b = want.lse.values();
        for (std::size_t i = 0; i < a.size(); ++i) {
          if (a[i] == b[i]) continue;  // -inf
          ASSERT_NEAR(a[i], b[i], 1e-5 * (1 + std::abs(b[i])));
        }
      }
}

TEST(AttentionMma, SameBitsOnRepeat) {
  for (const std::string& variant : repeatable_variants())
    for (std::size_t row : {2, 4, 12, 14, 17}) {
      SCOPED_TRACE(variant + " " + describe(cases[row]));
      AttentionRun one(cases[row], DType::bf16), other(cases[row], DType::bf16);
      one.run(variant.c_str());
      other.run(variant.c_str());
      for (std::size_t i = 0; i < one.results().size(); ++i)
        EXPECT_TRUE(one.results()[i].operand->values() == other.results()[i].operand->values())
            << one.results()[i].name;
      EXPECT_TRUE(one.lse == other.lse);
    }
}

TEST(AttentionMma, AStoredKeyDropsTheSame) {
  for (const std::string& variant : variants())
    for (std::size_t row : {12, 13, 18}) {
      SCOPED_TRACE(variant + " " + describe(cases[row]));
      AttentionRun want(cases[row], DType::bf16), got(want);
      const Array<std::uint64_t> stored({want.key.seed, want.key.offset});
      got.key = {1, 2, stored.data()};
      want.run(variant.c_str());
      got.run(variant.c_str());
      for (std::size_t i = 0; i < got.results().size(); ++i)
        EXPECT_TRUE(got.results()[i].operand->values() == want.results()[i].operand->values())
            << got.results()[i].name;
    }
}

TEST(AttentionMma, RowsWithoutValidKeysGiveZeros) {
  for (const std::string& variant : variants()) {
    const AttentionCase c{2, 1, 20, 21, 16, 8, false, no_mask, invalid};
    AttentionRun r(c, DType::bf16);
    r.run(variant.c_str());
    for (const auto& result : r.results()) {
      const Vec values = values_of(*result.operand);
      for (std::size_t i = 0; i < values.size() / 2; ++i) ASSERT_EQ(values[i], 0) << result.name;
    }
    const Vec lse = r.lse.values();
    for (std::size_t i = 0; i < 20; ++i)
      ASSERT_EQ(lse[i], -std::numeric_limits<double>::infinity());
  }
}

TEST(AttentionMma, NanInAQueryReachesItsOutputAndNoOther) {
  for (const std::string& variant : variants()) {
    AttentionRun r({2, 1, 3, 40, 8, 8, true}, DType::bf16);
    Vec q = values_of(r.q);
    q[8] = std::numeric_limits<double>::quiet_NaN();  // second row of the first head
    r.q.fill(q);
    r.run(variant.c_str());
    const Vec out = values_of(r.out);
    for (std::size_t i = 0; i < out.size(); ++i)
      EXPECT_EQ(std::isnan(out[i]), i / 8 == 1) << variant << " " << i;
  }
}

TEST(AttentionMma, LargeScoresNeitherOverflowNorLoseTheLargest) {
  for (const std::string& variant : variants()) {
    AttentionRun r({1, 1, 2, 3, 8, 8}, DType::bf16);
    r.q.fill(Vec(16, 1000.0));
    Vec k(24), v(24);
    for (std::size_t i = 0; i < k.size(); ++i) {
      const std::size_t key = i / 8;
      k[i] = key == 1 ? 1000.0 : -1000.0;
      v[i] = static_cast<double>(key);
    }
    r.k.fill(k);
    r.v.fill(v);
    r.run(variant.c_str());
    for (double x : values_of(r.out)) EXPECT_EQ(x, 1) << variant;
    for (double x : values_of(r.dq)) EXPECT_EQ(x, 0) << variant;
  }
}

TEST(AttentionMma, NullOutputsAreSkippedAndOthersKeepTheirBits) {
  const AttentionCase c{1, 2, 20, 36, 16, 8, true, no_mask, no_padding, 0.1};
  for (const std::string& variant : repeatable_variants()) {
    AttentionRun want(c, DType::bf16);
    want.run(variant.c_str());
    const Selected selected({&attention_forward, &attention_backward, &attention_double_backward},
                            variant.c_str());
    using Back = AttentionBackwardArgs;
    for (auto wanted : {&Back::dk, &Back::dv}) {
      AttentionRun got(c, DType::bf16);
      got.lse = want.lse;
      got.out = want.out;
      auto args = got.backward_args();
      const AttentionOut kept = args.*wanted;
      const AttentionOut dq = args.dq;
      args.dq = args.dk = args.dv = {};
      args.dq = dq;  // its sweep sums D for the others
      args.*wanted = kept;
      attention_backward(stream_under_test(), args);
      EXPECT_EQ((got.dk.values() == want.dk.values()) + (got.dv.values() == want.dv.values()), 1);
      EXPECT_TRUE(got.dq.values() == want.dq.values());
    }
    AttentionRun keys(c, DType::bf16);  // without dq
    keys.lse = want.lse;
    keys.out = want.out;
    auto backward = keys.backward_args();
    backward.dq = {};
    attention_backward(stream_under_test(), backward);
    expect_near("dk", keys.dk, want.dk, DType::bf16);
    EXPECT_TRUE(keys.dv.values() == want.dv.values());
    using Twice = AttentionDoubleBackwardArgs;
    for (auto wanted : {&Twice::dq2, &Twice::dk2, &Twice::dv2, &Twice::ddout}) {
      AttentionRun got(c, DType::bf16);
      got.lse = want.lse;
      got.out = want.out;
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
  }
}

TEST(AttentionMma, NullCotangentsAreZeros) {
  const AttentionCase c{1, 1, 20, 36, 16, 8, true, no_mask, no_padding, 0.1};
  for (const std::string& variant : repeatable_variants())
    for (int given = 0; given < 8; ++given) {
      AttentionRun want(c, DType::bf16), got(c, DType::bf16);
      const auto zeros = [](std::int64_t n) { return Vec(static_cast<std::size_t>(n), 0.0); };
      if (!(given & 1)) want.ddq.fill(zeros(c.q_size()));
      if (!(given & 2)) want.ddk.fill(zeros(c.k_size()));
      if (!(given & 4)) want.ddv.fill(zeros(c.v_size()));
      want.run(variant.c_str());
      got.lse = want.lse;
      got.out = want.out;
      auto args = got.double_backward_args();
      if (!(given & 1)) args.ddq = {};
      if (!(given & 2)) args.ddk = {};
      if (!(given & 4)) args.ddv = {};
      const Selected selected({&attention_double_backward}, variant.c_str());
      attention_double_backward(stream_under_test(), args);
      for (std::size_t i = 4; i < got.results().size(); ++i)
        EXPECT_TRUE(values_of(*got.results()[i].operand) == values_of(*want.results()[i].operand))
            << variant << " " << got.results()[i].name << " " << given;
      if (given & 3) continue;
      for (double x : values_of(got.dv2)) ASSERT_EQ(x, 0);
    }
}

// A common offset of k moves all of a row's U by the same large number: it must be gone before P o
// U is rounded. (dq2 = tau F k itself is as large as k, and is not compared.)
TEST(AttentionMma, CommonOffsetOfTheKeysCostsTheTangentNoDigits) {
  const AttentionCase c{1, 1, 40, 70, 32, 32};
  for (const std::string& variant : variants()) {
    AttentionRun r(c, DType::bf16);
    Vec k = values_of(r.k);
    for (std::size_t i = 0; i < k.size(); ++i) k[i] += 6;
    r.k.fill(k);
    const AttentionRun want = r.oracle();
    r.run(variant.c_str());
    expect_near("ddout", r.ddout, want.ddout, DType::bf16);
    expect_near("dv2", r.dv2, want.dv2, DType::bf16);
    expect_near("dk2", r.dk2, want.dk2, DType::bf16);
  }
}

}  // namespace
}  // namespace mettle::test
