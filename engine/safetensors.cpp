// Tensors to bytes and back. Reading takes what the checked header promises, writing never holds
// more than one chunk beside the tensors.
#include "engine/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <functional>
#include <vector>

#include "engine/file.h"
#include "engine/safetensors_header.h"

namespace mettle {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

constexpr std::uint64_t kLengthBytes = 8;
constexpr std::size_t kChunk = std::size_t{1} << 20;

// Fills a span with the bytes from an offset on.
using ReadBytes = std::function<void(std::uint64_t offset, std::span<std::byte> out)>;

// Any other byte in a bool is undefined behaviour for whoever reads it.
bool holds_booleans(const Tensor& tensor) {
  const auto* bytes = static_cast<const unsigned char*>(tensor.data());
  return std::all_of(bytes, bytes + tensor.bytes(), [](unsigned char b) { return b <= 1; });
}

struct Layout {
  detail::SafetensorsHeader header;
  std::uint64_t data;  // where it begins
};

Layout read_layout(std::uint64_t size, const ReadBytes& read, std::string_view name) {
  METTLE_CHECK(FileError, size >= kLengthBytes,
               "{}: {} bytes are too few for a safetensors file, which begins with 8", name, size);
  std::uint64_t length = 0;
  read(0, std::as_writable_bytes(std::span(&length, 1)));
  METTLE_CHECK(FileError, length <= kMaxSafetensorsHeader,
               "{}: a header of {} bytes, more than the {} accepted", name, length,
               kMaxSafetensorsHeader);
  METTLE_CHECK(FileError, length <= size - kLengthBytes,
               "{}: a header of {} bytes, but only {} follow", name, length, size - kLengthBytes);
  std::string json(static_cast<std::size_t>(length), '\0');
  read(kLengthBytes, std::as_writable_bytes(std::span(json)));
  const std::uint64_t data = kLengthBytes + length;
  return {detail::parse_safetensors_header(json, size - data, name), data};
}

Tensor read_tensor(const StoredTensor& stored, const ReadBytes& read, std::string_view name) {
  const Tensor tensor = Tensor::empty(stored.shape, stored.dtype);
  read(stored.offset, {static_cast<std::byte*>(tensor.data()), tensor.bytes()});
  METTLE_CHECK(FileError, tensor.dtype() != DType::boolean || holds_booleans(tensor),
               "{}: a BOOL tensor of shape {} holds a byte other than 0 and 1", name,
               to_string(stored.shape));
  return tensor;
}

TensorFile read_tensors(std::uint64_t size, const ReadBytes& read, std::string_view name) {
  Layout layout = read_layout(size, read, name);
  TensorFile content{.tensors = {}, .metadata = std::move(layout.header.metadata)};
  for (const detail::TensorEntry& entry : layout.header.entries)
    content.tensors.emplace(
        entry.name, read_tensor({entry.dtype, entry.shape, layout.data + entry.begin}, read, name));
  return content;
}

ReadBytes reader_of(const InputFile& file) {
  return [&file](std::uint64_t offset, std::span<std::byte> out) { file.read(offset, out); };
}

// The elements in row-major order, gathered in chunks where they do not lie so.
void write_elements(const Tensor& tensor, AtomicFile& file) {
  if (tensor.numel() == 0) return;
  const auto* base = static_cast<const std::byte*>(tensor.data());
  if (tensor.is_contiguous()) return file.write({base, tensor.bytes()});
  const std::size_t size = size_of(tensor.dtype());
  std::vector<std::byte> chunk(std::min(kChunk, tensor.bytes()));
  std::size_t filled = 0;
  Dims index = Dims::filled(tensor.rank(), 0);
  std::int64_t at = 0;
  for (std::int64_t n = 0; n < tensor.numel(); ++n) {
    std::memcpy(chunk.data() + filled, base + at * static_cast<std::int64_t>(size), size);
    filled += size;
    if (filled == chunk.size()) {
      file.write(chunk);
      filled = 0;
    }
    for (int axis = tensor.rank() - 1; axis >= 0; --axis) {
      at += tensor.strides()[axis];
      if (++index[axis] < tensor.size(axis)) break;
      at -= tensor.strides()[axis] * tensor.size(axis);
      index[axis] = 0;
    }
  }
  file.write(std::span(chunk).first(filled));
}

}  // namespace

TensorFile read_safetensors(const std::filesystem::path& path) {
  const InputFile file(path);
  return read_tensors(file.size(), reader_of(file), file.name());
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : file_(path) {
  Layout layout = read_layout(file_.size(), reader_of(file_), file_.name());
  metadata_ = std::move(layout.header.metadata);
  for (detail::TensorEntry& entry : layout.header.entries)
    tensors_.emplace(std::move(entry.name),
                     StoredTensor{entry.dtype, entry.shape, layout.data + entry.begin});
}

Tensor SafetensorsFile::read(const std::string& name) const {
  const auto found = tensors_.find(name);
  METTLE_CHECK(ValueError, found != tensors_.end(), "{}: no tensor '{}'", file_.name(), name);
  return read_tensor(found->second, reader_of(file_), file_.name());
}

TensorFile parse_safetensors(std::span<const std::byte> bytes, std::string_view name) {
  const auto copy = [&](std::uint64_t offset, std::span<std::byte> out) {
    if (!out.empty()) std::memcpy(out.data(), bytes.data() + offset, out.size());
  };
  return read_tensors(bytes.size(), copy, name);
}

void write_safetensors(const std::filesystem::path& path, const TensorFile& content) {
  detail::SafetensorsHeader header{.entries = {}, .metadata = content.metadata};
  for (const auto& [name, tensor] : content.tensors) {
    METTLE_CHECK(ValueError, tensor.defined(), "write_safetensors: tensor '{}' is undefined", name);
    METTLE_CHECK(DeviceError, tensor.device() == Device::cpu(),
                 "write_safetensors: tensor '{}' is on {}; copy it to the cpu", name,
                 to_string(tensor.device()));
    header.entries.push_back({.name = name, .dtype = tensor.dtype(), .shape = tensor.shape()});
  }
  const std::string json = detail::layout_safetensors(header);
  const std::uint64_t length = json.size();
  AtomicFile file(path);
  file.write(std::as_bytes(std::span(&length, 1)));
  file.write(json);
  for (const detail::TensorEntry& entry : header.entries)
    write_elements(content.tensors.at(entry.name), file);
  file.commit();
}

}  // namespace mettle
