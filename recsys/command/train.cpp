// mettle train: a recommender from ratings, saved as one file; stops on Ctrl-C and goes on later.
#include <fmt/core.h>

#include <algorithm>
#include <filesystem>
#include <memory>

#include "engine/interrupt.h"
#include "engine/jsonl.h"
#include "recsys/command/command.h"
#include "recsys/command/config_file.h"
#include "recsys/command/methods.h"
#include "recsys/command/neural_options.h"
#include "recsys/command/options.h"
#include "recsys/command/run_facts.h"
#include "recsys/command/run_folder.h"
#include "recsys/command/suggest.h"
#include "recsys/command/work_progress.h"
#include "recsys/neural/recommender_file.h"

namespace mettle::command {
namespace {

namespace fs = std::filesystem;

constexpr const char* kResults[] = {kModelFile, kMetricsFile};

struct TrainOptions {
  MachineOptions machine;
  std::string data;
  std::string method = "maml";
  std::uint64_t seed = 1;
  std::string out;
  bool resume = false;
  NeuralTrainingOptions neural;
};

[[noreturn]] void fail_other_run(const TrainOptions& options, const std::string& option,
                                 std::string_view before, std::string_view now) {
  fail<InputError>(
      "--resume: the run in {} was begun with {} {}, not {}; repeat {} {} to go on "
      "with it, or begin another run in another --out",
      options.out, option, before, now, option, before);
}

NeuralMethod method_of(const std::string& name) {
  const std::vector<std::string> known = neural_method_names();
  METTLE_CHECK(InputError, std::find(known.begin(), known.end(), name) != known.end(),
               "--method {}: unknown{}; there are: {} (`mettle evaluate` fits the classical ones)",
               name, did_you_mean(CLI::detail::to_lower(name), known),
               CLI::detail::join(known, ", "));
  return parse_method(name);
}

// A folder with results of another run is neither overwritten nor mixed.
void check_folder(const TrainOptions& options, NeuralMethod method) {
  const fs::path folder = options.out, model = folder / kModelFile;
  check_writable(folder, kResults);
  const std::vector<std::string> begun = begun_stages(folder);
  if (!options.resume) {
    METTLE_CHECK(InputError, begun.empty(),
                 "--out {}: there is a training run in this folder; go on with it by --resume, or "
                 "give another folder",
                 options.out);
    for (const char* result : kResults)
      METTLE_CHECK(InputError, !fs::exists(folder / result),
                   "--out {}: there is a {} of something else in this folder; give another folder",
                   options.out, result);
    return;
  }
  METTLE_CHECK(InputError, !begun.empty(),
               "--resume: {} holds no checkpoint to go on from; leave --resume out to begin",
               options.out);
  for (const std::string& stage : begun)
    if (stage != "joint" && stage != options.method)
      fail_other_run(options, "--method", stage, options.method);
  if (!fs::exists(model)) return;
  const NeuralMethod trained =
      reading_input([&] { return read_recommender(model).configuration.options.method; });
  if (trained != method) fail_other_run(options, "--method", method_name(trained), options.method);
}

// metrics.jsonl: a record for each epoch, numbered through both stages.
class EpochLog {
 public:
  EpochLog(fs::path path, int joint_epochs) : path_(std::move(path)), joint_epochs_(joint_epochs) {}

  void write(const EpochRecord& record) {
    const std::int64_t number = record.epoch + (record.stage == "joint" ? 0 : joint_epochs_);
    // The first record of a resumed run says which old ones it repeats.
    if (!writer_) writer_ = std::make_unique<JsonlWriter>(path_, number);
    writer_->write(number, {{"stage", record.stage},
                            {"epoch", std::int64_t{record.epoch}},
                            {"optimizer_steps", record.steps},
                            {"train_loss", record.train_loss},
                            {"validation_loss", record.validation_loss},
                            {"learning_rate", record.learning_rate},
                            {"seconds", record.seconds},
                            {"best", record.best}});
  }

