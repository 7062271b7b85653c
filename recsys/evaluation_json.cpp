// EvaluationTable as JSON.
#include "recsys/evaluation_json.h"

#include <cmath>
#include <nlohmann/json.hpp>

namespace mettle {
namespace {

nlohmann::json number_or_null(double value) {
  return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(nullptr);
}

nlohmann::json row_json(const EvaluationTable::Row& row) {
  nlohmann::json out;
  out["method"] = row.method;
  out["k"] = row.k ? nlohmann::json(*row.k) : nlohmann::json(nullptr);
  for (const Metric metric : kMetrics) {
    const std::string key(metric_key(metric));
    const Interval interval = row.interval(metric);
    out[key] = number_or_null(interval.mean);
    out["ci95"][key] = number_or_null(interval.half);
  }
  out["users"] = row.user_count();
  out["episodes"] = row.results.size();
  out["seeds"] = row.seed_count();
  return out;
}

}  // namespace

nlohmann::json to_json(const EvaluationTable& table) {
  nlohmann::json out = nlohmann::json::array();
  for (const EvaluationTable::Row* row : table.rows()) out.push_back(row_json(*row));
  return out;
}

nlohmann::json paired_json(const EvaluationTable& table, std::string_view a, std::string_view b,
                           int k, Metric metric) {
  const Interval difference = table.paired(a, b, k, metric);
  return {{"a", a},
          {"b", b},
          {"k", k},
          {"metric", metric_key(metric)},
          {"difference", number_or_null(difference.mean)},
          {"ci95", number_or_null(difference.half)},
          {"users", difference.users},
          {"excludes_zero", difference.excludes_zero()}};
}

}  // namespace mettle
