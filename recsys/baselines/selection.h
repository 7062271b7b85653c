// Choosing hyper-parameters on validation users.
#pragma once

#include <limits>
#include <optional>
#include <span>
#include <utility>

#include "engine/check.h"
#include "recsys/baselines/baseline.h"

namespace mettle {

/// Support sizes over which the choice is averaged.
inline constexpr int kNoSupport[] = {0};
inline constexpr int kSmallSupports[] = {1, 3, 5, 10};
inline constexpr int kLargeSupports[] = {3, 5, 10};

/// Squared error in stars of `predict(support, items)` on the query items, mean over episodes and
/// those support sizes that the episodes have.
template <class Predict>
double squared_error(const Dataset& data, std::span<const Episode> episodes,
                     std::span<const int> support_sizes, const Predict& predict) {
  double sum = 0.0, count = 0.0;
  for (const Episode& episode : episodes) {
    const std::vector<std::int32_t> items = query_items(data, episode);
    for (const int k : support_sizes) {
      if (static_cast<std::size_t>(k) > episode.support.size()) continue;
      const std::vector<double> got = predict(support_ratings(data, episode, k), items);
      for (std::size_t i = 0; i < items.size(); ++i) {
        const double stars = data.ratings[static_cast<std::size_t>(episode.query[i])].stars;
        sum += (got[i] - stars) * (got[i] - stars);
        count += 1.0;
      }
    }
  }
  return count > 0.0 ? sum / count : 0.0;
}

/// The model made by `make(candidate)` with the smallest `error(model)`; the first of equals.
/// Throws ValueError without candidates.
template <class Candidates, class Make, class Error>
auto select_best(const Candidates& candidates, const Make& make, const Error& error) {
  using Model = decltype(make(*std::begin(candidates)));
  std::optional<Model> best;
  double best_error = std::numeric_limits<double>::infinity();
  for (const auto& candidate : candidates) {
    Model model = make(candidate);
    const double value = error(model);
    if (best && value >= best_error) continue;
    best = std::move(model);
    best_error = value;
  }
  METTLE_CHECK(ValueError, best.has_value(), "select_best: there are no candidates");
  return std::move(*best);
}

}  // namespace mettle
