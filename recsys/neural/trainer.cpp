// Epochs of optimizer steps with early stopping.
#include "recsys/neural/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "autograd/grad.h"
#include "models/clip.h"
#include "models/schedule.h"
#include "recsys/neural/trainer_state.h"

namespace mettle {
namespace {

constexpr double kLastRate = 0.1;  // of the learning rate, in the last epoch
constexpr double kSmallestImprovement = 1e-5;

class Trainer {
 public:
  Trainer(TrainingStage& stage, const Learned& initial, const TrainerOptions& options,
          std::uint64_t seed, const TrainingHooks& hooks, const std::filesystem::path& checkpoint,
          const std::string& identity)
      : stage_(stage),
        options_(options),
        hooks_(hooks),
        checkpoint_(checkpoint),
        identity_(identity),
        rate_(linear_decay(options.epochs, kLastRate)),
        state_(initial, options, seed) {}

  TrainingResult run() {
    const std::int64_t steps = stage_.steps_per_epoch();
    saved_ = !checkpoint_.empty() && std::filesystem::exists(checkpoint_);
    if (saved_) resume(steps);
    Work work(hooks_.work, std::string(stage_.name()), options_.epochs * steps,
              state_.epoch * steps + state_.step);
    try {
      if (!saved_) state_.best_loss = validation_loss(state_.best, work);
      while (state_.epoch < options_.epochs && state_.bad_epochs < options_.patience)
        run_epoch(steps, work);
      if (state_.epoch < options_.epochs) stop_early(steps, work);
    } catch (const Interrupted&) {
      if (state_.step > 0) save();
      throw;
    }
    return {std::move(state_.best), state_.best_loss};
  }

 private:
  void resume(std::int64_t steps) {
    load_state(state_, identity_, checkpoint_);
    METTLE_CHECK(FileError, state_.step <= steps,
                 "{}: begun at step {} of an epoch of {}; remove the file to begin anew",
                 checkpoint_.string(), state_.step, steps);
  }

  void run_epoch(std::int64_t steps, Work& work) {
    const auto start = std::chrono::steady_clock::now();
    if (state_.step == 0) state_.epoch_random = state_.random;
    Generator order = state_.epoch_random;
    stage_.begin_epoch(order);
    if (state_.step == 0) state_.random = order;
    while (state_.step < steps) {
      const double loss = make_step();
      state_.loss_sum += loss;
      ++state_.step;
      work.set_loss(loss);
      work.advance();
    }
    const double validation = validation_loss(state_.current, work);
    finish_epoch(steps, validation,
                 std::chrono::duration<double>(std::chrono::steady_clock::now() - start));
  }

  // What is left of the plan is no work any more.
  void stop_early(std::int64_t steps, Work& work) const {
    const std::int64_t best = state_.epoch - state_.bad_epochs;
    work.set_total(state_.epoch * steps);
    work.advance(0);
    if (hooks_.on_early_stop)
      hooks_.on_early_stop({.stage = std::string(stage_.name()),
                            .epoch = static_cast<int>(state_.epoch),
                            .epochs = options_.epochs,
                            .best_epoch = static_cast<int>(best),
                            .best_steps = best * steps,
                            .validation_loss = state_.best_loss});
  }

  double validation_loss(const Learned& learned, Work& work) const {
    return stage_.validation_loss(learned, [&work] { work.advance(0); });
  }

  double make_step() {
    const Learned& learned = state_.current;
    const Variable loss = stage_.loss(learned, state_.step, state_.random);
    const double value = loss.item();
    require_finite(value, "loss");
    Variables all = learned.weights.values();
    all.insert(all.end(), learned.adaptation.values().begin(), learned.adaptation.values().end());
    const Variables gradients = grad(loss, all, {.allow_unused = true});
    const std::span of_weights = std::span(gradients).first(learned.weights.size());
    const std::span of_adaptation = std::span(gradients).subspan(learned.weights.size());
    const double norm = gradient_norm(of_weights);
    require_finite(norm, "gradient's norm");
    require_finite(gradient_norm(of_adaptation), "norm of the adaptation's gradient");
    const double factor = rate_(state_.epoch);
    state_.weights_optimizer->step(learned.weights.values(), of_weights,
                                   options_.learning_rate * factor,
                                   clip_factor(norm, options_.max_gradient_norm));
    state_.adaptation_optimizer->step(learned.adaptation.values(), of_adaptation,
                                      options_.adaptation_rate * factor);
    return value;
  }

  void require_finite(double value, const char* what) const {
    METTLE_CHECK(DivergenceError, std::isfinite(value),
                 "training '{}': the {} is {} in epoch {}, step {} ({}); {}", stage_.name(), what,
                 value, state_.epoch + 1, state_.step + 1, stage_.describe_step(state_.step),
                 saved_ ? fmt::format("the last good state is in {}", checkpoint_.string())
                        : std::string("no checkpoint was written before; lower the learning rate"));
  }

  void finish_epoch(std::int64_t steps, double validation, std::chrono::duration<double> seconds) {
    EpochRecord record{.stage = std::string(stage_.name()),
                       .epoch = static_cast<int>(state_.epoch) + 1,
                       .steps = (state_.epoch + 1) * steps,
                       .train_loss = state_.loss_sum / static_cast<double>(steps),
                       .validation_loss = validation,
                       .learning_rate = options_.learning_rate * rate_(state_.epoch),
                       .seconds = seconds.count(),
                       .best = false};
    require_finite(record.validation_loss, "validation loss");
    record.best = record.validation_loss < state_.best_loss - kSmallestImprovement;
    if (record.best) {
      state_.best_loss = record.validation_loss;
      state_.best = {state_.current.weights.trainable_copy(),
                     state_.current.adaptation.trainable_copy()};
    }
    state_.bad_epochs = record.best ? 0 : state_.bad_epochs + 1;
    ++state_.epoch;
    state_.step = 0;
    state_.loss_sum = 0.0;
    save();
    if (hooks_.on_epoch) hooks_.on_epoch(record);
  }

  void save() {
    if (checkpoint_.empty()) return;
    save_state(state_, identity_, checkpoint_);
    saved_ = true;
  }

  TrainingStage& stage_;
  const TrainerOptions& options_;
  const TrainingHooks& hooks_;
  const std::filesystem::path& checkpoint_;
  const std::string& identity_;
  Schedule rate_;
  TrainerState state_;
  bool saved_ = false;
};

}  // namespace

std::string describe(const EarlyStop& stop) {
  const std::string best = stop.best_epoch > 0
                               ? fmt::format("epoch {} (step {})", stop.best_epoch, stop.best_steps)
                               : std::string("the start of the stage");
  return fmt::format(
      "{} stopped early after epoch {} of {}: {} was best, validation {:.4f}; its weights are "
      "restored",
      stop.stage, stop.epoch, stop.epochs, best, stop.validation_loss);
}

TrainingResult train_stage(TrainingStage& stage, const Learned& initial,
                           const TrainerOptions& options, std::uint64_t seed,
                           const TrainingHooks& hooks, const std::filesystem::path& checkpoint,
                           const std::string& identity) {
  METTLE_CHECK(ValueError, options.epochs >= 1 && options.patience >= 1,
               "training '{}': {} epochs and a patience of {}: both must be at least 1",
               stage.name(), options.epochs, options.patience);
  return Trainer(stage, initial, options, seed, hooks, checkpoint, identity).run();
}

}  // namespace mettle
