// Training states as checkpoints.
#include "recsys/neural/trainer_state.h"

#include <charconv>
#include <cmath>
#include <concepts>

#include "recsys/neural/run_identity.h"

namespace mettle {
namespace {

Learned own_copy(const Learned& learned) {
  return {learned.weights.trainable_copy(), learned.adaptation.trainable_copy()};
}

std::string to_note(std::integral auto value) { return fmt::format("{}", value); }
// Seventeen digits tell any two doubles apart.
std::string to_note(double value) { return fmt::format("{:.17g}", value); }

class Notes {
 public:
  Notes(const Checkpoint& checkpoint, const std::string& file)
      : checkpoint_(checkpoint), file_(file) {}

  template <class T> void take(const char* name, T& value) const {
    const auto found = checkpoint_.notes.find(name);
    METTLE_CHECK(FileError, found != checkpoint_.notes.end(), "{}: no note '{}'", file_, name);
    const std::string& text = found->second;
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    METTLE_CHECK(FileError, error == std::errc() && stop == end, "{}: note '{}' is '{}', no number",
                 file_, name, text);
  }

 private:
  const Checkpoint& checkpoint_;
  const std::string& file_;
};

void restore(TrainerState& state, const Checkpoint& saved, const std::string& file) {
  const auto group = [&](const char* name) -> const NamedTensors& {
    const auto found = saved.tensors.find(name);
    static const NamedTensors none;  // a group without tensors is not written
    return found != saved.tensors.end() ? found->second : none;
  };
  state.current = own_copy({params_like(state.current.weights, group("weights")),
                            params_like(state.current.adaptation, group("adaptation"))});
  state.best = own_copy({params_like(state.best.weights, group("best_weights")),
                         params_like(state.best.adaptation, group("best_adaptation"))});
  state.weights_optimizer->restore(group("weights_optimizer"));
  state.adaptation_optimizer->restore(group("adaptation_optimizer"));
  state.random = saved.generator;
  const Notes notes(saved, file);
  std::uint64_t seed = 0, offset = 0;
  notes.take("epoch_random.seed", seed);
  notes.take("epoch_random.offset", offset);
  state.epoch_random = Generator(seed, offset);
  notes.take("epoch", state.epoch);
  notes.take("step_of_epoch", state.step);
  notes.take("loss_sum", state.loss_sum);
  notes.take("best_loss", state.best_loss);
  notes.take("bad_epochs", state.bad_epochs);
  METTLE_CHECK(FileError,
               state.epoch >= 0 && state.step >= 0 && state.bad_epochs >= 0 &&
                   std::isfinite(state.loss_sum) && std::isfinite(state.best_loss),
               "{}: epoch {}, step {}, {} bad epochs, losses {} and {} are no state of a training; "
               "remove the file to begin anew",
               file, state.epoch, state.step, state.bad_epochs, state.loss_sum, state.best_loss);
}

}  // namespace

TrainerState::TrainerState(const Learned& initial, const TrainerOptions& options,
                           std::uint64_t seed)
    : current(own_copy(initial)),
      best(own_copy(initial)),
      weights_optimizer(std::make_unique<AdamW>(current.weights,
                                                AdamOptions{.weight_decay = options.weight_decay})),
      adaptation_optimizer(std::make_unique<AdamW>(current.adaptation)),
      epoch_random(seed),
      random(seed) {}

void save_state(const TrainerState& state, std::string_view identity,
                const std::filesystem::path& file) {
  Checkpoint checkpoint;
  checkpoint.generator = state.random;
  checkpoint.configuration = identity;
  checkpoint.notes = {{"epoch", to_note(state.epoch)},
                      {"step_of_epoch", to_note(state.step)},
                      {"loss_sum", to_note(state.loss_sum)},
                      {"best_loss", to_note(state.best_loss)},
                      {"bad_epochs", to_note(state.bad_epochs)},
                      {"epoch_random.seed", to_note(state.epoch_random.seed())},
                      {"epoch_random.offset", to_note(state.epoch_random.offset())}};
  checkpoint.tensors = {{"weights", named_tensors(state.current.weights)},
                        {"adaptation", named_tensors(state.current.adaptation)},
                        {"best_weights", named_tensors(state.best.weights)},
                        {"best_adaptation", named_tensors(state.best.adaptation)},
                        {"weights_optimizer", state.weights_optimizer->state()},
                        {"adaptation_optimizer", state.adaptation_optimizer->state()}};
  save_checkpoint(file, checkpoint);
}

void load_state(TrainerState& state, const std::string& identity,
                const std::filesystem::path& file) {
  restore_state(state, load_checkpoint(file), identity, file.string());
}

void restore_state(TrainerState& state, const Checkpoint& saved, const std::string& identity,
                   const std::string& name) {
  require_same_run(saved.configuration, identity, name);
  try {
    restore(state, saved, name);
  } catch (const FileError&) {
    throw;
  } catch (const Error& error) {
    fail<FileError>("{}: {}", name, error.message());
  }
}

}  // namespace mettle
