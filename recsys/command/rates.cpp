// Ratings and genres as they are typed.
#include "recsys/command/rates.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "recsys/command/command.h"
#include "recsys/command/suggest.h"
#include "recsys/command/titles.h"

namespace mettle::command {
namespace {

double parse_stars(const Dataset& data, const std::string& text, std::size_t begin) {
  double stars = 0.0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data() + begin, end, stars);
  METTLE_CHECK(
      InputError,
      error == std::errc() && stop == end && stars >= data.stars.low && stars <= data.stars.high,
      "--rate '{}': stars must be a number from {} to {}", text, data.stars.low, data.stars.high);
  return stars;
}

}  // namespace

TypedRatings parse_rates(const Dataset& data, const std::vector<std::string>& texts) {
  TypedRatings out;
  std::set<std::int32_t> rated;
  for (const std::string& text : texts) {
    const auto equals = text.rfind('=');
    METTLE_CHECK(InputError, equals != std::string::npos && equals > 0,
                 "--rate '{}': write TITLE=STARS, as in --rate \"Toy Story=5\"", text);
    const double stars = parse_stars(data, text, equals + 1);
    const std::string title = text.substr(0, equals);
    const TitleMatch match = match_title(data, title);
    const std::string shown = shown_title(data.items[static_cast<std::size_t>(match.item)]);
    if (match.guessed)
      out.notes.push_back(fmt::format("no title is '{}'; taking {}", title, shown));
    METTLE_CHECK(InputError, rated.insert(match.item).second, "--rate '{}': {} is rated twice",
                 text, shown);
    out.ratings.push_back({match.item, stars});
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

}  // namespace mettle::command
