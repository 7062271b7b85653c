// Everything that the rest of a training run depends on, and its checkpoint.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "models/checkpoint.h"
#include "models/optimizer.h"
#include "recsys/neural/trainer.h"

namespace mettle {

struct TrainerState {
  Learned current, best;
  std::unique_ptr<AdamW> weights_optimizer, adaptation_optimizer;
  Generator epoch_random, random;  // as the epoch began, and now
  std::int64_t epoch = 0;          // finished epochs
  std::int64_t step = 0;           // finished steps of the epoch that runs
  double loss_sum = 0.0;           // of its steps
  double best_loss = 0.0;
  std::int64_t bad_epochs = 0;  // since the best

  TrainerState(const Learned& initial, const TrainerOptions& options, std::uint64_t seed);
};

/// Replaces the file in one step. Errors as save_checkpoint().
void save_state(const TrainerState& state, std::string_view identity,
                const std::filesystem::path& file);
/// FileError, naming what does not fit, when the file is damaged or another run wrote it.
void load_state(TrainerState& state, const std::string& identity,
                const std::filesystem::path& file);
/// The same from a checkpoint that was read from the file `name`.
void restore_state(TrainerState& state, const Checkpoint& saved, const std::string& identity,
                   const std::string& name);

}  // namespace mettle
