// The attention kernels that multiply in 16 bits: every variant of the device under test that is
// called mma or wgmma against the naive f64 oracle, and what must hold exactly. A variant that some
// of the three kernels lack is tested in those that have it, with the default in the others.
#include <limits>
#include <map>

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
    {1, 1, 128, 128, 64, 64},  // the largest head of one block
    {1, 1, 100, 121, 32, 48, true, full, ragged, 0.1, 8},
    {1, 2, 64, 61, 56, 64, true},
};
// Tiles of 128 own rows and 32 to 128 of the other side: rings that come round, blocks and
// warpgroups without a row or a key.
const AttentionCase long_cases[] = {
    {1, 1, 70, 520, 64, 64},
    {1, 1, 150, 300, 64, 64, true},
    {1, 1, 200, 70, 64, 64, true},  // the first tile of queries sees no key
    {2, 2, 30, 290, 64, 64, true, no_mask, ragged, 0, 8},
    {2, 1, 129, 140, 128, 128, false, no_mask, invalid},
    {1, 1, 20, 260, 96, 72},
    {1, 1, 20, 260, 72, 128, true, no_mask, no_padding, 0, 16},
    {1, 1, 17, 330, 32, 32, true, no_mask, ragged, 0.3},
    {1, 2, 65, 200, 128, 120, true, full, ragged, 0.1},
    {1, 1, 65, 136, 96, 96, false, per_head, no_padding, 0, 8},
    {1, 1, 400, 40, 64, 64},
    {1, 1, 390, 150, 64, 56, true, no_mask, ragged, 0, 8},
    {1, 2, 210, 30, 32, 32, true, no_mask, ragged, 0.3},
    {1, 1, 200, 70, 128, 120, false, full, no_padding, 0.1},
    {1, 1, 150, 90, 96, 96, true},
};
constexpr DType dtypes[] = {DType::bf16, DType::f16};

bool is_mma(const std::string& name) {
  return name.rfind("mma", 0) == 0 || name.rfind("wgmma", 0) == 0;
}

// What the slots have for the device, a name once.
std::vector<VariantInfo> variants_of(std::initializer_list<KernelSlotBase*> slots) {
  const DeviceType device = device_under_test().type;
  std::map<std::string, VariantInfo> listed;
  for (auto* slot : slots)
    for (const VariantInfo& v : slot->variants()) {
      if (v.device != device || !is_mma(v.name)) continue;
      VariantInfo& known = listed.try_emplace(v.name, v).first->second;
      if (v.repeat != Repeat::same_bits) known.repeat = v.repeat;
    }
  std::vector<VariantInfo> out;
  for (const auto& [name, variant] : listed) out.push_back(variant);
  return out;
}
std::vector<VariantInfo> listed_variants() {
  return variants_of({&attention_forward, &attention_backward, &attention_double_backward});
}
std::vector<std::string> names_of(const std::vector<VariantInfo>& listed) {
  std::vector<std::string> names;
  for (const VariantInfo& v : listed) names.push_back(v.name);
  return names;
}
std::vector<std::string> variants() { return names_of(listed_variants()); }
// Whose sums have a fixed order.
std::vector<std::string> repeatable_variants() {
  auto listed = listed_variants();
  std::erase_if(listed, [](const VariantInfo& v) { return v.repeat != Repeat::same_bits; });
  return names_of(listed);
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

// What one variant made of the same numbers twice.
void expect_repeated(const VariantInfo& variant, const AttentionRun::Result& got,
                     const AttentionRun::Result& want) {
  if (variant.repeat == Repeat::same_bits)
    EXPECT_TRUE(got.operand->values() == want.operand->values()) << variant.name << got.name;
  else
    expect_near(variant.name + got.name, *got.operand, *want.operand, DType::bf16);
}

// Scores are summed in f32, so lse is as precise as that.
void expect_near_lse(const Buffer& got, const Buffer& want) {
  const Vec a = got.values(), b = want.values();
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i] == b[i]) continue;  // -inf
    ASSERT_NEAR(a[i], b[i], 1e-5 * (1 + std::abs(b[i])));
  }
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
        expect_near_lse(got.lse, want.lse);
      }
}