 private:
  fs::path path_;
  int joint_epochs_;
  std::unique_ptr<JsonlWriter> writer_;
};

// The training, or what distinguishes this command from the one that began the run in the folder.
NeuralTraining begin(const CLI::App& app, const TrainOptions& options, const Dataset& data,
                     const ColdStartSplit& split, const TrainingHooks& hooks) {
  return reading_input([&] {
    try {
      return NeuralTraining(data, split, options.neural, hooks);
    } catch (const OtherRunError& error) {
      const bool is_flag = app.get_option_no_throw("--" + error.option()) != nullptr;
      fail_other_run(options, (is_flag ? "--" : "") + error.option(), error.begun_with(),
                     error.now());
    }
  });
}

// What an interrupted run has saved, and how to go on.
std::string farewell(const TrainOptions& options, const std::string& work) {
  if (begun_stages(options.out).empty())
    return "nothing was saved yet; the same command begins anew";
  const std::string saved = work == "joint" || work == options.method
                                ? "the step was finished and saved"
                                : fmt::format("training is saved; {} begins anew", work);
  return fmt::format("{}. To go on: the same command with --resume (--out {})", saved, options.out);
}

std::string describe(const EpochRecord& record) {
  return fmt::format("{} epoch {}: loss {:.4f}, validation {:.4f}{}", record.stage, record.epoch,
                     record.train_loss, record.validation_loss, record.best ? " (best)" : "");
}

// Interrupted; checkpoints are written by then.
ExitCode train(const CLI::App& app, TrainOptions& options, const InterruptScope& interrupt,
               const Stopwatch& watch) {
  const NeuralMethod method = parse_method(options.method);
  const Dataset data = load_data(options.data, interrupt);
  const ColdStartSplit split =
      split_users(data, options.seed, ColdStartOptions{}.draws, kModelSupport);
  check_tasks(options.neural, split, {options.method});
  options.neural.seed = options.seed;
  options.neural.checkpoints = options.out;

  WorkProgress progress;
  EpochLog log(fs::path(options.out) / kMetricsFile, options.neural.joint.trainer.epochs);
  const TrainingHooks hooks = {
      .on_epoch =
          [&](const EpochRecord& record) {
            log.write(record);
            progress.note(describe(record));
          },
      .on_early_stop = [&](const EarlyStop& stop) { progress.note(describe(stop)); },
      .work = {.on_progress = [&](const WorkRecord& record) { progress.show(record); },
               .interrupted = [&] { return interrupt.interrupted(); }}};
  const fs::path model = fs::path(options.out) / kModelFile;
  NeuralTraining training = begin(app, options, data, split, hooks);
  make_folder(options.out);
  training.train(method).save(data, model);
  progress.finish();
  fmt::print("{} trained on {} users in {:.1f} s, peak memory {:.0f} MiB: {}\n", options.method,
             split.train_users.size(), watch.seconds(), peak_rss_mb(), model.string());
  return ExitCode::success;
}

ExitCode run(const CLI::App& app, TrainOptions options) {
  const Stopwatch watch;
  const InterruptScope interrupt;
  options.neural.device = apply(options.machine);
  const NeuralMethod method = method_of(options.method);
  check_sizes(options.neural);
  check_folder(options, method);
  try {
    return train(app, options, interrupt, watch);
  } catch (const Interrupted& end) {
    fmt::print(stderr, "interrupted: {}\n", farewell(options, end.work()));
    return signal_exit(interrupt.signal());
  }
}

}  // namespace

Subcommand add_train(CLI::App& program) {
  auto options = std::make_shared<TrainOptions>();
  CLI::App* app = program.add_subcommand(
      "train", "Train a recommender that adapts to new users, and save it as one file");
  add_config_option(*app);
  add_data_option(*app, options->data)->required();
  app->add_option("--method", options->method,
                  "how it adapts: " + CLI::detail::join(neural_method_names(), ", "))
      ->capture_default_str()
      ->type_name("NAME");
  app->add_option("--out", options->out,
                  "folder for model.safetensors, metrics.jsonl and checkpoints")
      ->required()
      ->type_name("DIR");
  app->add_flag("--resume", options->resume, "go on with the run that was interrupted in --out");
  add_seed_option(*app, options->seed);
  add_machine_options(*app, options->machine);
  add_neural_options(*app, options->neural);
  app->footer(examples(
      "  mettle train --data recsys/data/ml-latest-small --out out/maml\n"
      "  mettle train --data ~/ml-1m --method ridge --dim 64 --out out/ridge --threads 8\n"
      "  mettle train --config run.toml --resume\n"
      "Ctrl-C finishes the step, saves a checkpoint and exits with 130; --resume ends with the "
      "same bits as a\nrun without a break.\n"));
  return {app, [app, options] { return run(*app, *options); }};
}

}  // namespace mettle::command
