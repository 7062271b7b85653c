// summary.json.
#include "recsys/command/report.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "recsys/evaluation_json.h"

namespace mettle::command {
namespace {

constexpr Metric kCompared[] = {Metric::auc, Metric::ndcg5, Metric::log_loss, Metric::mae};

}  // namespace

std::vector<Comparison> comparisons(const EvaluationTable& table,
                                    const std::vector<std::string>& references, int k) {
  std::vector<Comparison> out;
  for (auto reference = references.begin(); reference != references.end(); ++reference) {
    if (!table.has(*reference, k)) continue;
    // Its difference to an earlier reference stands there already.
    const auto compared_before = [&](const std::string& method) {
      return std::find(references.begin(), reference + 1, method) != reference + 1;
    };
    for (const EvaluationTable::Row* row : table.rows())
      if (row->k == k && !compared_before(row->method)) out.push_back({row->method, *reference, k});
  }
  return out;
}

nlohmann::json summary(const EvaluationTable& table, const Protocol& protocol,
                       const std::vector<Comparison>& paired, const Stopwatch& since_start) {
  nlohmann::json out = run_facts(since_start, protocol.device);
  out["dataset"] = protocol.dataset;
  out["seed"] = protocol.seeds.front();
  out["seeds"] = protocol.seeds;
  out["k"] = protocol.k;
  out["draws"] = protocol.draws;
  out["results"] = to_json(table);
  out["paired"] = nlohmann::json::array();
  for (const Comparison& c : paired)
    for (const Metric metric : kCompared)
      out["paired"].push_back(paired_json(table, c.method, c.reference, c.k, metric));
  return out;
}

std::string to_text(const EvaluationTable& table, const std::vector<Comparison>& paired) {
  std::string out;
  const Comparison* last = nullptr;
  for (const Comparison& c : paired) {
    if (!last || last->reference != c.reference)
      out += fmt::format(
          "{}minus {} at k = {}, paired; * marks an interval without 0\n{:<28}{:>19}"
          "{:>19}{:>19}{:>19}\n",
          last ? "\n" : "", c.reference, c.k, "", "AUC", "nDCG@5", "log loss", "MAE");
    out += fmt::format("{:<28}", c.method);
    for (const Metric metric : kCompared) {
      const Interval difference = table.paired(c.method, c.reference, c.k, metric);
      out += fmt::format(" {:>+8.4f} +-{:.4f}{}", difference.mean, difference.half,
                         difference.excludes_zero() ? '*' : ' ');
    }
    out += '\n';
    last = &c;
  }
  return out;
}

}  // namespace mettle::command