TEST(AttentionMma, LongForwardsAgreeWithTheOracleAndRepeatTheirBits) {
  std::size_t row = 0;
  for (const AttentionCase& c : long_cases) {
    const DType dtype = dtypes[row++ % 2];
    const AttentionRun want = AttentionRun(c, dtype).oracle();
    for (const std::string& variant : names_of(variants_of({&attention_forward}))) {
      SCOPED_TRACE(variant + " " + describe(c));
      const Selected selected({&attention_forward}, variant.c_str());
      AttentionRun got(c, dtype), again(c, dtype);
      attention_forward(stream_under_test(), got.forward_args());
      attention_forward(stream_under_test(), again.forward_args());
      expect_near("out", got.out, want.out, dtype);
      expect_near_lse(got.lse, want.lse);
      EXPECT_TRUE(got.out.gaps_intact());
      EXPECT_TRUE(got.out.values() == again.out.values() && got.lse == again.lse);
    }
  }
}

TEST(AttentionMma, LongBackwardsAgreeWithTheOracleAndRepeatTheirBits) {
  std::size_t row = 0;
  for (const AttentionCase& c : long_cases) {
    const DType dtype = dtypes[row++ % 2];
    AttentionRun given(c, dtype);
    const AttentionRun want = given.oracle();
    attention_forward(stream_under_test(), given.forward_args());
    for (const std::string& variant : names_of(variants_of({&attention_backward}))) {
      SCOPED_TRACE(variant + " " + describe(c));
      const Selected selected({&attention_backward}, variant.c_str());
      AttentionRun got(given), again(given);
      attention_backward(stream_under_test(), got.backward_args());
      attention_backward(stream_under_test(), again.backward_args());
      for (auto gradient : {&AttentionRun::dq, &AttentionRun::dk, &AttentionRun::dv}) {
        expect_near("gradient", got.*gradient, want.*gradient, dtype);
        EXPECT_TRUE((got.*gradient).gaps_intact());
        EXPECT_TRUE((got.*gradient).values() == (again.*gradient).values());
      }
    }
  }
}

TEST(AttentionMma, LongDoubleBackwardsAgreeWithTheOracleAndRepeatTheirBits) {
  for (std::size_t row : {1, 3, 8, 11, 12, 13, 14}) {
    const AttentionCase& c = long_cases[row];
    const DType dtype = dtypes[row % 2];
    AttentionRun given(c, dtype);
    const AttentionRun want = given.oracle();
    attention_forward(stream_under_test(), given.forward_args());
    for (const char* variant : {"mma", "wgmma"}) {
      SCOPED_TRACE(variant + (" " + describe(c)));
      const Selected selected({&attention_jvp, &attention_double_backward}, variant);
      AttentionRun got(given), again(given);
      for (AttentionRun* run : {&got, &again}) {
        attention_jvp(stream_under_test(), run->jvp_args());
        attention_double_backward(stream_under_test(), run->double_backward_args());
      }
      for (auto result : {&AttentionRun::tangent_out, &AttentionRun::dq2, &AttentionRun::dk2,
                          &AttentionRun::dv2, &AttentionRun::ddout}) {
        expect_near("result", got.*result, want.*result, dtype);
        EXPECT_TRUE((got.*result).gaps_intact());
        EXPECT_TRUE((got.*result).values() == (again.*result).values());
      }
    }
  }
}

TEST(AttentionMma, ForwardsWithoutOutputOrLseAreSkippedOrKeepTheirBits) {
  const AttentionCase c{1, 2, 30, 70, 16, 8};
  for (const std::string& variant : names_of(variants_of({&attention_forward}))) {
    const Selected selected({&attention_forward}, variant.c_str());
    AttentionRun want(c, DType::bf16), got(c, DType::bf16);
    attention_forward(stream_under_test(), want.forward_args());
    auto args = got.forward_args();
    args.out = {};
    attention_forward(stream_under_test(), args);
    EXPECT_TRUE(got.lse == want.lse) << variant;
    args = got.forward_args();
    args.lse = nullptr;
    attention_forward(stream_under_test(), args);
    EXPECT_TRUE(got.out.values() == want.out.values()) << variant;
  }
}

