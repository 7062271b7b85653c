// What the ratings, items and users parsers share: separators per family and RecBole's typed
// header.
#pragma once

#include "recsys/movielens.h"
#include "recsys/text_table.h"

namespace mettle {

/// How a ratings file of the family separates its fields.
TableStyle rating_style(MovieLensFormat format);
/// The same for item and user files: only u.item and u.user differ from u.data.
TableStyle metadata_style(MovieLensFormat format);

/// A RecBole header, "user_id:token<tab>rating:float": names without their types. FileError for a
/// name without one of the types token, token_seq, float, float_seq.
Header read_typed_header(TableReader& reader);

/// Splits at each `separator`, dropping empty parts.
std::vector<std::string_view> split_parts(std::string_view text, char separator);

}  // namespace mettle
