// Training states as checkpoints.
#include "recsys/neural/trainer_state.h"

#include <charconv>
#include <concepts>

#include "models/checkpoint.h"

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
  Notes(const Checkpoint& checkpoint, const std::filesystem::path& file)
      : checkpoint_(checkpoint), file_(file) {}

  template <class T> void take(const char* name, T& value) const {
    const auto found = checkpoint_.notes.find(name);
    METTLE_CHECK(FileError, found != checkpoint_.notes.end(), "{}: no note '{}'", file_.string(),
                 name);
    const std::string& text = found->second;
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    METTLE_CHECK(FileError, error == std::errc() && stop == end, "{}: note '{}' is '{}', no number",
                 file_.string(), name, text);
  }

 private:
  const Checkpoint& checkpoint_;
  const std::filesystem::path& file_;
};

void restore(TrainerState& state, const Checkpoint& saved, const std::filesystem::path& file) {
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

void load_state(TrainerState& state, std::string_view identity, const std::filesystem::path& file) {
  const Checkpoint saved = load_checkpoint(file);
  METTLE_CHECK(FileError, saved.configuration == identity,
               "{}: a checkpoint of another run; remove it to start anew, or repeat that run's "
               "options\n  checkpoint: {}\n  this run:   {}",
               file.string(), saved.configuration, identity);
  try {
    restore(state, saved, file);
  } catch (const FileError&) {
    throw;
  } catch (const Error& error) {
    fail<FileError>("{}: {}", file.string(), error.message());
  }
}

}  // namespace mettle
