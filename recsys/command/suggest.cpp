// Edit distance and the suggestion drawn from it.
#include "recsys/command/suggest.h"

#include <fmt/core.h>

#include <algorithm>
#include <limits>

namespace mettle::command {

std::size_t edit_distance(std::string_view a, std::string_view b) {
  // Row i holds the distances between the first i bytes of a and every beginning of b.
  std::vector<std::size_t> before_last, last(b.size() + 1), row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const bool same = a[i - 1] == b[j - 1];
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (same ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before_last[j - 2] + 1);
    }
    before_last = last;
    last = row;
  }
  return last[b.size()];
}

std::string did_you_mean(std::string_view name, const std::vector<std::string>& known) {
  const std::string* best = nullptr;
  std::size_t best_distance = std::numeric_limits<std::size_t>::max();
  for (const std::string& candidate : known) {
    const bool begins = name.size() >= 2 && candidate.starts_with(name);
    const std::size_t distance = begins ? 1 : edit_distance(name, candidate);
    if (distance >= best_distance || 3 * distance > std::max(name.size(), candidate.size()))
      continue;
    best = &candidate;
    best_distance = distance;
  }
  return best ? fmt::format("; did you mean '{}'?", *best) : std::string();
}

}  // namespace mettle::command
