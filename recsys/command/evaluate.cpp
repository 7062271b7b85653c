// mettle evaluate: protocol P3, how well methods serve users they were not trained on after k of
// their ratings.
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "engine/file.h"
#include "engine/progress.h"
#include "recsys/command/command.h"
#include "recsys/command/config_file.h"
#include "recsys/command/figure.h"
#include "recsys/command/methods.h"
#include "recsys/command/options.h"
#include "recsys/command/report.h"
#include "recsys/evaluation_json.h"

namespace mettle::command {
namespace {

// What the paired differences are taken against, as the table names it.
constexpr char kReference[] = "item mean + user bias";
// Predicts the same for all items, so that its place in a picture of rankings would only press the
// other curves together.
constexpr char kFlatMethod[] = "user mean";
constexpr int kMaxSeeds = 1000;

struct EvaluateOptions {
  MachineOptions machine;
  std::string data;
  std::vector<std::string> methods = {"baselines"};
  std::uint64_t seed = 1;
  int seeds = 1;
  std::vector<int> k{std::begin(kSupportSizes), std::end(kSupportSizes)};
  int draws = 3;
  std::string out;  // empty: nothing is written
};

struct Evaluation {
  EvaluationTable table;
  std::string jsonl;  // a line for each seed, method and k
};

ColdStartSplit split(const Dataset& data, const EvaluateOptions& options, std::uint64_t seed) {
  ColdStartOptions wanted;
  wanted.max_support = std::max(options.k.back(), 1);
  wanted.draws = options.draws;
  return reading_input([&] { return split_cold_start(data, seed, wanted); });
}

void evaluate_seed(const Dataset& data, const EvaluateOptions& options, std::uint64_t seed,
                   Progress& progress, std::int64_t done, Evaluation& out) {
  const ColdStartSplit users = split(data, options, seed);
  BaselineFits fits(data, users);
  EvaluationTable of_seed;
  for (const std::string& method : options.methods) {
    evaluate_baseline(*fits.fit(method), data, users, options.k, of_seed);
    progress.update(++done);
  }
  for (const EvaluationTable::Row* row : of_seed.rows())
    out.table.add(row->method, row->k, row->results);
  for (nlohmann::json row : to_json(of_seed)) {
    row["seed"] = seed;
    out.jsonl += row.dump() + '\n';
  }
}

Evaluation evaluate_seeds(const Dataset& data, const EvaluateOptions& options) {
  Evaluation out;
  const auto per_seed = static_cast<std::int64_t>(options.methods.size());
  Progress progress(std::cerr, terminal_of(STDERR_FILENO), "evaluate", options.seeds * per_seed);
  for (int i = 0; i < options.seeds; ++i)
    evaluate_seed(data, options, options.seed + static_cast<std::uint64_t>(i), progress,
                  i * per_seed, out);
  return out;
}

Figure curve(const EvaluationTable& table, const std::string& dataset,
             const EvaluateOptions& options) {
  Figure out;
  out.title = fmt::format("{}: users never seen in training ({} seed{}; bars: 95 % intervals)",
                          dataset, options.seeds, options.seeds == 1 ? "" : "s");
  out.panels = {Metric::log_loss, Metric::auc};
  out.k = options.k;
  for (const EvaluationTable::Row* row : table.rows())
    if (row->k == options.k.front() && row->method != kFlatMethod)
      out.series.push_back({row->method, true});
  return out;
}

void write_results(const Evaluation& done, const Dataset& data, const EvaluateOptions& options,
                   const std::vector<Comparison>& paired, const Stopwatch& watch) {
  const std::filesystem::path folder = options.out;
  make_folder(folder);
  Protocol protocol{data.name, {}, options.k, options.draws};
  for (int i = 0; i < options.seeds; ++i)
    protocol.seeds.push_back(options.seed + static_cast<std::uint64_t>(i));
  write_file(folder / "metrics.jsonl", done.jsonl);
  write_file(folder / "summary.json", summary(done.table, protocol, paired, watch).dump(2) + '\n');
  fmt::print(stderr, "wrote {0}/summary.json and {0}/metrics.jsonl\n", options.out);
  const Figure figure = curve(done.table, data.name, options);
  if (figure.series.empty() || figure.k.size() < 2) return;
  if (draw(done.table, figure, folder, "curve"))
    fmt::print(stderr, "wrote {0}/curve.svg and {0}/curve.png\n", options.out);
  else
    fmt::print(stderr,
               "no picture: gnuplot is not installed. Install gnuplot-nox, then: cd {} && gnuplot "
               "curve.gp\n",
               options.out);
}

ExitCode run(EvaluateOptions options) {
  const Stopwatch watch;
  apply(options.machine);
  options.methods = expand_methods(options.methods);
  std::sort(options.k.begin(), options.k.end());
  options.k.erase(std::unique(options.k.begin(), options.k.end()), options.k.end());
  const Dataset data = load_data(options.data);

  const Evaluation done = evaluate_seeds(data, options);
  const std::vector<Comparison> paired = comparisons(done.table, {kReference}, options.k.back());
  fmt::print("{}", done.table.to_text());
  if (!paired.empty()) fmt::print("\n{}", to_text(done.table, paired));
  std::fflush(stdout);
  if (!options.out.empty()) write_results(done, data, options, paired, watch);
  return ExitCode::success;
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
  app->add_option("--k", options->k, "how many ratings of the user are known")
      ->delimiter(',')
      ->check(CLI::Range(0, 1000))
      ->capture_default_str()
      ->type_name("N,...");
  add_seed_option(*app, options->seed);
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
  add_machine_options(*app, options->machine);
  app->footer(examples(
      "  mettle evaluate --data recsys/data/ml-latest-small --seeds 10 --out out/baselines\n"
      "  mettle evaluate --data ~/ml-100k/u.data --methods foldin-mf-genre,blend --k 0,5,10\n"));
  return {app, [options] { return run(*options); }};
}

}  // namespace mettle::command
