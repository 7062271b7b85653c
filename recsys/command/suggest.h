// "Did you mean ...?" for names that a user mistyped.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace mettle::command {

/// Insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b` (optimal
/// string alignment distance), in bytes.
std::size_t edit_distance(std::string_view a, std::string_view b);

/// "; did you mean 'x'?" for the known name nearest to `name`, or "" when none is near: at most a
/// third of the letters may differ, or one is the beginning of the other.
std::string did_you_mean(std::string_view name, const std::vector<std::string>& known);

}  // namespace mettle::command
