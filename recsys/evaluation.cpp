// Episode metrics, aggregation and the text table.
#include "recsys/evaluation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <tuple>

#include "engine/check.h"
#include "recsys/metrics.h"

namespace mettle {
namespace {

constexpr int kCutoff = 5;

struct MetricInfo {
  std::string_view key, title;
  bool larger_is_better;
};

MetricInfo info(Metric metric) {
  switch (metric) {
    case Metric::auc: return {"auc", "AUC", true};
    case Metric::ndcg5: return {"ndcg5", "nDCG@5", true};
    case Metric::log_loss: return {"log_loss", "log loss", false};
    case Metric::mae: return {"mae", "MAE", false};
    case Metric::precision5: return {"p5", "P@5", true};
    case Metric::mrr: return {"mrr", "MRR", true};
    case Metric::hr1: return {"hr1", "HR@1", true};
  }
  fail<ValueError>("metric: unknown number {}", static_cast<int>(metric));
}

double& value_of(MetricValues& values, Metric metric) {
  return values[static_cast<std::size_t>(metric)];
}
double value_of(const MetricValues& values, Metric metric) {
  return values[static_cast<std::size_t>(metric)];
}

std::size_t query_total(std::span<const Episode> episodes) {
  std::size_t total = 0;
  for (const Episode& episode : episodes) total += episode.query.size();
  return total;
}

void check_predictions(std::size_t total, const QueryPredictions& predictions) {
  const auto fits = [&](const std::vector<double>& v) { return v.empty() || v.size() == total; };
  METTLE_CHECK(ValueError,
               predictions.score.size() == total && fits(predictions.like_probability) &&
                   fits(predictions.stars),
               "evaluation: {} scores, {} probabilities and {} ratings for {} query items",
               predictions.score.size(), predictions.like_probability.size(),
               predictions.stars.size(), total);
}

// The part of `all` that belongs to one episode; empty when the method does not predict it.
std::span<const double> part(const std::vector<double>& all, std::size_t begin, std::size_t count) {
  return all.empty() ? std::span<const double>() : std::span(all).subspan(begin, count);
}

std::string format_cell(const Interval& cell) {
  if (std::isnan(cell.mean)) return "-";
  if (std::isnan(cell.half)) return fmt::format("{:.4f}", cell.mean);
  return fmt::format("{:.4f} +-{:.4f}", cell.mean, cell.half);
}

auto episode_key(const EpisodeResult& result) {
  return std::tuple(result.seed, result.user, result.draw);
}

std::vector<const EpisodeResult*> in_key_order(const EvaluationTable::Row& row) {
  std::vector<const EpisodeResult*> out;
  for (const EpisodeResult& result : row.results) out.push_back(&result);
  std::sort(out.begin(), out.end(),
            [](const auto* a, const auto* b) { return episode_key(*a) < episode_key(*b); });
  return out;
}

}  // namespace

std::string_view metric_key(Metric metric) { return info(metric).key; }
bool larger_is_better(Metric metric) { return info(metric).larger_is_better; }

std::vector<double> query_stars(const Dataset& data, std::span<const Episode> episodes) {
  std::vector<double> stars;
  stars.reserve(query_total(episodes));
  for (const Episode& episode : episodes)
    for (const std::int64_t row : episode.query)
      stars.push_back(data.ratings[static_cast<std::size_t>(row)].stars);
  return stars;
}

std::vector<std::uint8_t> query_likes(const Dataset& data, std::span<const Episode> episodes) {
  std::vector<std::uint8_t> likes;
  for (const double stars : query_stars(data, episodes)) likes.push_back(is_like(stars) ? 1 : 0);
  return likes;
}

std::vector<EpisodeResult> evaluate_episodes(const Dataset& data, std::span<const Episode> episodes,
                                             std::uint64_t seed,
                                             const QueryPredictions& predictions) {
  check_predictions(query_total(episodes), predictions);
  const std::vector<double> stars = query_stars(data, episodes);
  const std::vector<std::uint8_t> likes = query_likes(data, episodes);
  std::vector<EpisodeResult> results;
  std::size_t begin = 0;
  for (const Episode& episode : episodes) {
    const std::size_t count = episode.query.size();
    const Likes liked = std::span(likes).subspan(begin, count);
    const auto score = part(predictions.score, begin, count);
    const auto probability = part(predictions.like_probability, begin, count);
    const auto rating = part(predictions.stars, begin, count);
    const std::vector<std::uint8_t> ranked = ranked_likes(score, liked);
    EpisodeResult result{seed, episode.user, episode.draw, {}};
    result.values.fill(std::numeric_limits<double>::quiet_NaN());
    value_of(result.values, Metric::auc) = auc(score, liked);
    value_of(result.values, Metric::ndcg5) = ndcg_at(ranked, kCutoff);
    value_of(result.values, Metric::precision5) = precision_at(ranked, kCutoff);
    value_of(result.values, Metric::mrr) = reciprocal_rank_at(ranked, static_cast<int>(count));
    value_of(result.values, Metric::hr1) = hit_rate_at(ranked, 1);
    if (!probability.empty())
      value_of(result.values, Metric::log_loss) = log_loss(probability, liked);
    if (!rating.empty())
      value_of(result.values, Metric::mae) = mean_absolute_error(
          rating, std::span(stars).subspan(begin, count), data.stars.low, data.stars.high);
    results.push_back(result);
    begin += count;
  }
  return results;
}

Interval EvaluationTable::Row::interval(Metric metric) const {
  std::vector<double> values;
  std::vector<std::int32_t> users;
  for (const EpisodeResult& result : results) {
    values.push_back(value_of(result.values, metric));
    users.push_back(result.user);
  }
  return clustered_interval(values, users);
}

std::int64_t EvaluationTable::Row::user_count() const {
  std::set<std::int32_t> users;
  for (const EpisodeResult& result : results) users.insert(result.user);
  return std::ssize(users);
}

std::int64_t EvaluationTable::Row::seed_count() const {
  std::set<std::uint64_t> seeds;
  for (const EpisodeResult& result : results) seeds.insert(result.seed);
  return std::ssize(seeds);
}

std::size_t EvaluationTable::method_number(std::string_view method) const {
  return static_cast<std::size_t>(std::find(methods_.begin(), methods_.end(), method) -
                                  methods_.begin());
}

void EvaluationTable::add(std::string_view method, std::optional<int> k,
                          std::span<const EpisodeResult> results) {
  const Key key{method_number(method), k};
  const auto found = rows_.find(key);
  if (found != rows_.end()) {
    std::set<std::uint64_t> seeds;
    for (const EpisodeResult& result : found->second.results) seeds.insert(result.seed);
    for (const EpisodeResult& result : results)
      METTLE_CHECK(ValueError, !seeds.contains(result.seed),
                   "evaluation: '{}' already has results of seed {}", method, result.seed);
  }
  if (key.first == methods_.size()) methods_.emplace_back(method);
  Row& row = rows_[key];
  row.method = method;
  row.k = k;
  row.results.insert(row.results.end(), results.begin(), results.end());
}

std::vector<const EvaluationTable::Row*> EvaluationTable::rows() const {
  std::vector<const Row*> out;
  for (const auto& [key, row] : rows_) out.push_back(&row);
  return out;
}

const EvaluationTable::Row* EvaluationTable::find(std::string_view method, int k) const {
  const std::size_t number = method_number(method);
  for (const std::optional<int> wanted : {std::optional<int>(k), std::optional<int>()}) {
    const auto found = rows_.find({number, wanted});
    if (found != rows_.end()) return &found->second;
  }
  return nullptr;
}

bool EvaluationTable::has(std::string_view method, int k) const { return find(method, k); }

const EvaluationTable::Row& EvaluationTable::row(std::string_view method, int k) const {
  const Row* found = find(method, k);
  METTLE_CHECK(ValueError, found != nullptr, "evaluation: no results of '{}' at k = {}", method, k);
  return *found;
}

Interval EvaluationTable::paired(std::string_view a, std::string_view b, int k,
                                 Metric metric) const {
  const auto left = in_key_order(row(a, k)), right = in_key_order(row(b, k));
  const bool same =
      std::equal(left.begin(), left.end(), right.begin(), right.end(),
                 [](const auto* x, const auto* y) { return episode_key(*x) == episode_key(*y); });
  METTLE_CHECK(ValueError, same,
               "evaluation: '{}' ({} episodes) and '{}' ({} episodes) at k = {} were not evaluated "
               "on the same seeds, users and draws",
               a, left.size(), b, right.size(), k);
  std::vector<double> differences;
  std::vector<std::int32_t> users;
  for (std::size_t i = 0; i < left.size(); ++i) {
    differences.push_back(value_of(left[i]->values, metric) - value_of(right[i]->values, metric));
    users.push_back(left[i]->user);
  }
  return clustered_interval(differences, users);
}

std::string EvaluationTable::to_text() const {
  constexpr Metric kShown[] = {Metric::auc, Metric::ndcg5, Metric::log_loss, Metric::mae};
  return to_text(kShown);
}

std::string EvaluationTable::to_text(std::span<const Metric> metrics) const {
  constexpr std::size_t kCell = 15;  // "0.7134 +-0.0074"
  std::size_t width = std::string_view("method").size();
  for (const std::string& method : methods_) width = std::max(width, method.size());
  std::string out = fmt::format("{:<{}} {:>3}", "method", width, "k");
  for (const Metric metric : metrics) out += fmt::format(" {:^{}}", info(metric).title, kCell);
  out += fmt::format(" {:>6}\n", "users");
  for (const auto& [key, row] : rows_) {
    out += fmt::format("{:<{}} {:>3}", row.method, width, row.k ? std::to_string(*row.k) : "-");
    for (const Metric metric : metrics)
      out += fmt::format(" {:>{}}", format_cell(row.interval(metric)), kCell);
    out += fmt::format(" {:>6}\n", row.user_count());
  }
  return out;
}

}  // namespace mettle
