// The tensors of a folder: of model.safetensors, or of the parts that model.safetensors.index.json
// lists.
#pragma once

#include <cstddef>
#include <deque>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engine/safetensors.h"

namespace mettle::detail {

/// model.safetensors.index.json: the file of each tensor, a plain name. FileError, begun by `name`.
std::map<std::string, std::string> parse_weight_index(std::string_view text,
                                                      const std::string& name);

class WeightFiles {
 public:
  /// Opens every file and reads its header. FileError for files that are missing, damaged or
  /// hostile, a part named outside of the folder, a tensor that is not in the part where the index
  /// has it or in a part without being in the index.
  explicit WeightFiles(const std::filesystem::path& folder);

  /// What error messages begin with.
  const std::string& name() const { return name_; }
  std::vector<std::string> names() const;
  /// Null for a name that is not there.
  const StoredTensor* find(const std::string& name) const;
  /// ValueError for a name that is not there; FileError as SafetensorsFile::read().
  Tensor read(const std::string& name) const;

 private:
  void open_parts(const std::filesystem::path& index);

  std::string name_;
  std::deque<SafetensorsFile> files_;  // they do not move
  std::map<std::string, std::size_t> file_of_;
};

}  // namespace mettle::detail
