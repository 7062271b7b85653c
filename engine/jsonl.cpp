// Lines of JSON: what stays of the old ones, and how a new one is appended whole or not at all.
#include "engine/jsonl.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <system_error>

#include "engine/check.h"

namespace mettle {
namespace {

using Json = nlohmann::ordered_json;

// Nothing when the line is no record.
std::optional<std::int64_t> step_of(std::string_view line) {
  const Json record = Json::parse(line, nullptr, false);
  if (!record.is_object()) return std::nullopt;
  const auto step = record.find("step");
  if (step == record.end() || !step->is_number_integer()) return std::nullopt;
  return step->get<std::int64_t>();
}

Json to_json(const JsonValue& value) {
  if (const double* number = std::get_if<double>(&value); number && !std::isfinite(*number))
    return nullptr;
  return std::visit([](const auto& v) { return Json(v); }, value);
}

}  // namespace

std::size_t bytes_before_step(std::string_view text, std::int64_t first_step,
                              std::string_view name) {
  std::size_t kept = 0;
  for (int line = 1; kept < text.size(); ++line) {
    const std::size_t end = text.find('\n', kept);
    if (end == std::string_view::npos) break;
    const auto step = step_of(text.substr(kept, end - kept));
    METTLE_CHECK(FileError, step, "{}:{}: not a JSON object with an integer \"step\"", name, line);
    if (*step >= first_step) break;
    kept = end + 1;
  }
  return kept;
}

JsonlWriter::JsonlWriter(const std::filesystem::path& path, std::int64_t first_step)
    : name_(path.string()),
      file_(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666)),
      last_step_(first_step) {
  METTLE_CHECK(FileError, file_.get() >= 0, "{}: cannot be opened: {}", name_,
               std::generic_category().message(errno));
  resume(first_step);
}

void JsonlWriter::resume(std::int64_t first_step) {
  const std::size_t kept = bytes_before_step(read_file(name_), first_step, name_);
  METTLE_CHECK(FileError, ::ftruncate(file_.get(), static_cast<off_t>(kept)) == 0,
               "{}: cannot be cut to {} bytes: {}", name_, kept,
               std::generic_category().message(errno));
}

void JsonlWriter::write(std::int64_t step, const JsonRecord& fields) {
  METTLE_CHECK(ValueError, step >= last_step_, "{}: a record of step {} after one of step {}",
               name_, step, last_step_);
  Json record;
  record["step"] = step;
  for (const auto& [key, value] : fields) {
    METTLE_CHECK(ValueError, key != "step", "{}: a field called \"step\" beside the step", name_);
    record[key] = to_json(value);
  }
  // Text that is not UTF-8 is mended: a run must not end because of a file's name in its records.
  const std::string line = record.dump(-1, ' ', false, Json::error_handler_t::replace) + '\n';
  const off_t before = ::lseek(file_.get(), 0, SEEK_END);
  try {
    file_.write(std::as_bytes(std::span(line)), name_);
  } catch (const FileError&) {
    if (::ftruncate(file_.get(), before) != 0)
      file_.close();  // better no later line than a torn one
    throw;
  }
  last_step_ = step;
}

}  // namespace mettle
