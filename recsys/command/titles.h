// From what a user types to a movie: titles without regard to case, article and year.
#pragma once

#include <string>
#include <string_view>

#include "recsys/dataset.h"

namespace mettle::command {

/// "Heat (1995)", or the id where there is no title.
std::string shown_title(const Item& item);

struct TitleMatch {
  std::int32_t item = -1;
  bool guessed = false;  // not what was typed, but near it and nothing else is
};

/// The item that `text` names: its id as "#ID", its whole title, a part that only one title has, or
/// a misspelled title that is near one only. A year in brackets at the end must be that of the
/// item. InputError otherwise, listing candidates, those with most ratings first.
TitleMatch match_title(const Dataset& data, std::string_view text);

}  // namespace mettle::command
