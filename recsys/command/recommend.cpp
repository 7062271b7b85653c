// mettle recommend: a few ratings of somebody new in, titles before and after adaptation out.
#include <fmt/core.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "recsys/command/command.h"
#include "recsys/command/config_file.h"
#include "recsys/command/options.h"
#include "recsys/command/rates.h"
#include "recsys/command/run_folder.h"
#include "recsys/command/titles.h"
#include "recsys/neural/recommender.h"

namespace mettle::command {
namespace {

using nlohmann::ordered_json;

struct RecommendOptions {
  MachineOptions machine;
  std::string model;
  std::string data;
  std::vector<std::string> rate;
  int top = 10;
  std::string genre;
  int min_ratings = 10;
  bool json = false;
};

struct Pick {
  std::int32_t item;
  ItemPrediction prediction;
};

// What may be recommended: enough ratings to know it by, of the genre, not rated by the user.
std::vector<std::int32_t> candidates(const Dataset& data, const std::vector<ItemRating>& rated,
                                     const RecommendOptions& options) {
  std::vector<std::int64_t> counts(data.items.size());
  for (const Rating& rating : data.ratings) ++counts[static_cast<std::size_t>(rating.item)];
  for (const ItemRating& rating : rated) counts[static_cast<std::size_t>(rating.item)] = -1;
  const std::int32_t genre = options.genre.empty() ? -1 : find_genre(data, options.genre);
  std::vector<std::int32_t> out;
  for (std::int32_t i = 0; i < data.item_count(); ++i) {
    const auto& genres = data.items[static_cast<std::size_t>(i)].genres;
    const bool fits = genre < 0 || std::find(genres.begin(), genres.end(), genre) != genres.end();
    if (fits && counts[static_cast<std::size_t>(i)] >= options.min_ratings) out.push_back(i);
  }
  METTLE_CHECK(InputError, !out.empty(),
               "nothing to recommend: no other item{} has {} ratings; lower --min-ratings",
               genre < 0 ? "" : " of genre " + options.genre, options.min_ratings);
  return out;
}

// By the probability of a like; equals keep the order of the catalogue.
std::vector<Pick> best(const std::vector<std::int32_t>& items,
                       const std::vector<ItemPrediction>& predictions, int top) {
  std::vector<Pick> out;
  for (std::size_t i = 0; i < items.size(); ++i) out.push_back({items[i], predictions[i]});
  std::sort(out.begin(), out.end(), [](const Pick& a, const Pick& b) {
    const double first = a.prediction.like_probability, second = b.prediction.like_probability;
    return first != second ? first > second : a.item < b.item;
  });
  out.resize(std::min(out.size(), static_cast<std::size_t>(top)));
  return out;
}

// At most `width` characters, UTF-8 kept whole, padded with blanks.
std::string cell(const std::string& text, std::size_t width) {
  std::string out;
  std::size_t characters = 0;
  for (const char c : text) {
    const bool begins = (static_cast<unsigned char>(c) & 0xC0) != 0x80;
    if (begins && ++characters > width) return out;
    out += c;
  }
  return out + std::string(width - characters, ' ');
}

void print_text(const Dataset& data, const std::vector<ItemRating>& rated,
                const std::vector<Pick>& before, const std::vector<Pick>& after) {
  constexpr std::size_t kTitle = 40, kPick = kTitle + 12;
  const auto title = [&](std::int32_t item) {
    return shown_title(data.items[static_cast<std::size_t>(item)]);
  };
  const auto pick = [&](const Pick& p) {
    return fmt::format("{} {:>4.2f} {:>5.1f}%", cell(title(p.item), kTitle), p.prediction.stars,
                       100.0 * p.prediction.like_probability);
  };
  fmt::print("rated:\n");
  for (const ItemRating& rating : rated)
    fmt::print("  {} {}\n", cell(title(rating.item), kTitle), rating.stars);
  fmt::print(
      "\n    {} | {}\n", cell("before: knowing nothing of the user", kPick),
      fmt::format("after: adapted to {} rating{}", rated.size(), rated.size() == 1 ? "" : "s"));
  fmt::print("    {} stars  like | {} stars  like\n", cell("", kTitle), cell("", kTitle));
  for (std::size_t i = 0; i < after.size(); ++i)
    fmt::print("{:>3} {} | {}\n", i + 1, pick(before[i]), pick(after[i]));
}

ordered_json to_json(const Dataset& data, const std::vector<Pick>& picks) {
  ordered_json out = ordered_json::array();
  for (const Pick& p : picks) {
    const Item& item = data.items[static_cast<std::size_t>(p.item)];
    out.push_back({{"id", item.id},
                   {"title", shown_title(item)},
                   {"stars", p.prediction.stars},
                   {"like_probability", p.prediction.like_probability}});
  }
  return out;
}

// Interrupted.
ExitCode recommend(const RecommendOptions& options, Device device,
                   const InterruptScope& interrupt) {
  const auto allow_interrupt = [&] {
    if (interrupt.interrupted()) throw Interrupted("recommendation");
  };
  const Dataset data = load_data(options.data, interrupt);
  TrainedRecommender model =
      reading_input([&] { return TrainedRecommender::load(data, options.model); });
  model.move_to(device);
  allow_interrupt();
  const auto [rated, notes] = parse_rates(data, options.rate);
  for (const std::string& note : notes) fmt::print(stderr, "note: {}\n", note);
  const std::vector<std::int32_t> items = candidates(data, rated, options);
  if (model.configuration().method == NeuralMethod::joint)
    fmt::print(stderr, "warning: a model of method joint does not adapt to ratings\n");
  const auto picks = [&](std::span<const ItemRating> known) {
    auto predictions = reading_input([&] { return model.predict(data, known, items); });
    allow_interrupt();
    return best(items, predictions, options.top);
  };
  const std::vector<Pick> before = picks({}), after = picks(rated);
  if (options.json)
    fmt::print(
        "{}\n",
        ordered_json{{"before", to_json(data, before)}, {"after", to_json(data, after)}}.dump(2));
  else
    print_text(data, rated, before, after);
  return ExitCode::success;
}

ExitCode run(const RecommendOptions& options) {
  const InterruptScope interrupt;
  const Device device = apply(options.machine);
  check_model_file(options.model);
  try {
    return recommend(options, device, interrupt);
  } catch (const Interrupted&) {
    fmt::print(stderr, "interrupted: nothing was recommended\n");
    return signal_exit(interrupt.signal());
  }
}

}  // namespace

Subcommand add_recommend(CLI::App& program) {
  auto options = std::make_shared<RecommendOptions>();
  CLI::App* app = program.add_subcommand(
      "recommend", "Give a few ratings, get titles before and after the model adapts to them");
  add_config_option(*app);
  app->add_option("--model", options->model, "file that `mettle train` wrote")
      ->required()
      ->type_name("FILE");
  add_data_option(*app, options->data)->required();
  app->add_option("--rate", options->rate,
                  "a rating; the title may be a part of it or misspelled while it is clear which "
                  "one is meant, or #ID")
      ->required()
      ->type_name("TITLE=STARS")
      ->expected(1)
      ->take_all();
  app->add_option("--top", options->top, "titles to show")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str()
      ->type_name("N");
  app->add_option("--genre", options->genre, "only titles of this genre")->type_name("NAME");
  app->add_option("--min-ratings", options->min_ratings,
                  "only titles with so many ratings in the data")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str()
      ->type_name("N");
  app->add_flag("--json", options->json, "print JSON");
  add_machine_options(*app, options->machine);
  app->footer(examples(
      "  mettle recommend --model out/maml/model.safetensors --data recsys/data/ml-latest-small "
      "\\\n"
      "    --rate \"Toy Story=5\" --rate \"Heat=2\" --rate \"Shawshank=4.5\" --genre Comedy\n"));
  return {app, [options] { return run(*options); }};
}

}  // namespace mettle::command
