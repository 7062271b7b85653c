// EvaluationTable as JSON, apart from evaluation.h so that only its users need nlohmann-json.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "recsys/evaluation.h"

namespace mettle {

/// An array of rows: {"method", "k" (null where the support is ignored), one member per metric key
/// with the mean, "ci95": {the same keys: half width}, "users", "episodes", "seeds"}. Undefined
/// values are null.
nlohmann::json to_json(const EvaluationTable& table);

/// {"a", "b", "k", "metric", "difference" (a - b), "ci95", "users", "excludes_zero"}.
nlohmann::json paired_json(const EvaluationTable& table, std::string_view a, std::string_view b,
                           int k, Metric metric);

}  // namespace mettle
