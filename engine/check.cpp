// How an error tells its place.
#include "engine/check.h"

namespace mettle {
namespace {

// "/home/x/mettle/engine/tensor.cpp" -> "engine/tensor.cpp": the last two parts are enough to find
// it.
std::string_view short_path(std::string_view path) {
  const auto last = path.rfind('/');
  if (last == std::string_view::npos || last == 0) return path;
  const auto before = path.rfind('/', last - 1);
  return before == std::string_view::npos ? path : path.substr(before + 1);
}

}  // namespace

Error::Error(std::string message, std::source_location where)
    : std::runtime_error(
          fmt::format("{} [{}:{}]", message, short_path(where.file_name()), where.line())),
      message_(std::move(message)),
      where_(where) {}

}  // namespace mettle
