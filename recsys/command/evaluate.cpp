// mettle evaluate: protocol P3, how well methods serve users they were not trained on after k of
// their ratings. Neural methods are trained here for every seed, or come from a model file.
#include <fmt/core.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "engine/file.h"
#include "engine/interrupt.h"
#include "recsys/command/command.h"
#include "recsys/command/config_file.h"
#include "recsys/command/figure.h"
#include "recsys/command/methods.h"
#include "recsys/command/neural_options.h"
#include "recsys/command/options.h"
#include "recsys/command/report.h"
#include "recsys/command/run_folder.h"
#include "recsys/command/work_progress.h"
#include "recsys/evaluation_json.h"

namespace mettle::command {
namespace {

namespace fs = std::filesystem;

// What the paired differences are taken against, as tables name it, where they have it.
const std::vector<std::string> kReferences = {"item mean + user bias", "joint+finetune",
                                              "hierarchical Bayes linear"};
// Predicts the same for all items, so that its place in a picture of rankings would only press the
// other curves together.
constexpr char kFlatMethod[] = "user mean";
constexpr int kMaxSeeds = 1000;
constexpr char kSummaryFile[] = "summary.json";
constexpr const char* kResults[] = {kMetricsFile, kSummaryFile, kModelFile,
                                    "curve.gp",   "curve.svg",  "curve.png"};

struct EvaluateOptions {
  MachineOptions machine;
  std::string data;
  std::vector<std::string> methods = {"baselines"};
  std::string model;  // a file; empty: none
  std::uint64_t seed = 1;
  bool seed_given = false;
  int seeds = 1;
  std::vector<int> k{std::begin(kSupportSizes), std::end(kSupportSizes)};
  int draws = ColdStartOptions{}.draws;
  std::string out;   // empty: nothing is written
  std::string save;  // neural method whose model of the first seed is kept in `out`
  NeuralTrainingOptions neural;
};

// Evaluates everything that is asked for, seed by seed.
class Evaluation {
 public:
  Evaluation(const Dataset& data, const EvaluateOptions& options,
             const std::optional<TrainedRecommender>& model, const InterruptScope& interrupt)
      : data_(data), options_(options), model_(model), interrupt_(interrupt) {}

  /// Interrupted.
  void run() {
    for (int i = 0; i < options_.seeds; ++i)
      run_seed(options_.seed + static_cast<std::uint64_t>(i));
  }

  const EvaluationTable& table() const { return table_; }
  const std::string& jsonl() const { return jsonl_; }
  const std::optional<TrainedRecommender>& saved() const { return saved_; }

 private:
  void run_seed(std::uint64_t seed) {
    const ColdStartSplit users = split_users(data_, seed, options_.draws, options_.k.back());
    check_tasks(options_.neural, users, options_.methods);
    WorkProgress progress(fmt::format("seed {} ", seed));
    const WorkHooks hooks = {
        .on_progress = [&](const WorkRecord& record) { progress.show(record); },
        .interrupted = [&] { return interrupt_.interrupted(); }};
    EvaluationTable of_seed;
    run_baselines(users, hooks, of_seed);
    run_neural(users, progress, hooks, of_seed);
    if (model_)
      reading_input(
          [&] { evaluate_recommender(*model_, data_, users, options_.k, of_seed, hooks); });
    for (const EvaluationTable::Row* row : of_seed.rows())
      table_.add(row->method, row->k, row->results);
    for (nlohmann::json row : to_json(of_seed)) {
      row["seed"] = seed;
      jsonl_ += row.dump() + '\n';
    }
  }

  void run_baselines(const ColdStartSplit& users, const WorkHooks& hooks, EvaluationTable& table) {
    BaselineFits fits(data_, users, hooks);
    for (const std::string& method : chosen(false))
      evaluate_baseline(*fits.fit(method), data_, users, options_.k, table, hooks);
  }

  void run_neural(const ColdStartSplit& users, WorkProgress& progress, const WorkHooks& hooks,
                  EvaluationTable& table) {
    const std::vector<std::string> wanted = chosen(true);
    if (wanted.empty()) return;
    NeuralTrainingOptions options = options_.neural;
    options.seed = users.seed;
    const TrainingHooks training_hooks = {
        .on_epoch = {},
        .on_early_stop = [&](const EarlyStop& stop) { progress.note(describe(stop)); },
        .work = hooks};
    NeuralTraining training =
        reading_input([&] { return NeuralTraining(data_, users, options, training_hooks); });
    for (const std::string& method : wanted) {
      TrainedRecommender trained = training.train(parse_method(method));
      evaluate_recommender(trained, data_, users, options_.k, table, hooks);
      if (method == options_.save && !saved_) saved_ = std::move(trained);
    }
  }

