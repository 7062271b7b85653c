// The JSON header of a safetensors file: where each tensor lies in the data behind it. Apart from
// the reading and writing of tensors, because everything hostile is found here.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engine/dtype.h"
#include "engine/shape.h"

namespace mettle::detail {

struct TensorEntry {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;
  std::uint64_t begin = 0;  // bytes from the start of the data
  std::uint64_t end = 0;
};

struct SafetensorsHeader {
  std::vector<TensorEntry> entries;
  std::map<std::string, std::string> metadata;
};

/// Reads a header that stands before `data_bytes` bytes of data. The entries come in the order of
/// the data and cover it without gap or overlap. FileError, begun by `name`, for anything else.
SafetensorsHeader parse_safetensors_header(std::string_view json, std::uint64_t data_bytes,
                                           std::string_view name);

/// Sorts the entries as they are to be written (largest alignment first, then by name), sets their
/// offsets, and returns the header's text, padded by blanks to eight bytes. ValueError for text
/// that is not UTF-8 and for a header beyond kMaxSafetensorsHeader.
std::string layout_safetensors(SafetensorsHeader& header);

}  // namespace mettle::detail