// k and v that all heads share: what no tensor map takes goes to another variant.
TEST(AttentionMma, HeadsMayShareKeys) {
  const AttentionCase c{1, 3, 20, 40, 16, 16}, one{1, 1, 20, 40, 16, 16};
  for (const std::string& variant : names_of(variants_of({&attention_forward}))) {
    const Selected selected({&attention_forward, &attention_backward, &attention_double_backward},
                            variant.c_str());
    AttentionRun got(c, DType::bf16), shared(one, DType::bf16), want(c, DType::bf16);
    const auto three_times = [](Vec x) {
      const Vec once = x;
      for (int i = 0; i < 2; ++i) x.insert(x.end(), once.begin(), once.end());
      return x;
    };
    want.k.fill(three_times(values_of(shared.k)));
    want.v.fill(three_times(values_of(shared.v)));
    const AttentionRun oracle = want.oracle();
    auto args = got.forward_args();
    args.k = shared.k.in();
    args.v = shared.v.in();
    args.k.head = args.v.head = 0;
    attention_forward(stream_under_test(), args);
    expect_near("out", got.out, oracle.out, DType::bf16);
    auto backward = got.backward_args();
    backward.k = args.k;
    backward.v = args.v;
    attention_backward(stream_under_test(), backward);
    expect_near("dq", got.dq, oracle.dq, DType::bf16);
    expect_near("dk", got.dk, oracle.dk, DType::bf16);
    expect_near("dv", got.dv, oracle.dv, DType::bf16);
    auto twice = got.double_backward_args();
    twice.k = args.k;
    twice.v = args.v;
    attention_double_backward(stream_under_test(), twice);
    for (std::size_t i = 0; i < got.double_results().size(); ++i)
      expect_near(got.double_results()[i].name, *got.double_results()[i].operand,
                  *oracle.double_results()[i].operand, DType::bf16);
  }
}

TEST(AttentionMma, RepeatsItselfAsItsVariantSays) {
  for (const VariantInfo& variant : listed_variants())
    for (std::size_t row : {2, 4, 12, 14, 17, 23}) {
      SCOPED_TRACE(variant.name + " " + describe(cases[row]));
      AttentionRun one(cases[row], DType::bf16), other(cases[row], DType::bf16);
      one.run(variant.name.c_str());
      other.run(variant.name.c_str());
      for (std::size_t i = 0; i < one.results().size(); ++i)
        expect_repeated(variant, other.results()[i], one.results()[i]);
      EXPECT_TRUE(one.lse == other.lse);
    }
}

// Which variant runs must not decide whether a run can be repeated.
TEST(AttentionMma, VariantsThatDoNotRepeatTheirBitsRunOnlyWhenAskedFor) {
  int best = -1;
  for (const VariantInfo& variant : listed_variants())
    if (variant.name == "mma") best = variant.priority;
  for (const VariantInfo& variant : listed_variants())
    EXPECT_TRUE(variant.repeat == Repeat::same_bits || variant.priority < best) << variant.name;
}

TEST(AttentionMma, AStoredKeyDropsTheSame) {
  for (const VariantInfo& variant : listed_variants())
    for (std::size_t row : {12, 13, 18}) {
      SCOPED_TRACE(variant.name + " " + describe(cases[row]));
      AttentionRun want(cases[row], DType::bf16), got(want);
      const Array<std::uint64_t> stored({want.key.seed, want.key.offset});
      got.key = {1, 2, stored.data()};
      want.run(variant.name.c_str());
      got.run(variant.name.c_str());
      for (std::size_t i = 0; i < got.results().size(); ++i)
        expect_repeated(variant, got.results()[i], want.results()[i]);
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
  for (const VariantInfo& variant : variants_of({&attention_double_backward}))
    for (int given = 0; given < 8; ++given) {
      AttentionRun want(c, DType::bf16), got(c, DType::bf16);
      const auto zeros = [](std::int64_t n) { return Vec(static_cast<std::size_t>(n), 0.0); };
      if (!(given & 1)) want.ddq.fill(zeros(c.q_size()));
      if (!(given & 2)) want.ddk.fill(zeros(c.k_size()));
      if (!(given & 4)) want.ddv.fill(zeros(c.v_size()));
      want.run(variant.name.c_str());
      got.lse = want.lse;
      got.out = want.out;
      auto args = got.double_backward_args();
      if (!(given & 1)) args.ddq = {};
      if (!(given & 2)) args.ddk = {};
      if (!(given & 4)) args.ddv = {};
      const Selected selected({&attention_double_backward}, variant.name.c_str());
      attention_double_backward(stream_under_test(), args);
      for (std::size_t i = 0; i < got.double_results().size(); ++i)
        expect_repeated(variant, got.double_results()[i], want.double_results()[i]);
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
    expect_near("tangent_out", r.tangent_out, want.tangent_out, DType::bf16);
    expect_near("ddout", r.ddout, want.ddout, DType::bf16);
    expect_near("dv2", r.dv2, want.dv2, DType::bf16);
    expect_near("dk2", r.dk2, want.dk2, DType::bf16);
  }
}

}  // namespace
}  // namespace mettle::test
