// The training loop that every stage shares: optimizer steps, early stopping with the best
// parameters kept, checkpoints from which a run goes on bit by bit as if it had never stopped.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "engine/check.h"
#include "engine/random.h"
#include "recsys/neural/method.h"
#include "recsys/work.h"

namespace mettle {

/// What one stage of training minimises, and on what.
class TrainingStage {
 public:
  virtual ~TrainingStage() = default;
  virtual std::string_view name() const = 0;
  virtual std::int64_t steps_per_epoch() const = 0;  // the same in every epoch
  /// Draws the order of the epoch's data; depends on `random` alone.
  virtual void begin_epoch(Generator& random) = 0;
  virtual Variable loss(const Learned& learned, std::int64_t step, Generator& random) const = 0;
  /// "users 3, 17, ...": what a step trains on, for messages.
  virtual std::string describe_step(std::int64_t step) const = 0;
  /// Smaller is better; decides which parameters are kept. `tick` is called now and then.
  virtual double validation_loss(const Learned& learned, const Tick& tick) const = 0;
};

struct TrainerOptions {
  int epochs = 10;
  double learning_rate = 2e-3;     // of the weights; falls along a line to a tenth
  double adaptation_rate = 2e-2;   // of Learned::adaptation, alike
  double weight_decay = 0.01;      // of the weights
  double max_gradient_norm = 1.0;  // of the weights' gradient
  int patience = 4;                // epochs without improvement before stopping
};

/// One finished epoch.
struct EpochRecord {
  std::string stage;
  int epoch = 0;            // from 1
  std::int64_t steps = 0;   // made in this stage so far
  double train_loss = 0.0;  // mean over the epoch
  double validation_loss = 0.0;
  double learning_rate = 0.0;
  double seconds = 0.0;  // this epoch took
  bool best = false;     // so far
};

/// A stage that ends before its last epoch, because its validation loss has stopped to fall.
struct EarlyStop {
  std::string stage;
  int epoch = 0;                 // the last one that was trained
  int epochs = 0;                // that were planned
  int best_epoch = 0;            // whose weights are kept; 0: those that the stage began with
  std::int64_t best_steps = 0;   // made in this stage by then
  double validation_loss = 0.0;  // of the best
};

/// "maml stopped early after epoch 7 of 20: ...", one line.
std::string describe(const EarlyStop& stop);

/// Calls from inside of training, any of which may be missing.
struct TrainingHooks {
  std::function<void(const EpochRecord&)> on_epoch;
  std::function<void(const EarlyStop&)> on_early_stop = {};
  WorkHooks work;  // a stage is one piece of work, its optimizer steps are the parts
};

/// The loss or its gradient is NaN or infinite. Names stage, epoch, step, batch and the checkpoint
/// to go back to.
class DivergenceError : public Error {
  using Error::Error;
};

struct TrainingResult {
  Learned best;
  double validation_loss = 0.0;  // of the best
};

/// Trains `initial` by AdamW. With a `checkpoint` path the state is written there after every epoch
/// and before Interrupted leaves, and a run that finds the file goes on from it. `identity` is a
/// JSON object of everything that the result depends on (run_identity()): OtherRunError when the
/// checkpoint was written under another one. Validation before the first step counts, so the result
/// is never worse than `initial`. DivergenceError as above; what the last epoch saved stays.
TrainingResult train_stage(TrainingStage& stage, const Learned& initial,
                           const TrainerOptions& options, std::uint64_t seed,
                           const TrainingHooks& hooks = {},
                           const std::filesystem::path& checkpoint = {},
                           const std::string& identity = "{}");

}  // namespace mettle
