// mettle recommend: a few ratings of somebody new in, titles before and after adaptation out.
#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "recsys/command/command.h"
#include "recsys/command/config_file.h"
#include "recsys/command/options.h"
#include "recsys/command/suggest.h"
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

ItemRating parse_rate(const Dataset& data, const std::string& text) {
  const auto equals = text.rfind('=');
  METTLE_CHECK(InputError, equals != std::string::npos && equals > 0,
               "--rate '{}': write TITLE=STARS, as in --rate \"Toy Story=5\"", text);
  double stars = 0.0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data() + equals + 1, end, stars);
  METTLE_CHECK(
      InputError,
      error == std::errc() && stop == end && stars >= data.stars.low && stars <= data.stars.high,
      "--rate '{}': stars must be a number from {} to {}", text, data.stars.low, data.stars.high);
  const std::string title = text.substr(0, equals);
  const TitleMatch match = match_title(data, title);
  if (match.guessed)
    fmt::print(stderr, "note: no title is '{}'; taking {}\n", title,
               shown_title(data.items[static_cast<std::size_t>(match.item)]));
  return {match.item, stars};
}

std::vector<ItemRating> parse_rates(const Dataset& data, const std::vector<std::string>& texts) {
  std::vector<ItemRating> out;
  std::set<std::int32_t> rated;
  for (const std::string& text : texts) {
    out.push_back(parse_rate(data, text));
    METTLE_CHECK(InputError, rated.insert(out.back().item).second, "--rate '{}': {} is rated twice",
                 text, shown_title(data.items[static_cast<std::size_t>(out.back().item)]));
  }
  return out;
}

std::int32_t find_genre(const Dataset& data, const std::string& name) {
  const auto same = [&](const std::string& genre) {
    return CLI::detail::to_lower(genre) == CLI::detail::to_lower(name);
  };
  const auto found = std::find_if(data.genres.begin(), data.genres.end(), same);
  METTLE_CHECK(InputError, found != data.genres.end(), "--genre {}: unknown{}; there are: {}", name,
               did_you_mean(name, data.genres), CLI::detail::join(data.genres, ", "));
  return static_cast<std::int32_t>(found - data.genres.begin());
}

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

ExitCode run(const RecommendOptions& options) {
  apply(options.machine);
  const Dataset data = load_data(options.data);
  const TrainedRecommender model =
      reading_input([&] { return TrainedRecommender::load(data, options.model); });
  const std::vector<ItemRating> rated = parse_rates(data, options.rate);
  const std::vector<std::int32_t> items = candidates(data, rated, options);
  if (model.configuration().method == NeuralMethod::joint)
    fmt::print(stderr, "warning: a model of method joint does not adapt to ratings\n");
  const std::vector<Pick> before = best(items, model.predict(data, {}, items), options.top);
  const std::vector<Pick> after = best(items, model.predict(data, rated, items), options.top);
  if (options.json)
    fmt::print(
        "{}\n",
        ordered_json{{"before", to_json(data, before)}, {"after", to_json(data, after)}}.dump(2));
  else
    print_text(data, rated, before, after);
  return ExitCode::success;
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
