// From predictions to the table that every report prints: per-episode metrics, means with 95 %
// intervals clustered by user, and paired comparisons of methods.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "recsys/cold_start.h"
#include "recsys/intervals.h"

namespace mettle {

/// The metrics of protocol P3, taken on the query list of each episode.
enum class Metric { auc, ndcg5, log_loss, mae, precision5, mrr, hr1 };
inline constexpr std::array kMetrics = {Metric::auc, Metric::ndcg5,      Metric::log_loss,
                                        Metric::mae, Metric::precision5, Metric::mrr,
                                        Metric::hr1};
/// The key used in JSON: "auc", "ndcg5", "log_loss", "mae", "p5", "mrr", "hr1".
std::string_view metric_key(Metric metric);
/// True where a larger value is better.
bool larger_is_better(Metric metric);

/// Values by metric, NaN where undefined for the episode or not predicted by the method.
using MetricValues = std::array<double, kMetrics.size()>;

/// What a method says about the query items of a list of episodes: episode after episode, query
/// items in order, each vector empty or of that total length.
struct QueryPredictions {
  std::vector<double> score;             // ranks; required
  std::vector<double> like_probability;  // optional
  std::vector<double> stars;             // optional
};

struct EpisodeResult {
  std::uint64_t seed = 0;  // of the split
  std::int32_t user = 0;
  std::int32_t draw = 0;
  MetricValues values{};
};

/// Metrics of each episode. ValueError when a length does not fit or a prediction is NaN.
std::vector<EpisodeResult> evaluate_episodes(const Dataset& data, std::span<const Episode> episodes,
                                             std::uint64_t seed,
                                             const QueryPredictions& predictions);

/// True stars and likes of all query items, in the order of QueryPredictions.
std::vector<double> query_stars(const Dataset& data, std::span<const Episode> episodes);
std::vector<std::uint8_t> query_likes(const Dataset& data, std::span<const Episode> episodes);

/// Results of several methods over support sizes and seeds.
class EvaluationTable {
 public:
  /// One line: a method at a support size; no `k` for a method that ignores the support.
  struct Row {
    std::string method;
    std::optional<int> k;
    std::vector<EpisodeResult> results;

    Interval interval(Metric metric) const;
    std::int64_t user_count() const;
    std::int64_t seed_count() const;
  };

  /// Appends the results of one split; call it once per seed. ValueError when the seed is there
  /// already.
  void add(std::string_view method, std::optional<int> k, std::span<const EpisodeResult> results);

  /// In order of the methods' first appearance, then by k.
  std::vector<const Row*> rows() const;
  /// The row of `method` at `k`, or its row without k. ValueError when there is neither.
  const Row& row(std::string_view method, int k) const;
  bool has(std::string_view method, int k) const;

  /// Mean and interval of a - b at `k` over the episodes (seed, user, draw) of both, which must be
  /// the same: ValueError otherwise. An episode where either is NaN is left out.
  Interval paired(std::string_view a, std::string_view b, int k, Metric metric) const;

  /// Aligned columns "mean +-half" for `metrics`, one line per row; k is "-" where a method ignores
  /// the support. Plain ASCII.
  std::string to_text(std::span<const Metric> metrics) const;
  std::string to_text() const;  // AUC, nDCG@5, log loss, MAE

 private:
  using Key = std::pair<std::size_t, std::optional<int>>;  // position in methods_, k

  std::size_t method_number(std::string_view method) const;  // methods_.size() when unknown
  const Row* find(std::string_view method, int k) const;

  std::vector<std::string> methods_;
  std::map<Key, Row> rows_;
};

}  // namespace mettle
