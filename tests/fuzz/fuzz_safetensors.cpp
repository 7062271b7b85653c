// Fuzzes the safetensors reader. Whatever the bytes are, the outcome is a FileError or tensors that
// keep the reader's promises: they account for every byte behind the header, and writing them gives
// a header that reads back as the same tensors.
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "engine/check.h"
#include "engine/safetensors.h"
#include "engine/safetensors_header.h"
#include "tests/fuzz/safetensors_input.h"

namespace {

void require(bool promise) {
  if (!promise) std::abort();
}

// Reads every byte, so that the sanitizers see memory that was not filled or not there.
std::uint64_t touch(const mettle::Tensor& tensor) {
  std::uint64_t sum = 0;
  if (tensor.dtype() == mettle::DType::boolean) {
    for (const bool value : tensor.to_vector<bool>()) sum += value;
  } else {
    const auto* bytes = static_cast<const unsigned char*>(tensor.data());
    for (std::size_t i = 0; i < tensor.bytes(); ++i) sum += bytes[i];
  }
  return sum;
}

void check(const mettle::TensorFile& content, std::size_t file_bytes) {
  std::size_t data_bytes = 0;
  mettle::detail::SafetensorsHeader header{.entries = {}, .metadata = content.metadata};
  for (const auto& [name, tensor] : content.tensors) {
    require(tensor.is_contiguous() && tensor.rank() <= mettle::max_rank);
    data_bytes += tensor.bytes();
    require(touch(tensor) <= 255 * tensor.bytes());
    header.entries.push_back({.name = name, .dtype = tensor.dtype(), .shape = tensor.shape()});
  }
  require(data_bytes + 8 <= file_bytes);
  const std::string json = mettle::detail::layout_safetensors(header);
  require(json.size() % 8 == 0);
  const auto again = mettle::detail::parse_safetensors_header(json, data_bytes, "again");
  require(again.metadata == content.metadata && again.entries.size() == content.tensors.size());
  for (const auto& entry : again.entries) {
    const mettle::Tensor& tensor = content.tensors.at(entry.name);
    require(entry.dtype == tensor.dtype() && entry.shape == tensor.shape());
    require(entry.begin % mettle::size_of(entry.dtype) == 0);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string file =
      mettle::fuzz::as_safetensors({reinterpret_cast<const char*>(data), size});
  try {
    check(mettle::parse_safetensors(std::as_bytes(std::span(file))), file.size());
  } catch (const mettle::FileError&) {  // NOLINT(bugprone-empty-catch)
    // The only refusal that is allowed; anything else ends the run.
  }
  return 0;
}
