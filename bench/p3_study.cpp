// Protocol P3 in full: the neural methods and the classical ones over several seeds, with paired
// differences, as one Markdown file. Each seed's results are kept in FOLDER as JSON: a seed found
// there is read instead of run, so that processes can share the seeds and a last call reports all.
//
//   p3_study DATA FOLDER FIRST_SEED SEEDS [threads]    writes FOLDER/report.md
#include <fmt/chrono.h>
#include <fmt/core.h>

#include <chrono>
#include <cmath>
#include <ctime>
#include <exception>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/file.h"
#include "engine/parallel.h"
#include "recsys/movielens.h"
#include "recsys/neural/training.h"

namespace mettle {
namespace {

using Clock = std::chrono::steady_clock;
constexpr NeuralMethod kMethods[] = {NeuralMethod::maml,  NeuralMethod::fomaml,
                                     NeuralMethod::anil,  NeuralMethod::ridge,
                                     NeuralMethod::joint, NeuralMethod::finetune};
constexpr Metric kShown[] = {Metric::auc, Metric::ndcg5, Metric::log_loss, Metric::mae};

/// What one seed gave.
struct SeedResults {
  EvaluationTable table;
  std::map<std::string, double> seconds;  // of training, by method
  std::string finetuning;                 // as chosen on validation users
};

struct Study {
  std::string command;
  EvaluationTable table;
  std::vector<std::uint64_t> seeds;
  std::map<std::string, double> seconds;  // all seeds
  std::string finetuning;
};

std::string processor() {
  std::ifstream facts("/proc/cpuinfo");
  for (std::string line; std::getline(facts, line);)
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  return "unknown processor";
}

SeedResults run_seed(const Dataset& data, std::uint64_t seed) {
  SeedResults study;
  const ColdStartSplit split = split_cold_start(data, seed);
  for (const FittedBaseline& baseline : fit_baselines(data, split))
    evaluate_baseline(*baseline, data, split, kSupportSizes, study.table);
  NeuralTrainingOptions options;
  options.seed = seed;
  TrainingHooks hooks;
  hooks.on_epoch = [&](const EpochRecord& r) {
    fmt::print("seed {} {} epoch {}: train {:.4f} validation {:.4f}{} in {:.1f} s\n", seed, r.stage,
               r.epoch, r.train_loss, r.validation_loss, r.best ? " *" : "", r.seconds);
    std::fflush(stdout);
  };
  auto start = Clock::now();
  const auto lap = [&](std::string_view name) {
    const auto now = Clock::now();
    study.seconds[std::string(name)] += std::chrono::duration<double>(now - start).count();
    start = now;
  };
  NeuralTraining training(data, split, options, hooks);
  training.train(NeuralMethod::joint);
  lap("features and joint stage");
  for (const NeuralMethod method : kMethods) {
    const auto trained = training.train(method);
    lap(method_name(method));
    evaluate_recommender(trained, data, split, kSupportSizes, study.table);
    start = Clock::now();
    if (method == NeuralMethod::finetune) {
      const AdaptationOptions& chosen = trained.configuration().adaptation;
      study.finetuning = fmt::format("seed {}: rates {} and {}, {} steps", seed, chosen.head_rate,
                                     chosen.encoder_rate, chosen.steps);
    }
  }
  return study;
}

using nlohmann::json;

json to_json(const SeedResults& results) {
  json rows = json::array();
  for (const EvaluationTable::Row* row : results.table.rows()) {
    json episodes = json::array();
    for (const EpisodeResult& e : row->results)
      episodes.push_back({e.seed, e.user, e.draw, e.values});
    rows.push_back({{"method", row->method},
                    {"k", row->k ? json(*row->k) : json()},
                    {"episodes", std::move(episodes)}});
  }
  return {
      {"rows", std::move(rows)}, {"seconds", results.seconds}, {"finetuning", results.finetuning}};
}

void add_seed(const json& results, std::uint64_t seed, Study& study) {
  for (const json& row : results.at("rows")) {
    std::vector<EpisodeResult> episodes;
    for (const json& e : row.at("episodes")) {
      EpisodeResult result{e.at(0), e.at(1), e.at(2), {}};
      for (std::size_t m = 0; m < result.values.size(); ++m)
        result.values[m] = e.at(3).at(m).is_null() ? std::nan("") : e.at(3).at(m).get<double>();
      episodes.push_back(result);
    }
    study.table.add(row.at("method").get<std::string>(),
                    row.at("k").is_null() ? std::nullopt : std::optional<int>(row.at("k")),
                    episodes);
  }
  for (const auto& [name, seconds] : results.at("seconds").items())
    study.seconds[name] += seconds.get<double>();
  if (!study.finetuning.empty()) study.finetuning += "; ";
  study.finetuning += results.at("finetuning").get<std::string>();
  study.seeds.push_back(seed);
}

std::string paired_rows(const EvaluationTable& table, int k) {
  const std::pair<const char*, const char*> pairs[] = {{"maml", "item mean + user bias"},
                                                       {"maml", "joint+finetune"},
                                                       {"maml", "hierarchical Bayes linear"},
                                                       {"maml", "fold-in MF, genre prior"},
                                                       {"maml", "fomaml"},
                                                       {"maml", "anil"},
                                                       {"ridge", "maml"},
                                                       {"ridge", "item mean + user bias"},
                                                       {"ridge", "joint+finetune"},
                                                       {"ridge", "hierarchical Bayes linear"},
                                                       {"anil", "item mean + user bias"},
                                                       {"anil", "joint+finetune"},
                                                       {"fomaml", "item mean + user bias"},
                                                       {"fomaml", "joint+finetune"}};
  std::string text;
  for (const auto& [a, b] : pairs) {
    text += fmt::format("| {} - {} | {} |", a, b, k);
    for (const Metric metric : kShown) {
      const Interval i = table.paired(a, b, k, metric);
      text += fmt::format(" {:+.4f} +-{:.4f}{} |", i.mean, i.half,
                          std::abs(i.mean) > i.half ? " *" : "");
    }
    text += '\n';
  }
  return text;
}

std::string report(const Study& study, const Dataset& data) {
  const std::time_t now = std::time(nullptr);
  std::string text = fmt::format(
      "# P3 on {}: few-shot curve over {} seeds ({} to {})\n\n"
      "Written {:%Y-%m-%d %H:%M} UTC by `{}`\non {}, {} thread{}. Users split 80/10/10 by seed; "
      "three "
      "draws of 10 query ratings per\ntest user; 95 % intervals clustered by user. Rows without k "
      "ignore the support.\n\n```\n{}```\n\n",
      data.name, study.seeds.size(), study.seeds.front(), study.seeds.back(), fmt::gmtime(now),
      study.command, processor(), threads(), threads() == 1 ? "" : "s", study.table.to_text());
  text +=
      "Paired differences (* where the interval excludes 0; AUC and nDCG: larger is better, log "
      "loss\n"
      "and MAE: smaller is better):\n\n"
      "| methods | k | AUC | nDCG@5 | log loss | MAE |\n|---|---|---|---|---|---|\n" +
      paired_rows(study.table, 10) + paired_rows(study.table, 5);
  text += "\nTraining and selection, seconds per seed on this busy machine:";
  for (const auto& [name, seconds] : study.seconds)
    text += fmt::format(" {} {:.0f};", name, seconds / static_cast<double>(study.seeds.size()));
  text += fmt::format(
      "\n\nFine-tuning as chosen on validation users (rates of head and encoder): {}.\n",
      study.finetuning);
  return text;
}

int run(int argc, char** argv) {
  if (argc < 5 || argc > 6) {
    fmt::print(stderr, "usage: p3_study DATA FOLDER FIRST_SEED SEEDS [threads]\n");
    return 2;
  }
  set_threads(argc > 5 ? std::stoi(argv[5]) : 1);
  const Dataset data = load_movielens(argv[1]);
  Study study;
  for (int i = 0; i < argc; ++i) study.command += (i ? " " : "") + std::string(argv[i]);
  const std::uint64_t first = std::stoull(argv[3]), count = std::stoull(argv[4]);
  const std::filesystem::path folder = argv[2];
  std::filesystem::create_directories(folder);
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    const std::filesystem::path file = folder / fmt::format("seed{}.json", seed);
    if (!std::filesystem::exists(file)) write_file(file, to_json(run_seed(data, seed)).dump());
    add_seed(json::parse(read_file(file)), seed, study);
  }
  write_file(folder / "report.md", report(study, data));
  return 0;
}

}  // namespace
}  // namespace mettle

int main(int argc, char** argv) {
  try {
    return mettle::run(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "p3_study: {}\n", error.what());
    return 1;
  }
}