  std::vector<std::string> chosen(bool neural) const {
    std::vector<std::string> out;
    for (const std::string& method : options_.methods)
      if (is_neural(method) == neural) out.push_back(method);
    return out;
  }

  const Dataset& data_;
  const EvaluateOptions& options_;
  const std::optional<TrainedRecommender>& model_;
  const InterruptScope& interrupt_;
  EvaluationTable table_;
  std::string jsonl_;
  std::optional<TrainedRecommender> saved_;
};

Figure curve(const EvaluationTable& table, const std::string& dataset,
             const EvaluateOptions& options) {
  Figure out;
  out.title = fmt::format("{}: users never seen in training ({} seed{}; bars: 95 % intervals)",
                          dataset, options.seeds, options.seeds == 1 ? "" : "s");
  out.panels = {Metric::log_loss, Metric::auc};
  out.k = options.k;
  for (const EvaluationTable::Row* row : table.rows())
    if (row->k == options.k.front() && row->method != kFlatMethod)
      out.series.push_back({row->method, !is_neural(row->method)});
  return out;
}

void write_picture(const EvaluationTable& table, const std::string& dataset,
                   const EvaluateOptions& options) {
  const Figure figure = curve(table, dataset, options);
  if (figure.series.empty() || figure.k.size() < 2) return;
  if (draw(table, figure, options.out, "curve"))
    fmt::print(stderr, "wrote {0}/curve.svg and {0}/curve.png\n", options.out);
  else
    fmt::print(stderr,
               "no picture: gnuplot is not installed. Install gnuplot-nox, then: cd {} && gnuplot "
               "curve.gp\n",
               options.out);
}

void write_results(const Evaluation& done, const Dataset& data, const EvaluateOptions& options,
                   const std::vector<Comparison>& paired, const Stopwatch& watch) {
  const fs::path folder = options.out;
  make_folder(folder);
  Protocol protocol{data.name, {}, options.k, options.draws, options.neural.device};
  for (int i = 0; i < options.seeds; ++i)
    protocol.seeds.push_back(options.seed + static_cast<std::uint64_t>(i));
  write_file(folder / kMetricsFile, done.jsonl());
  write_file(folder / kSummaryFile, summary(done.table(), protocol, paired, watch).dump(2) + '\n');
  fmt::print(stderr, "wrote {0}/summary.json and {0}/metrics.jsonl\n", options.out);
  if (done.saved()) {
    done.saved()->save(data, folder / kModelFile);
    fmt::print(stderr, "wrote {}/{} ({}, seed {})\n", options.out, kModelFile, options.save,
               options.seed);
  }
  write_picture(done.table(), data.name, options);
}

void check_choices(EvaluateOptions& options) {
  if (options.methods.empty() && options.model.empty())
    fail<InputError>("--methods: name at least one, or give a --model");
  options.methods = expand_methods(options.methods);
  std::sort(options.k.begin(), options.k.end());
  options.k.erase(std::unique(options.k.begin(), options.k.end()), options.k.end());
  if (!options.save.empty()) {
    const auto& all = options.methods;
    METTLE_CHECK(
        InputError,
        is_neural(options.save) && std::find(all.begin(), all.end(), options.save) != all.end() &&
            !options.out.empty(),
        "--save {}: must be a neural method among --methods, and --out be given", options.save);
  }
}

// Whatever can be refused before the data is read.
void check_files(const EvaluateOptions& options) {
  if (!options.model.empty()) check_model_file(options.model);
  if (options.out.empty()) return;
  check_writable(options.out, kResults);
  METTLE_CHECK(InputError, begun_stages(options.out).empty(),
               "--out {}: there is a training run in this folder, whose {} would be lost; give "
               "another folder",
               options.out, kMetricsFile);
}

// A model file fixes the split: only users that it was not trained on can be evaluated.
std::optional<TrainedRecommender> load_model(const Dataset& data, EvaluateOptions& options) {
  if (options.model.empty()) return std::nullopt;
  TrainedRecommender model =
      reading_input([&] { return TrainedRecommender::load(data, options.model); });
  const std::uint64_t seed = model.configuration().seed;
  METTLE_CHECK(InputError,
               options.seeds == 1 && (!options.seed_given || options.seed == seed) &&
                   options.k.back() <= kModelSupport,
               "--model {}: trained with --seed {}; it can be evaluated on that seed's test users "
               "only, with at most {} ratings each",
               options.model, seed, kModelSupport);
  const std::string name(method_name(model.configuration().method));
  METTLE_CHECK(
      InputError,
      std::find(options.methods.begin(), options.methods.end(), name) == options.methods.end(),
      "--model {}: is of method {}, which --methods would train as well", options.model, name);
  options.seed = seed;
  model.move_to(options.neural.device);
  return model;
}

// Interrupted, before anything is written.
ExitCode evaluate(EvaluateOptions& options, const InterruptScope& interrupt,
                  const Stopwatch& watch) {
  const Dataset data = load_data(options.data, interrupt);
  const std::optional<TrainedRecommender> model = load_model(data, options);
  Evaluation evaluation(data, options, model, interrupt);
  evaluation.run();
  const EvaluationTable& table = evaluation.table();
  const std::vector<Comparison> paired = comparisons(table, kReferences, options.k.back());
  fmt::print("{}", table.to_text());
  if (!paired.empty()) fmt::print("\n{}", to_text(table, paired));
  std::fflush(stdout);
  if (!options.out.empty()) write_results(evaluation, data, options, paired, watch);
  return ExitCode::success;
}

ExitCode run(EvaluateOptions options) {
  const Stopwatch watch;
  const InterruptScope interrupt;
  options.neural.device = apply(options.machine);
  check_choices(options);
  check_sizes(options.neural);
  check_files(options);
  try {
    return evaluate(options, interrupt, watch);
  } catch (const Interrupted&) {
    fmt::print(stderr, "interrupted: nothing was written\n");
    return signal_exit(interrupt.signal());
  }
}

}  // namespace

Subcommand add_evaluate(CLI::App& program) {
  auto options = std::make_shared<EvaluateOptions>();
  CLI::App* app = program.add_subcommand(
      "evaluate", "Compare methods on users they were not trained on, after k ratings of each");
  add_config_option(*app);
  add_data_option(*app, options->data)->required();
  app->add_option("--methods", options->methods,
                  "what to compare: " + CLI::detail::join(method_names(), ", "))
      ->delimiter(',')
      ->capture_default_str()
      ->type_name("NAME,...");
  app->add_option("--model", options->model,
                  "file that `mettle train` wrote, compared on its own test users")
      ->type_name("FILE");
  app->add_option("--k", options->k, "how many ratings of the user are known")
      ->delimiter(',')
      ->check(CLI::Range(0, 1000))
      ->capture_default_str()
      ->type_name("N,...");
  CLI::Option* seed = add_seed_option(*app, options->seed);
  app->add_option("--seeds", options->seeds,
                  "splits to average over, with seeds counted up from --seed")
      ->check(CLI::Range(1, kMaxSeeds))
      ->capture_default_str()
      ->type_name("N");
  app->add_option("--draws", options->draws, "draws of support and query for each test user")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str()
      ->type_name("N");
  app->add_option("--out", options->out,
                  "folder for summary.json, metrics.jsonl and the curve as SVG and PNG")
      ->type_name("DIR");
  app->add_option("--save", options->save,
                  "neural method of which the first seed's model is kept as model.safetensors")
      ->type_name("NAME");
  add_machine_options(*app, options->machine);
  add_neural_options(*app, options->neural);
  app->footer(examples(
      "  mettle evaluate --data recsys/data/ml-latest-small --seeds 10 --out out/baselines\n"
      "  mettle evaluate --data recsys/data/ml-latest-small --methods maml,ridge,blend\n"
      "  mettle evaluate --data recsys/data/ml-latest-small --model out/maml/model.safetensors\n"
      "  mettle evaluate --data ~/ml-100k/u.data --methods foldin-mf-genre,blend --k 0,5,10\n"));
  return {app, [options, seed] {
            options->seed_given = seed->count() > 0;
            return run(*options);
          }};
}

}  // namespace mettle::command
