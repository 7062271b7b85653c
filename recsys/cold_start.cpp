// The random split by user and the draws of query and support.
#include "recsys/cold_start.h"

#include <algorithm>
#include <numeric>

#include "engine/check.h"
#include "engine/random.h"
#include "recsys/shuffle.h"

namespace mettle {
namespace {

// Stretch of the seed's random stream that splits use, apart from others who use the same seed.
constexpr std::uint64_t kSplitOffset = std::uint64_t{1} << 48;

void draw_episodes(const Dataset& data, const ColdStartOptions& options, std::int32_t user,
                   Generator& generator, std::vector<Episode>& out) {
  const auto u = static_cast<std::size_t>(user);
  for (std::int32_t draw = 0; draw < options.draws; ++draw) {
    std::vector<std::int64_t> rows(
        static_cast<std::size_t>(data.user_begin[u + 1] - data.user_begin[u]));
    std::iota(rows.begin(), rows.end(), data.user_begin[u]);
    shuffle(rows, generator);
    const auto query_end = rows.begin() + options.query;
    out.push_back(
        {user, draw, {rows.begin(), query_end}, {query_end, query_end + options.max_support}});
  }
}

}  // namespace

std::span<const std::int64_t> Episode::first_support(int k) const {
  METTLE_CHECK(ValueError, k >= 0 && static_cast<std::size_t>(k) <= support.size(),
               "support: {} ratings asked for, the episode has {}", k, support.size());
  return std::span(support).first(static_cast<std::size_t>(k));
}

ColdStartSplit split_cold_start(const Dataset& data, std::uint64_t seed,
                                const ColdStartOptions& options) {
  METTLE_CHECK(ValueError, options.query >= 1 && options.max_support >= 0 && options.draws >= 1,
               "cold start: query {}, support {} and draws {} must be at least 1, 0 and 1",
               options.query, options.max_support, options.draws);
  ColdStartSplit split{seed, options, {}, {}, {}};
  const std::int32_t each = std::max(1, data.user_count() / 10);
  const std::int64_t needed = std::int64_t{options.query} + options.max_support;
  std::vector<std::int32_t> users(static_cast<std::size_t>(data.user_count()));
  std::iota(users.begin(), users.end(), 0);
  Generator generator(seed, kSplitOffset);
  shuffle(users, generator);
  std::int32_t held_out = 0;
  for (const std::int32_t user : users) {
    const bool eligible = std::ssize(data.ratings_of(user)) >= needed;
    if (!eligible || held_out == 2 * each) {
      split.train_users.push_back(user);
      continue;
    }
    draw_episodes(data, options, user, generator, held_out < each ? split.test : split.validation);
    ++held_out;
  }
  METTLE_CHECK(ValueError, held_out == 2 * each && !split.train_users.empty(),
               "cold start: {} test and {} validation users with at least {} ratings and one "
               "training user are needed, the data has {} users of which {} have enough ratings",
               each, each, needed, data.user_count(), held_out);
  std::sort(split.train_users.begin(), split.train_users.end());
  return split;
}

}  // namespace mettle
