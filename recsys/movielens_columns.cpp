// Separators and headers of the MovieLens families.
#include "recsys/movielens_columns.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace mettle {

TableStyle rating_style(MovieLensFormat format) {
  switch (format) {
    case MovieLensFormat::csv: return {",", true};
    case MovieLensFormat::dat: return {"::", false};
    case MovieLensFormat::udata:
    case MovieLensFormat::recbole: break;
  }
  return {"\t", false};
}

TableStyle metadata_style(MovieLensFormat format) {
  return format == MovieLensFormat::udata ? TableStyle{"|", false} : rating_style(format);
}

Header read_typed_header(TableReader& reader) {
  constexpr std::array<std::string_view, 4> kTypes = {"token", "token_seq", "float", "float_seq"};
  Header header = read_header(reader);
  for (std::size_t i = 0; i < header.names.size(); ++i) {
    std::string& name = header.names[i];
    const std::size_t colon = name.rfind(':');
    const std::string_view type =
        colon == std::string::npos ? std::string_view{} : std::string_view(name).substr(colon + 1);
    if (std::find(kTypes.begin(), kTypes.end(), type) == kTypes.end())
      reader.fail_at(reader.fields()[i].column,
                     fmt::format("column {} is not of the form name:type with a type of token, "
                                 "token_seq, float or float_seq",
                                 printable(name)));
    name.resize(colon);
  }
  return header;
}

std::vector<std::string_view> split_parts(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(separator), text.size());
    if (end > 0) parts.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

}  // namespace mettle
