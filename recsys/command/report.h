// What an evaluation reports besides its table: paired differences and summary.json.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "recsys/command/run_facts.h"
#include "recsys/evaluation.h"

namespace mettle::command {

/// What was evaluated.
struct Protocol {
  std::string dataset;
  std::vector<std::uint64_t> seeds;
  std::vector<int> k;
  int draws = 0;
  Device device = {};  // of neural models
};

/// `method` minus `reference` at `k`, episode by episode.
struct Comparison {
  std::string method;
  std::string reference;
  int k = 0;
};

/// Every method that uses the support against each of those references that the table has; a
/// pair of references only once.
std::vector<Comparison> comparisons(const EvaluationTable& table,
                                    const std::vector<std::string>& references, int k);

/// {"dataset", "seed" (the first), "seeds", "k", "draws", facts of the run (see run_facts),
/// "results": rows of the table, "paired": differences of AUC, nDCG@5, log loss and MAE}.
nlohmann::json summary(const EvaluationTable& table, const Protocol& protocol,
                       const std::vector<Comparison>& paired, const Stopwatch& since_start);

/// The comparisons as a table for people.
std::string to_text(const EvaluationTable& table, const std::vector<Comparison>& paired);

}  // namespace mettle::command
