// One file or many behind one look-up.
#include "models/pretrained/weight_files.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "engine/check.h"
#include "models/json/checked_json.h"

namespace mettle::detail {
namespace {

namespace fs = std::filesystem;

constexpr JsonLimits kIndexLimits = {
    .bytes = std::size_t{1} << 26, .values = std::size_t{1} << 20, .depth = 4};
constexpr std::size_t kMostParts = 4096;

// A file of the folder itself: nobody's index opens others.
bool is_plain_name(const std::string& name) {
  return !name.empty() && name.find('/') == name.npos && name.find('\0') == name.npos &&
         name != "." && name != "..";
}

[[noreturn]] void fail_without_weights(const fs::path& folder) {
  const char* hint = "";
  if (fs::exists(folder / "pytorch_model.bin"))
    hint =
        "; its pytorch_model.bin is a pickle, which runs whatever code it holds: save the model "
        "as safetensors where it comes from (save_pretrained in transformers does)";
  fail<FileError>("{}: neither model.safetensors nor model.safetensors.index.json is there{}",
                  folder.string(), hint);
}

}  // namespace

std::map<std::string, std::string> parse_weight_index(std::string_view text,
                                                      const std::string& name) {
  const nlohmann::json tree = parse_json(text, name, kIndexLimits);
  const JsonSection map = JsonSection(tree, "", name).section("weight_map");
  std::map<std::string, std::string> out;
  for (const auto& [tensor, value] : map.value().items()) {
    std::string part = map.text(tensor);
    if (!is_plain_name(part)) map.refuse(tensor, "the name of a file in the same folder");
    out.emplace(tensor, std::move(part));
  }
  return out;
}

WeightFiles::WeightFiles(const fs::path& folder) {
  const fs::path whole = folder / "model.safetensors";
  const fs::path index = folder / "model.safetensors.index.json";
  if (fs::exists(whole)) {
    name_ = whole.string();
    files_.emplace_back(whole);
    for (const auto& [tensor, stored] : files_[0].tensors()) file_of_.emplace(tensor, 0);
  } else if (fs::exists(index)) {
    name_ = index.string();
    open_parts(index);
  } else {
    fail_without_weights(folder);
  }
}

void WeightFiles::open_parts(const fs::path& index) {
  std::map<std::string, std::size_t> parts;
  for (const auto& [tensor, part] :
       parse_weight_index(read_file(index, kIndexLimits.bytes), name_)) {
    const auto [at, is_new] = parts.emplace(part, parts.size());
    METTLE_CHECK(FileError, parts.size() <= kMostParts, "{}: more than {} files", name_,
                 kMostParts);
    if (is_new) files_.emplace_back(index.parent_path() / part);
    file_of_.emplace(tensor, at->second);
  }
  std::vector<std::string> faults;
  for (const auto& [tensor, file] : file_of_)
    if (!files_[file].tensors().contains(tensor))
      faults.push_back(fmt::format("{} is not in {}", shown(tensor), files_[file].name()));
  for (std::size_t i = 0; i < files_.size(); ++i)
    for (const auto& [tensor, stored] : files_[i].tensors()) {
      const auto listed = file_of_.find(tensor);
      if (listed == file_of_.end() || listed->second != i)
        faults.push_back(fmt::format("{} is in {}, which the index does not say", shown(tensor),
                                     files_[i].name()));
    }
  METTLE_CHECK(FileError, faults.empty(), "{}: {} faults:\n  {}", name_, faults.size(),
               fmt::join(faults, "\n  "));
}

std::vector<std::string> WeightFiles::names() const {
  std::vector<std::string> out;
  for (const auto& [tensor, file] : file_of_) out.push_back(tensor);
  return out;
}

const StoredTensor* WeightFiles::find(const std::string& name) const {
  const auto found = file_of_.find(name);
  return found == file_of_.end() ? nullptr : &files_[found->second].tensors().at(name);
}

Tensor WeightFiles::read(const std::string& name) const {
  const auto found = file_of_.find(name);
  METTLE_CHECK(ValueError, found != file_of_.end(), "{}: no tensor '{}'", name_, name);
  return files_[found->second].read(name);
}

}  // namespace mettle::detail
