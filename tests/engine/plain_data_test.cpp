// Half types, Philox known answers, shapes, the thread pool.
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <limits>

#include "engine/check.h"
#include "engine/dtype.h"
#include "engine/parallel.h"
#include "engine/random.h"
#include "engine/shape.h"

namespace mettle {
namespace {

// Random123's kat_vectors, philox4x32 with 10 rounds.
TEST(Philox, KnownAnswers) {
  struct Row {
    std::uint64_t key, low, high;
    std::uint32_t want[4];
  };
  const Row rows[] = {
      {0, 0, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {~0ull, ~0ull, ~0ull, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {0x299f31d0a4093822ull,
       0x85a308d3243f6a88ull,
       0x0370734413198a2eull,
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (const Row& row : rows) {
    const PhiloxBlock got = philox(row.key, row.low, row.high);
    for (int i = 0; i < 4; ++i) EXPECT_EQ(got.word[i], row.want[i]);
  }
}

TEST(Half, EveryF16SurvivesTheRoundTrip) {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    f16 h;
    h.bits = static_cast<std::uint16_t>(bits);
    const float value = h;
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(static_cast<float>(f16(value))));
    } else {
      EXPECT_EQ(f16(value).bits, bits);
    }
  }
}

TEST(Half, RoundsToNearestEven) {
  EXPECT_EQ(f16(65519.0f).bits, 0x7bff);
  EXPECT_EQ(f16(65520.0f).bits, 0x7c00);
  EXPECT_EQ(f16(0x1p-25f).bits, 0);    // a tie, to even
  EXPECT_EQ(f16(0x1.8p-25f).bits, 1);  // above the tie
  EXPECT_EQ(f16(1.0f + 0x1p-11f).bits, 0x3c00);
  EXPECT_EQ(f16(1.0f + 0x1.8p-10f).bits, 0x3c02);
  EXPECT_EQ(bf16(1.0f + 0x1p-8f).bits, 0x3f80);
  EXPECT_EQ(bf16(1.0f + 0x1.8p-7f).bits, 0x3f82);
  EXPECT_TRUE(std::isinf(static_cast<float>(bf16(std::numeric_limits<float>::max()))));
}

TEST(Shape, BroadcastsOrSaysWhy) {
  EXPECT_EQ(broadcast_shapes({2, 1, 3}, {4, 1}, "add"), (Shape{2, 4, 3}));
  EXPECT_EQ(broadcast_shapes({}, {0, 2}, "add"), (Shape{0, 2}));
  try {
    broadcast_shapes({2, 3}, {4, 3}, "add");
    FAIL();
  } catch (const ShapeError& e) {
    EXPECT_EQ(e.message(),
              "add: (2, 3) and (4, 3) do not broadcast: extents 2 and 4 differ and neither is 1");
  }
  EXPECT_THROW(numel({std::int64_t{1} << 40, std::int64_t{1} << 40}), ShapeError);
  EXPECT_EQ(numel({0, std::int64_t{1} << 40, std::int64_t{1} << 40}), 0);
}

TEST(Parallel, CoversEveryItemOnceAndCarriesExceptions) {
  std::vector<std::atomic<int>> seen(1000);
  parallel_for(1000, 7, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = begin; i < end; ++i) ++seen[static_cast<std::size_t>(i)];
  });
  for (const auto& s : seen) EXPECT_EQ(s, 1);
  EXPECT_THROW(parallel_for(100, 1, [](std::int64_t, std::int64_t) { fail<ValueError>("broken"); }),
               ValueError);
}

}  // namespace
}  // namespace mettle
