// The shipped data set, the canonical order of a Dataset, and the cold-start split.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "engine/check.h"
#include "recsys/cold_start.h"
#include "recsys/movielens.h"

namespace mettle {
namespace {

const Dataset& shipped() {
  static const Dataset data = load_movielens(METTLE_DATA_DIR "/ml-latest-small");
  return data;
}

TEST(Dataset, ShippedDataHasThePublishedCounts) {
  const Dataset& data = shipped();
  EXPECT_EQ(data.name, "ml-latest-small");
  EXPECT_EQ(data.user_count(), 671);
  EXPECT_EQ(data.item_count(), 9066);
  EXPECT_EQ(data.ratings.size(), 100004u);
  EXPECT_EQ(data.genres.size(), 19u);
  EXPECT_TRUE(data.has_timestamps);
  EXPECT_EQ(data.stars.low, 0.5);
  EXPECT_EQ(std::count_if(data.items.begin(), data.items.end(),
                          [](const Item& item) { return !item.year; }),
            5);
  const Item& toy_story = data.items[0];
  EXPECT_EQ(toy_story.id, "1");
  EXPECT_EQ(toy_story.title, "Toy Story");
  EXPECT_EQ(toy_story.year, 1995);
  std::vector<std::string> genres;
  for (const std::int32_t g : toy_story.genres)
    genres.push_back(data.genres[static_cast<std::size_t>(g)]);
  EXPECT_EQ(genres,
            (std::vector<std::string>{"Adventure", "Animation", "Children", "Comedy", "Fantasy"}));
  const Rating& first = data.ratings_of(0)[0];
  EXPECT_EQ(data.items[static_cast<std::size_t>(first.item)].id, "31");
  EXPECT_EQ(first.stars, 2.5);
  EXPECT_EQ(first.timestamp, 1260759144);
}

TEST(Dataset, OrderOfLinesDoesNotMatter) {
  const auto build = [](std::string_view text) {
    return build_dataset(parse_ratings(MovieLensFormat::csv, text, "r.csv"), {}, {});
  };
  const Dataset a = build("userId,movieId,rating\n10,7,4\n9,30,0.5\n10,30,2\n");
  const Dataset b = build("movieId,rating,userId\n30,2,10\n30,0.5,9\n7,4,10\n");
  EXPECT_EQ(a.user_ids, (std::vector<std::string>{"9", "10"}));
  EXPECT_EQ(a.user_ids, b.user_ids);
  EXPECT_EQ(a.user_begin, (std::vector<std::int64_t>{0, 1, 3}));
  ASSERT_EQ(a.ratings.size(), b.ratings.size());
  for (std::size_t i = 0; i < a.ratings.size(); ++i) {
    EXPECT_EQ(a.ratings[i].user, b.ratings[i].user);
    EXPECT_EQ(a.ratings[i].item, b.ratings[i].item);
    EXPECT_EQ(a.ratings[i].stars, b.ratings[i].stars);
  }
  EXPECT_EQ(a.find_item("30"), 1);
  EXPECT_EQ(a.find_item("31"), std::nullopt);
  EXPECT_EQ(a.find_user("10"), 1);
  EXPECT_FALSE(a.has_timestamps);
}

TEST(ColdStart, SplitsUsersAndKeepsQueryApartFromSupport) {
  const Dataset& data = shipped();
  const ColdStartSplit split = split_cold_start(data, 5);
  EXPECT_EQ(split.test.size(), 67u * 3);
  EXPECT_EQ(split.validation.size(), 67u * 3);
  EXPECT_EQ(split.train_users.size(), 671u - 2 * 67);
  std::set<std::int32_t> seen(split.train_users.begin(), split.train_users.end());
  for (const auto* part : {&split.validation, &split.test}) {
    for (const Episode& episode : *part) {
      const bool new_user = seen.insert(episode.user).second;
      EXPECT_EQ(new_user, episode.draw == 0) << "user " << episode.user;
      ASSERT_EQ(episode.query.size(), 10u);
      ASSERT_EQ(episode.support.size(), 10u);
      std::set<std::int64_t> rows(episode.query.begin(), episode.query.end());
      rows.insert(episode.support.begin(), episode.support.end());
      EXPECT_EQ(rows.size(), 20u);
      for (const std::int64_t row : rows)
        EXPECT_EQ(data.ratings[static_cast<std::size_t>(row)].user, episode.user);
    }
  }
  EXPECT_EQ(seen.size(), 671u);
}

TEST(ColdStart, SeedAloneDecides) {
  const ColdStartSplit a = split_cold_start(shipped(), 1), b = split_cold_start(shipped(), 1);
  const ColdStartSplit c = split_cold_start(shipped(), 2);
  EXPECT_EQ(a.train_users, b.train_users);
  EXPECT_EQ(a.test.back().query, b.test.back().query);
  EXPECT_NE(a.train_users, c.train_users);
}

TEST(ColdStart, RefusesTooFewUsers) {
  const Dataset tiny = build_dataset(
      parse_ratings(MovieLensFormat::csv, "userId,movieId,rating\n1,1,3\n2,1,4\n", "r.csv"), {},
      {});
  EXPECT_THROW(split_cold_start(tiny, 0), ValueError);
  EXPECT_THROW(split_cold_start(shipped(), 0, {.query = 0}), ValueError);
  EXPECT_THROW(split_cold_start(shipped(), 0).test[0].first_support(11), ValueError);
}

}  // namespace
}  // namespace mettle
