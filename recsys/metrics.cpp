// Ranking, probability and rating metrics of one list.
#include "recsys/metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "engine/check.h"

namespace mettle {
namespace {

constexpr double kUndefined = std::numeric_limits<double>::quiet_NaN();

void check_lengths(std::size_t a, std::size_t b) {
  METTLE_CHECK(ValueError, a == b && a > 0, "metric: {} predictions for {} items", a, b);
}

void check_cutoff(int k) { METTLE_CHECK(ValueError, k >= 1, "metric: cut-off {} is below 1", k); }

// Order by falling score, not liked before liked among equals.
std::vector<std::size_t> rank(std::span<const double> scores, Likes likes) {
  check_lengths(scores.size(), likes.size());
  METTLE_CHECK(ValueError,
               std::none_of(scores.begin(), scores.end(), [](double s) { return std::isnan(s); }),
               "metric: a score is NaN");
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return scores[a] != scores[b] ? scores[a] > scores[b] : likes[a] < likes[b];
  });
  return order;
}

std::size_t count_likes(Likes likes) {
  return static_cast<std::size_t>(
      std::count_if(likes.begin(), likes.end(), [](auto l) { return l; }));
}

double discount(std::size_t position) {
  return 1.0 / std::log2(static_cast<double>(position) + 2.0);
}

// Position of the first like, from 0; the length of the list if there is none.
std::size_t first_like(Likes ranked) {
  return static_cast<std::size_t>(
      std::find_if(ranked.begin(), ranked.end(), [](auto l) { return l; }) - ranked.begin());
}

}  // namespace

std::vector<std::uint8_t> ranked_likes(std::span<const double> scores, Likes likes) {
  std::vector<std::uint8_t> out;
  out.reserve(likes.size());
  for (const std::size_t i : rank(scores, likes)) out.push_back(likes[i]);
  return out;
}

double auc(std::span<const double> scores, Likes likes) {
  const std::vector<std::size_t> order = rank(scores, likes);
  const auto positives = static_cast<double>(count_likes(likes));
  const double negatives = static_cast<double>(likes.size()) - positives;
  if (positives == 0 || negatives == 0) return kUndefined;
  double wins = 0, negatives_above = 0;
  for (std::size_t begin = 0, end; begin < order.size(); begin = end) {
    double liked = 0, unliked = 0;  // among the items of this score
    for (end = begin; end < order.size() && scores[order[end]] == scores[order[begin]]; ++end)
      (likes[order[end]] ? liked : unliked) += 1.0;
    wins += liked * (negatives - negatives_above - unliked + 0.5 * unliked);
    negatives_above += unliked;
  }
  return wins / (positives * negatives);
}

double ndcg_at(Likes ranked, int k) {
  check_cutoff(k);
  const std::size_t likes = count_likes(ranked);
  if (likes == 0) return kUndefined;
  double gain = 0, best = 0;
  for (std::size_t i = 0; i < std::min(ranked.size(), static_cast<std::size_t>(k)); ++i) {
    if (ranked[i]) gain += discount(i);
    if (i < likes) best += discount(i);
  }
  return gain / best;
}

double precision_at(Likes ranked, int k) {
  check_cutoff(k);
  const auto cut = std::min(ranked.size(), static_cast<std::size_t>(k));
  return static_cast<double>(count_likes(ranked.first(cut))) / k;
}

double reciprocal_rank_at(Likes ranked, int k) {
  check_cutoff(k);
  const std::size_t first = first_like(ranked);
  if (first == ranked.size()) return kUndefined;
  return first < static_cast<std::size_t>(k) ? 1.0 / static_cast<double>(first + 1) : 0.0;
}

double hit_rate_at(Likes ranked, int k) {
  check_cutoff(k);
  const std::size_t first = first_like(ranked);
  if (first == ranked.size()) return kUndefined;
  return first < static_cast<std::size_t>(k) ? 1.0 : 0.0;
}

double log_loss(std::span<const double> probabilities, Likes likes) {
  constexpr double kClip = 1e-6;
  check_lengths(probabilities.size(), likes.size());
  double sum = 0;
  for (std::size_t i = 0; i < likes.size(); ++i) {
    METTLE_CHECK(ValueError, !std::isnan(probabilities[i]), "metric: a probability is NaN");
    const double p = std::clamp(probabilities[i], kClip, 1.0 - kClip);
    sum -= std::log(likes[i] ? p : 1.0 - p);
  }
  return sum / static_cast<double>(likes.size());
}

double mean_absolute_error(std::span<const double> predictions, std::span<const double> stars,
                           double low, double high) {
  check_lengths(predictions.size(), stars.size());
  double sum = 0;
  for (std::size_t i = 0; i < stars.size(); ++i) {
    METTLE_CHECK(ValueError, !std::isnan(predictions[i]), "metric: a predicted rating is NaN");
    sum += std::abs(std::clamp(predictions[i], low, high) - stars[i]);
  }
  return sum / static_cast<double>(stars.size());
}

}  // namespace mettle
