// Metrics against values worked out by hand, clustered intervals, item statistics, the table.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/check.h"
#include "recsys/evaluation.h"
#include "recsys/evaluation_json.h"
#include "recsys/item_statistics.h"
#include "recsys/metrics.h"
#include "recsys/movielens.h"

namespace mettle {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

struct RankingRow {
  const char* name;
  std::vector<double> scores;
  std::vector<std::uint8_t> likes;
  double auc, ndcg2, precision2, mrr, hit1;
};

TEST(Metrics, RankingTable) {
  const double d2 = 1 / std::log2(3.0);
  const RankingRow rows[] = {
      {"perfect", {4, 3, 2, 1}, {1, 1, 0, 0}, 1, 1, 1, 1, 1},
      {"reversed", {1, 2, 3, 4}, {1, 1, 0, 0}, 0, 0, 0, 1.0 / 3, 0},
      {"mixed", {4, 3, 2, 1}, {0, 1, 0, 1}, 0.25, d2 / (1 + d2), 0.5, 0.5, 0},
      {"all tied: against the model", {1, 1, 1, 1}, {1, 0, 0, 1}, 0.5, 0, 0, 1.0 / 3, 0},
      {"one tie", {2, 2, 1}, {1, 0, 0}, 0.75, d2, 0.5, 0.5, 0},
      {"order of equal rows is irrelevant", {2, 2, 1}, {0, 1, 0}, 0.75, d2, 0.5, 0.5, 0},
      {"only likes", {1, 2, 3}, {1, 1, 1}, kNaN, 1, 1, 1, 1},
      {"no like", {1, 2, 3}, {0, 0, 0}, kNaN, kNaN, 0, kNaN, kNaN},
      {"shorter than the cut-off", {1}, {1}, kNaN, 1, 0.5, 1, 1},
      {"infinite scores", {-HUGE_VAL, HUGE_VAL}, {0, 1}, 1, 1, 0.5, 1, 1},
  };
  for (const RankingRow& row : rows) {
    SCOPED_TRACE(row.name);
    const auto ranked = ranked_likes(row.scores, row.likes);
    const auto same = [](double want) { return testing::NanSensitiveDoubleEq(want); };
    EXPECT_THAT(auc(row.scores, row.likes), same(row.auc));
    EXPECT_THAT(ndcg_at(ranked, 2), same(row.ndcg2));
    EXPECT_THAT(precision_at(ranked, 2), same(row.precision2));
    EXPECT_THAT(reciprocal_rank_at(ranked, 10), same(row.mrr));
    EXPECT_THAT(hit_rate_at(ranked, 1), same(row.hit1));
  }
}

TEST(Metrics, CutOffOfReciprocalRank) {
  const std::vector<std::uint8_t> ranked = {0, 0, 1};
  EXPECT_EQ(reciprocal_rank_at(ranked, 2), 0);
  EXPECT_EQ(reciprocal_rank_at(ranked, 3), 1.0 / 3);
  EXPECT_EQ(hit_rate_at(ranked, 2), 0);
}

TEST(Metrics, AucCountsEveryPair) {
  // Against the definition, with many ties.
  std::vector<double> scores;
  std::vector<std::uint8_t> likes;
  for (int i = 0; i < 60; ++i) {
    scores.push_back((i * 37) % 11);
    likes.push_back((i * 17) % 5 < 2);
  }
  double wins = 0, pairs = 0;
  for (std::size_t i = 0; i < scores.size(); ++i)
    for (std::size_t j = 0; j < scores.size(); ++j)
      if (likes[i] && !likes[j]) {
        wins += scores[i] > scores[j] ? 1 : scores[i] == scores[j] ? 0.5 : 0;
        pairs += 1;
      }
  EXPECT_DOUBLE_EQ(auc(scores, likes), wins / pairs);
}

TEST(Metrics, ProbabilitiesAndRatings) {
  const std::vector<std::uint8_t> likes = {1, 0};
  EXPECT_DOUBLE_EQ(log_loss(std::vector{0.8, 0.4}, likes), -(std::log(0.8) + std::log(0.6)) / 2);
  EXPECT_DOUBLE_EQ(log_loss(std::vector{0.0, 0.0}, likes),
                   -(std::log(1e-6) + std::log(1 - 1e-6)) / 2);
  EXPECT_DOUBLE_EQ(mean_absolute_error(std::vector{7.0, 0.0}, std::vector{4.0, 2.0}, 0.5, 5), 1.25);
}

TEST(Metrics, RefusesNaNAndWrongLengths) {
  const std::vector<std::uint8_t> likes = {1, 0};
  EXPECT_THROW(auc(std::vector{kNaN, 0.0}, likes), ValueError);
  EXPECT_THROW(auc(std::vector{0.0}, likes), ValueError);
  EXPECT_THROW(ranked_likes({}, {}), ValueError);
  EXPECT_THROW(ndcg_at(likes, 0), ValueError);
  EXPECT_THROW(log_loss(std::vector{kNaN, 0.0}, likes), ValueError);
  EXPECT_THROW(mean_absolute_error(std::vector{kNaN}, std::vector{1.0}, 1, 5), ValueError);
}

TEST(Intervals, ClustersByUser) {
  // Users 1 and 2 with two values each, mean 2; sums of residuals -2 and +2.
  const Interval got = clustered_interval(std::vector{1.0, 1.0, 3.0, kNaN, 3.0},
                                          std::vector<std::int32_t>{1, 1, 2, 2, 2});
  EXPECT_EQ(got.mean, 2);
  EXPECT_EQ(got.users, 2);
  EXPECT_EQ(got.observations, 4);
  EXPECT_NEAR(got.half, 1.959963984540054 * std::sqrt(2.0 * 8.0) / 4, 1e-12);
  EXPECT_TRUE(got.excludes_zero());
  // Distinct users: the usual standard error of a mean.
  const Interval plain =
      clustered_interval(std::vector{1.0, 2.0, 6.0}, std::vector<std::int32_t>{1, 2, 3});
  EXPECT_NEAR(plain.half, 1.959963984540054 * std::sqrt(7.0 / 3), 1e-12);
  EXPECT_FALSE(clustered_interval(std::vector{5.0}, std::vector<std::int32_t>{1}).excludes_zero());
  EXPECT_TRUE(std::isnan(clustered_interval({}, {}).mean));
}

Dataset four_users() {
  return build_dataset(
      parse_ratings(MovieLensFormat::csv,
                    "userId,movieId,rating\n1,1,5\n1,2,1\n2,1,4\n3,1,3\n3,2,2\n4,2,5\n", "r.csv"),
      {}, {});
}

TEST(ItemStatistics, LeaveOutTheUsersOwnFold) {
  const Dataset data = four_users();
  const std::vector<std::int32_t> train = {0, 1, 2};
  const auto stats = out_of_fold_statistics(data, train, {.folds = 3, .shrinkage = 2, .seed = 4});
  EXPECT_DOUBLE_EQ(stats.global_mean, 3.0);
  EXPECT_DOUBLE_EQ(stats.global_like_rate, 2.0 / 5);
  // Every training user is a fold of its own here; user 0's ratings: item 0 five stars, item 1 one.
  const ItemStatistics& without_first = stats.for_user(0);
  EXPECT_DOUBLE_EQ(without_first.count[0], 2 * 1.5);
  EXPECT_DOUBLE_EQ(without_first.mean[0], (4 + 3 + 2 * 3.0) / 4);
  EXPECT_DOUBLE_EQ(without_first.mean[1], (2 + 2 * 3.0) / 3);
  EXPECT_DOUBLE_EQ(without_first.like_rate[0], (1 + 2 * 0.4) / 4);
  // User 3 does not train: all training users count, and its own five stars do not.
  EXPECT_EQ(&stats.for_user(3), &stats.all);
  EXPECT_DOUBLE_EQ(stats.all.count[1], 2);
  EXPECT_DOUBLE_EQ(stats.all.mean[1], (1 + 2 + 2 * 3.0) / 4);
  EXPECT_THROW(out_of_fold_statistics(data, {}, {}), ValueError);
  EXPECT_THROW(out_of_fold_statistics(data, train, {.folds = 1}), ValueError);
}

// Four users as four episodes with all of their ratings as the query.
std::vector<Episode> whole_users(const Dataset& data) {
  std::vector<Episode> episodes;
  for (std::int32_t user = 0; user < data.user_count(); ++user) {
    const auto u = static_cast<std::size_t>(user);
    Episode episode;
    episode.user = user;
    for (auto row = data.user_begin[u]; row < data.user_begin[u + 1]; ++row)
      episode.query.push_back(row);
    episodes.push_back(episode);
  }
  return episodes;
}

TEST(Evaluation, EpisodesTableAndPairs) {
  const Dataset data = four_users();
  const std::vector<Episode> episodes = whole_users(data);
  EXPECT_EQ(query_stars(data, episodes), (std::vector<double>{5, 1, 4, 3, 2, 5}));
  const QueryPredictions right{{5, 1, 4, 3, 2, 5}, {1, 0, 1, 0, 0, 1}, {5, 1, 4, 3, 2, 5}};
  const QueryPredictions scores_only{{1, 5, 4, 3, 2, 5}, {}, {}};
  EvaluationTable table;
  for (const std::uint64_t seed : {7u, 8u}) {
    table.add("oracle", 5, evaluate_episodes(data, episodes, seed, right));
    table.add("oracle", 0, evaluate_episodes(data, episodes, seed, right));
    table.add("wrong", std::nullopt, evaluate_episodes(data, episodes, seed, scores_only));
  }
  ASSERT_EQ(table.rows().size(), 3u);
  EXPECT_EQ(table.rows()[0]->k, 0);
  EXPECT_EQ(table.rows()[1]->k, 5);
  EXPECT_EQ(table.row("oracle", 5).interval(Metric::auc).mean, 1);
  EXPECT_EQ(table.row("oracle", 5).interval(Metric::auc).users, 1);  // only user 0 has both classes
  EXPECT_EQ(table.row("oracle", 5).interval(Metric::mae).mean, 0);
  EXPECT_EQ(table.row("wrong", 3).interval(Metric::auc).mean, 0);  // its row without k
  EXPECT_TRUE(std::isnan(table.row("wrong", 3).interval(Metric::log_loss).mean));
  EXPECT_TRUE(table.has("wrong", 3));
  EXPECT_FALSE(table.has("oracle", 3));
  EXPECT_THROW(table.row("oracle", 3), ValueError);
  EXPECT_THROW(table.add("oracle", 5, evaluate_episodes(data, episodes, 7, right)), ValueError);

  // P@5: the oracle and the other find the same likes in lists of at most 2.
  const Interval paired = table.paired("oracle", "wrong", 5, Metric::hr1);
  EXPECT_EQ(paired.users, 3);                // user 2 has no like
  EXPECT_NEAR(paired.mean, 1.0 / 3, 1e-15);  // only user 0 differs
  table.add("other seeds", 5, evaluate_episodes(data, episodes, 9, right));
  EXPECT_THROW(table.paired("oracle", "other seeds", 5, Metric::auc), ValueError);

  EXPECT_EQ(table.to_text(std::vector{Metric::mae}),
            "method        k       MAE        users\n"
            "oracle        0 0.0000 +-0.0000      4\n"
            "oracle        5 0.0000 +-0.0000      4\n"
            "wrong         -               -      4\n"
            "other seeds   5 0.0000 +-0.0000      4\n");
  const nlohmann::json json = to_json(table);
  EXPECT_EQ(json[1]["method"], "oracle");
  EXPECT_EQ(json[1]["k"], 5);
  EXPECT_EQ(json[1]["auc"], 1.0);
  EXPECT_EQ(json[1]["seeds"], 2);
  EXPECT_EQ(json[1]["users"], 4);
  EXPECT_EQ(json[1]["ci95"]["mae"], 0.0);
  EXPECT_TRUE(json[2]["k"].is_null());
  EXPECT_TRUE(json[2]["log_loss"].is_null());
  EXPECT_EQ(paired_json(table, "oracle", "wrong", 5, Metric::hr1)["users"], 3);
}

TEST(Evaluation, RefusesPredictionsOfTheWrongLength) {
  const Dataset data = four_users();
  const std::vector<Episode> episodes = whole_users(data);
  EXPECT_THROW(evaluate_episodes(data, episodes, 0, {{1, 2}, {}, {}}), ValueError);
  EXPECT_THROW(evaluate_episodes(data, episodes, 0, {{1, 2, 3, 4, 5, 6}, {0.5}, {}}), ValueError);
}

}  // namespace
}  // namespace mettle
