// Exact, then part, then misspelled.
#include "recsys/command/titles.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <optional>
#include <vector>

#include "recsys/command/command.h"
#include "recsys/command/suggest.h"

namespace mettle::command {
namespace {

constexpr std::size_t kShownCandidates = 8;
// A misspelling may differ in one letter of so many, and must be this near to be listed.
constexpr std::size_t kLettersPerSlip = 5;
constexpr std::size_t kLettersPerListedSlip = 3;

// Letters and digits in lower case, single blanks between words. Bytes of other scripts stay.
std::string simplified(std::string_view title) {
  std::string out;
  for (const char c : title) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) || byte >= 0x80)
      out += static_cast<char>(std::tolower(byte));
    else if (c != '\'' && !out.empty() && out.back() != ' ')
      out += ' ';
  }
  while (out.ends_with(' ')) out.pop_back();
  return out;
}

// simplified() without an article, in front or behind a comma: "Matrix, The" is "matrix".
std::string normalised(std::string_view title) {
  std::string out = simplified(title);
  for (const std::string_view article : {"the", "a", "an"}) {
    const std::string first = std::string(article) + ' ', last = ' ' + std::string(article);
    if (out.starts_with(first)) return out.substr(first.size());
    if (out.ends_with(last) && title.find(',') != std::string_view::npos)
      return out.substr(0, out.size() - last.size());
  }
  return out;
}

struct Query {
  std::string typed;        // simplified
  std::string title;        // normalised
  std::optional<int> year;  // from "(1995)" at the end
};

Query query_of(std::string_view title, std::optional<int> year) {
  return {simplified(title), normalised(title), year};
}

Query parse_query(std::string_view text) {
  while (text.ends_with(' ')) text.remove_suffix(1);
  constexpr std::size_t kYear = 6;  // "(1995)"
  if (text.size() > kYear && text.ends_with(')') && text[text.size() - kYear] == '(') {
    const std::string_view digits = text.substr(text.size() - kYear + 1, kYear - 2);
    if (std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; }))
      return query_of(text.substr(0, text.size() - kYear), std::stoi(std::string(digits)));
  }
  return query_of(text, std::nullopt);
}

std::vector<std::int64_t> rating_counts(const Dataset& data) {
  std::vector<std::int64_t> out(data.items.size());
  for (const Rating& rating : data.ratings) ++out[static_cast<std::size_t>(rating.item)];
  return out;
}

// "Heat (1995), Heat (1972) and 3 more".
std::string listing(const Dataset& data, std::vector<std::int32_t> items) {
  const std::vector<std::int64_t> counts = rating_counts(data);
  std::sort(items.begin(), items.end(), [&](std::int32_t a, std::int32_t b) {
    const std::int64_t first = counts[static_cast<std::size_t>(a)];
    const std::int64_t second = counts[static_cast<std::size_t>(b)];
    return first != second ? first > second : a < b;
  });
  std::string out;
  const std::size_t shown = std::min(items.size(), kShownCandidates);
  for (std::size_t i = 0; i < shown; ++i)
    out += fmt::format("\n  {} [#{}]", shown_title(data.items[static_cast<std::size_t>(items[i])]),
                       data.items[static_cast<std::size_t>(items[i])].id);
  if (items.size() > shown) out += fmt::format("\n  and {} more", items.size() - shown);
  return out;
}

template <class Fits>
std::vector<std::int32_t> find_items(const Dataset& data, const Query& query, const Fits& fits) {
  std::vector<std::int32_t> out;
  for (std::int32_t i = 0; i < data.item_count(); ++i) {
    const Item& item = data.items[static_cast<std::size_t>(i)];
    if (query.year && item.year != query.year) continue;
    if (fits(item.title)) out.push_back(i);
  }
  return out;
}

[[noreturn]] void fail_ambiguous(const Dataset& data, std::string_view text,
                                 const std::vector<std::int32_t>& items) {
  fail<InputError>(
      "'{}' may be any of {} titles; write more of it, its year as in 'Heat (1995)', or its id as "
      "in '#6':{}",
      text, items.size(), listing(data, items));
}

TitleMatch match_misspelled(const Dataset& data, std::string_view text, const Query& query) {
  const auto within = [&](std::size_t letters_per_slip) {
    return find_items(data, query, [&](const std::string& full) {
      const std::string title = normalised(full);
      const std::size_t most = query.title.size() / letters_per_slip;
      const std::size_t gap =
          std::max(title.size(), query.title.size()) - std::min(title.size(), query.title.size());
      return gap <= most && edit_distance(title, query.title) <= most;
    });
  };
  const std::vector<std::int32_t> near = within(kLettersPerSlip);
  if (near.size() == 1) return {near[0], true};
  const std::vector<std::int32_t> listed = near.empty() ? within(kLettersPerListedSlip) : near;
  METTLE_CHECK(InputError, listed.empty(), "no title is or contains '{}'; near it are:{}", text,
               listing(data, listed));
  fail<InputError>(
      "no title is or contains '{}', and none is near it; give another one, or an id as in '#6'",
      text);
}

TitleMatch match_id(const Dataset& data, std::string_view id) {
  const std::optional<std::int32_t> item = data.find_item(id);
  METTLE_CHECK(InputError, item.has_value(),
               "no item has the id '{}'; ids are those of the data's file of items", id);
  return {*item, false};
}

}  // namespace

std::string shown_title(const Item& item) {
  if (item.title.empty()) return "#" + item.id;
  return item.year ? fmt::format("{} ({})", item.title, *item.year) : item.title;
}

TitleMatch match_title(const Dataset& data, std::string_view text) {
  if (text.starts_with('#')) return match_id(data, text.substr(1));
  const Query query = parse_query(text);
  METTLE_CHECK(InputError, !query.title.empty(), "'{}' is no title", text);
  // The narrowest reading that any title has: as typed, without articles, as a part.
  const auto readings = {
      find_items(data, query, [&](const std::string& t) { return simplified(t) == query.typed; }),
      find_items(data, query, [&](const std::string& t) { return normalised(t) == query.title; }),
      find_items(data, query, [&](const std::string& t) {
        return normalised(t).find(query.title) != std::string::npos;
      })};
  for (const std::vector<std::int32_t>& found : readings) {
    if (found.size() == 1) return {found[0], false};
    if (found.size() > 1) fail_ambiguous(data, text, found);
  }
  return match_misspelled(data, text, query);
}

}  // namespace mettle::command
