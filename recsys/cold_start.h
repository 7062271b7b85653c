// Cold-start tasks: users the model has never seen, a few of their ratings as support, others as
// query.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "recsys/dataset.h"

namespace mettle {

/// One draw for one user. Numbers index Dataset::ratings; query and support do not overlap.
struct Episode {
  std::int32_t user = 0;
  std::int32_t draw = 0;
  std::vector<std::int64_t> query;
  std::vector<std::int64_t> support;  // in random order: supports of growing k are its prefixes

  /// The nested support of size k.
  std::span<const std::int64_t> first_support(int k) const;
};

struct ColdStartOptions {
  int query = 10;        // ratings per query
  int max_support = 10;  // the largest k
  int draws = 3;         // query draws per validation or test user
};

/// The support sizes of the few-shot curve.
inline constexpr int kSupportSizes[] = {0, 1, 3, 5, 10};

struct ColdStartSplit {
  std::uint64_t seed = 0;
  ColdStartOptions options;
  std::vector<std::int32_t> train_users;  // ascending
  std::vector<Episode> validation;        // all draws of one user stand together
  std::vector<Episode> test;
};

/// Splits users 80/10/10 at random: a tenth (rounded down, at least one) tests, a tenth validates,
/// the rest trains. Users with fewer ratings than query + max_support can only train. The split
/// depends on the data's facts, the options and the seed alone. ValueError when the data has too
/// few users.
ColdStartSplit split_cold_start(const Dataset& data, std::uint64_t seed,
                                const ColdStartOptions& options = {});

}  // namespace mettle
