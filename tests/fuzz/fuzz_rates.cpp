// Fuzzes what a user types for `mettle recommend`: the first line is a genre, each other one a
// rating. Whatever the bytes are, the outcome is an InputError or ratings of items that exist.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <set>
#include <string>
#include <vector>

#include "recsys/command/command.h"
#include "recsys/command/rates.h"

namespace {

using mettle::Dataset;
namespace command = mettle::command;

void require(bool promise) {
  if (!promise) std::abort();
}

// Titles that are near each other, parts of each other, without letters, not UTF-8, or missing.
Dataset films() {
  Dataset data;
  data.genres = {"Action", "Comedy", "Sci-Fi", "(no genres listed)", "Com\xc3\xa9"};
  data.stars = {0.5, 5.0};
  const std::pair<const char*, int> titles[] = {
      {"Heat", 1995},      {"Heat", 1972},          {"The Matrix", 1999}, {"Matrix, The", 0},
      {"Am\xe9lie", 2001}, {"Am\xc3\xa9lie", 2001}, {"...", 1990},        {"", 0},
      {"A", 1980},         {"2001: A Space=4", 0},  {"Toy Story", 1995},  {"Toy Story 2", 1999}};
  for (const auto& [title, year] : titles) {
    mettle::Item item;
    item.id = std::to_string(data.items.size());
    item.title = title;
    if (year > 0) item.year = year;
    data.items.push_back(item);
  }
  return data;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> out(1);
  for (const char c : text) {
    if (c == '\n')
      out.emplace_back();
    else
      out.back() += c;
  }
  return out;
}

template <class Parse> void allow_refusal(const Parse& parse) {
  try {
    parse();
  } catch (const command::InputError&) {  // NOLINT(bugprone-empty-catch)
    // The only refusal that is allowed; anything else ends the run.
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Dataset known = films();
  std::vector<std::string> lines = lines_of({reinterpret_cast<const char*>(data), size});
  allow_refusal([&] {
    const std::int32_t genre = command::find_genre(known, lines.front());
    require(genre >= 0 && genre < std::ssize(known.genres));
  });
  lines.erase(lines.begin());
  allow_refusal([&] {
    const command::TypedRatings typed = command::parse_rates(known, lines);
    require(typed.ratings.size() == lines.size());
    std::set<std::int32_t> items;
    for (const mettle::ItemRating& rating : typed.ratings) {
      require(rating.item >= 0 && rating.item < known.item_count());
      require(rating.stars >= known.stars.low && rating.stars <= known.stars.high);
      require(items.insert(rating.item).second);
    }
  });
  return 0;
}
