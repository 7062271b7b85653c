// Mutations seldom leave a length that fits: an input that begins with '{' is a safetensors header
// and data with a NUL between them, any other one a whole file.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

namespace mettle::fuzz {

/// The bytes of the file that an input stands for.
inline std::string as_safetensors(std::string input) {
  if (!input.starts_with('{')) return input;
  const std::uint64_t length = std::min(input.find('\0'), input.size());
  input.erase(static_cast<std::size_t>(length), 1);
  input.insert(0, reinterpret_cast<const char*>(&length), sizeof length);
  return input;
}

}  // namespace mettle::fuzz
