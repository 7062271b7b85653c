// Flags for the fields of NeuralTrainingOptions.
#include "recsys/command/neural_options.h"

#include <algorithm>

#include "recsys/command/command.h"
#include "recsys/command/methods.h"

namespace mettle::command {
namespace {

constexpr int kMaxCount = 1'000'000;
constexpr char kGroup[] = "Model and training";

template <class T>
CLI::Option* add(CLI::App& subcommand, const char* name, T& value, const char* what) {
  return subcommand.add_option(name, value, what)->capture_default_str()->group(kGroup);
}

void add_count(CLI::App& subcommand, const char* name, int& value, const char* what) {
  add(subcommand, name, value, what)->check(CLI::Range(1, kMaxCount))->type_name("N");
}

void add_rate(CLI::App& subcommand, const char* name, double& value, const char* what) {
  add(subcommand, name, value, what)->check(CLI::PositiveNumber)->type_name("X");
}

}  // namespace

void add_neural_options(CLI::App& subcommand, NeuralTrainingOptions& options) {
  add_count(subcommand, "--epochs", options.meta.trainer.epochs,
            "most epochs of meta-training, one task for each training user");
  add_count(subcommand, "--joint-epochs", options.joint.trainer.epochs,
            "most epochs of joint training on all ratings, which comes first");
  add_count(subcommand, "--patience", options.meta.trainer.patience,
            "epochs without improvement on validation users before meta-training stops");
  add_count(subcommand, "--tasks", options.meta.tasks, "users in a step of meta-training");
  add_rate(subcommand, "--learning-rate", options.meta.trainer.learning_rate,
           "of the weights in meta-training");
  add_rate(subcommand, "--joint-learning-rate", options.joint.trainer.learning_rate,
           "of the weights in joint training");
  add(subcommand, "--inner-steps", options.adaptation.steps, "gradient steps that adapt to a user")
      ->check(CLI::Range(1, kMaxInnerSteps))
      ->type_name("N");
  add_rate(subcommand, "--inner-rate", options.adaptation.head_rate,
           "the head's rate in these steps before training learns it");
  add_count(subcommand, "--dim", options.model.dim, "size of a token");
  add_count(subcommand, "--layers", options.model.layers,
            "encoder layers below the one that makes the summary");
  add_count(subcommand, "--heads", options.model.heads, "attention heads");
  add_count(subcommand, "--hidden", options.model.hidden, "size inside of feed-forward parts");
  add(subcommand, "--dropout", options.model.dropout, "share of values left out in training")
      ->check(CLI::Range(0.0, 0.9))
      ->type_name("X");
}

void check_sizes(const NeuralTrainingOptions& options) {
  METTLE_CHECK(InputError, options.model.dim % options.model.heads == 0,
               "--heads {}: must divide --dim {}", options.model.heads, options.model.dim);
}

void check_tasks(const NeuralTrainingOptions& options, const ColdStartSplit& split,
                 const std::vector<std::string>& methods) {
  const bool meta_trains = std::any_of(methods.begin(), methods.end(), [](const std::string& name) {
    return is_neural(name) && name != method_name(NeuralMethod::joint) &&
           name != method_name(NeuralMethod::finetune);
  });
  METTLE_CHECK(InputError, !meta_trains || options.meta.tasks <= std::ssize(split.train_users),
               "--tasks {}: there are {} training users; give at most so many", options.meta.tasks,
               split.train_users.size());
}

ColdStartSplit split_users(const Dataset& data, std::uint64_t seed, int draws, int max_support) {
  ColdStartOptions wanted;
  wanted.max_support = std::max(max_support, kModelSupport);
  wanted.draws = draws;
  return reading_input([&] { return split_cold_start(data, seed, wanted); });
}

}  // namespace mettle::command
