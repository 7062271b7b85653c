// Named tensors in one file, in the public format safetensors: eight bytes with the length of a
// JSON header, the header, the data. Files may come from anywhere: whatever their bytes are, the
// outcome is a set of tensors or a FileError that says why.
// Format: https://huggingface.co/docs/safetensors
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "engine/file.h"
#include "engine/tensor.h"

namespace mettle {

/// A longer header is refused, as the format demands.
inline constexpr std::size_t kMaxSafetensorsHeader = 100'000'000;

/// Tensors by name, and free text beside them (`__metadata__`).
struct TensorFile {
  std::map<std::string, Tensor> tensors;
  std::map<std::string, std::string> metadata;
};

/// Reads every tensor to the CPU, straight into its storage; memory is bounded by the file's size.
/// FileError when the file cannot be read or is refused: a header that is too long, not JSON or not
/// of this format; a key twice; a dtype that Mettle does not have; more than eight dimensions or
/// 2^62 elements; offsets that are out of range, overlap, leave a gap, or do not fit dtype x shape;
/// bytes behind the last tensor; a byte of a BOOL other than 0 and 1.
TensorFile read_safetensors(const std::filesystem::path& path);

/// Where one tensor lies in a file.
struct StoredTensor {
  DType dtype;
  Shape shape;
  std::uint64_t offset;  // of its first byte
};

/// A file whose tensors are read one at a time, straight into their storage: a large file takes
/// the memory of what is wanted of it. (Not a mapping: a file that shrinks under one ends the
/// process, here it is a FileError.)
class SafetensorsFile {
 public:
  /// Reads and checks the header. FileError as read_safetensors().
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::string& name() const { return file_.name(); }
  const std::map<std::string, StoredTensor>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  /// ValueError for a name that tensors() does not have, FileError as read_safetensors().
  Tensor read(const std::string& name) const;

 private:
  InputFile file_;
  std::map<std::string, StoredTensor> tensors_;
  std::map<std::string, std::string> metadata_;
};

/// read_safetensors() from memory. `name` begins the error messages.
TensorFile parse_safetensors(std::span<const std::byte> bytes,
                             std::string_view name = "safetensors");

/// Replaces `path` in one step (AtomicFile). Tensors on the CPU, strided ones too, are written from
/// where they lie. The same content gives the same bytes: those of the reference implementation,
/// with the metadata in order of its keys. Each tensor is aligned to its element size. ValueError,
/// before anything is written, for an undefined tensor, a tensor called "__metadata__", text that
/// is not UTF-8 or a header beyond the limit; DeviceError for a tensor elsewhere; FileError when
/// the file cannot be written, the old one being intact then.
void write_safetensors(const std::filesystem::path& path, const TensorFile& content);

}  // namespace mettle
