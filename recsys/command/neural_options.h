// Options of the neural recommender, shared by `train` and `evaluate`, and the split they imply.
#pragma once

#include <CLI/CLI.hpp>

#include <string>
#include <vector>

#include "recsys/cold_start.h"
#include "recsys/neural/training.h"

namespace mettle::command {

void add_neural_options(CLI::App& subcommand, NeuralTrainingOptions& options);

/// InputError for sizes that make no model, before any work.
void check_sizes(const NeuralTrainingOptions& options);
/// InputError when one of these methods is meta-trained and the split has too few training users.
void check_tasks(const NeuralTrainingOptions& options, const ColdStartSplit& split,
                 const std::vector<std::string>& methods);

/// The largest support size that a model file answers for: a larger one changes which users have
/// enough ratings to be held out.
inline constexpr int kModelSupport = ColdStartOptions{}.max_support;

/// The users that a model of this seed was and was not trained on. InputError when the data has too
/// few.
ColdStartSplit split_users(const Dataset& data, std::uint64_t seed, int draws, int max_support);

}  // namespace mettle::command
