// What --rate and --genre mean: from what a user types to numbers of the data set.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "recsys/baselines/baseline.h"
#include "recsys/dataset.h"

namespace mettle::command {

struct TypedRatings {
  std::vector<ItemRating> ratings;
  std::vector<std::string> notes;  // to tell the user: which titles were guessed
};

/// Each text is TITLE=STARS, with titles as match_title() takes them. InputError, naming the text,
/// for stars that are no number of the data's range, a title that is not clear, and one item twice.
TypedRatings parse_rates(const Dataset& data, const std::vector<std::string>& texts);

/// The number of a genre, in any case. InputError, listing the genres, for an unknown one.
std::int32_t find_genre(const Dataset& data, const std::string& name);

}  // namespace mettle::command
