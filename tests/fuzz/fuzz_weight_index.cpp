// Fuzzes model.safetensors.index.json. Whatever the bytes are, the outcome is a FileError that
// names the file, or names of files that stay in the folder.
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "engine/check.h"
#include "models/pretrained/weight_files.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const auto parts =
        mettle::detail::parse_weight_index({reinterpret_cast<const char*>(data), size}, "file");
    for (const auto& [tensor, part] : parts) {
      const std::filesystem::path path(part);
      if (path.is_absolute() || path.has_parent_path() || part == "." || part == "..") std::abort();
    }
  } catch (const mettle::FileError& error) {
    if (!error.message().starts_with("file:")) std::abort();
  }
  return 0;
}
