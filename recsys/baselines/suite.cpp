// The whole set of baselines, and how a baseline is calibrated and evaluated.
#include <fmt/core.h>

#include <algorithm>

#include "recsys/baselines/baseline.h"
#include "recsys/calibration.h"

namespace mettle {

std::vector<FittedBaseline> fit_baselines(const Dataset& data, const ColdStartSplit& split) {
  std::vector<FittedBaseline> out = {
      fit_random(data, split),
      fit_global_mean(data, split),
      fit_user_mean(data, split),
      fit_popularity(data, split),
      fit_item_mean(data, split),
      fit_shrunk_item_mean(data, split),
      fit_item_mean_user_bias(data, split),
      fit_foldin_mf(data, split),
  };
  const FittedBaseline factors = fit_foldin_mf_genre_prior(data, split);
  const FittedBaseline linear = fit_hierarchical_linear(data, split);
  out.insert(out.end(), {factors, linear, blend(factors, linear)});
  return out;
}

std::vector<ItemRating> support_ratings(const Dataset& data, const Episode& episode, int k) {
  std::vector<ItemRating> out;
  for (const std::int64_t row : episode.first_support(k)) {
    const Rating& rating = data.ratings[static_cast<std::size_t>(row)];
    out.push_back({rating.item, rating.stars});
  }
  return out;
}

std::vector<std::int32_t> query_items(const Dataset& data, const Episode& episode) {
  std::vector<std::int32_t> out;
  for (const std::int64_t row : episode.query)
    out.push_back(data.ratings[static_cast<std::size_t>(row)].item);
  return out;
}

std::vector<double> predict_queries(const Baseline& baseline, const Dataset& data,
                                    std::span<const Episode> episodes, int k) {
  std::vector<double> out;
  for (const Episode& episode : episodes) {
    const std::vector<double> got =
        baseline.predict(support_ratings(data, episode, k), query_items(data, episode));
    out.insert(out.end(), got.begin(), got.end());
  }
  return out;
}

QueryPredictions predict_test(const Baseline& baseline, const Dataset& data,
                              const ColdStartSplit& split, int k) {
  const std::vector<double> seen = predict_queries(baseline, data, split.validation, k);
  const PlattScale like = fit_platt(seen, query_likes(data, split.validation));
  QueryPredictions out;
  out.score = predict_queries(baseline, data, split.test, k);
  for (const double score : out.score) out.like_probability.push_back(like(score));
  if (baseline.predicts_stars()) {
    out.stars = out.score;
    return out;
  }
  const LinearScale line = fit_line(seen, query_stars(data, split.validation));
  for (const double score : out.score) out.stars.push_back(line(score));
  return out;
}

void evaluate_baseline(const Baseline& baseline, const Dataset& data, const ColdStartSplit& split,
                       std::span<const int> support_sizes, EvaluationTable& table,
                       const WorkHooks& hooks) {
  const bool adapts = baseline.uses_support();
  Work work(hooks, fmt::format("{} evaluation", baseline.name()),
            adapts ? std::ssize(support_sizes) : 1);
  const auto evaluate = [&](int k, std::optional<int> shown) {
    table.add(
        baseline.name(), shown,
        evaluate_episodes(data, split.test, split.seed, predict_test(baseline, data, split, k)));
    work.advance();
  };
  if (!adapts) return evaluate(0, std::nullopt);
  for (const int k : support_sizes) evaluate(k, k);
}

}  // namespace mettle
