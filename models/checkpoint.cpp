// A checkpoint's fields as metadata and tensors of a safetensors file, and the files of a folder.
#include "models/checkpoint.h"

#include <zlib.h>

#include <algorithm>
#include <charconv>
#include <vector>

#include "autograd/ops.h"
#include "engine/file.h"
#include "engine/log.h"
#include "engine/safetensors.h"

namespace mettle {
namespace {

namespace fs = std::filesystem;

// Metadata keys. A note is stored under its name with the prefix.
constexpr const char* kVersionKey = "mettle.checkpoint";
constexpr const char* kVersion = "1";
constexpr const char* kStep = "step";
constexpr const char* kSeed = "generator.seed";
constexpr const char* kOffset = "generator.offset";
constexpr const char* kConfiguration = "configuration";
constexpr const char* kChecksum = "checksum";
constexpr std::string_view kNotePrefix = "note.";

constexpr std::string_view kFilePrefix = "step-";
constexpr std::string_view kFileSuffix = ".safetensors";
constexpr const char* kBestFile = "best.safetensors";
constexpr const char* kAsideSuffix = ".abandoned";

// CRC-32 of a safetensors file's content: every text with its end, every tensor's elements. Sizes
// and dtypes need no mention, they are checked against the file's length.
class Checksum {
 public:
  void add(std::string_view text) {
    add_bytes(text.data(), text.size());
    add_bytes("", 1);
  }
  void add(const Tensor& tensor) {
    const Tensor dense = tensor.is_contiguous() ? tensor : contiguous(Variable(tensor)).value();
    add_bytes(dense.data(), dense.bytes());
  }
  std::string text() const { return fmt::format("{:08x}", value_); }

 private:
  void add_bytes(const void* bytes, std::size_t size) {
    if (size > 0) value_ = crc32_z(value_, static_cast<const Bytef*>(bytes), size);
  }
  uLong value_ = crc32_z(0, nullptr, 0);
};

const std::string& field(const TensorFile& content, const char* key, const std::string& file) {
  const auto found = content.metadata.find(key);
  METTLE_CHECK(FileError, found != content.metadata.end(),
               "{}: not a checkpoint of Mettle: its metadata have no '{}'", file, key);
  return found->second;
}

template <class T>
T number_field(const TensorFile& content, const char* key, const std::string& file) {
  const std::string& text = field(content, key, file);
  T value{};
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  METTLE_CHECK(FileError, error == std::errc() && stop == end && value >= 0,
               "{}: not a checkpoint of Mettle: '{}' is no number", file, key);
  return value;
}

// The step in "step-000000000120.safetensors"; nothing for any other name.
std::optional<std::int64_t> step_of(const fs::path& file) {
  const std::string name = file.filename().string();
  if (!name.starts_with(kFilePrefix) || !name.ends_with(kFileSuffix)) return std::nullopt;
  std::int64_t step = -1;
  const char* end = name.data() + name.size() - kFileSuffix.size();
  const auto [stop, error] = std::from_chars(name.data() + kFilePrefix.size(), end, step);
  return error == std::errc() && stop == end && step >= 0 ? std::optional(step) : std::nullopt;
}

struct SavedStep {
  std::int64_t step;
  fs::path file;
};

// Newest first.
std::vector<SavedStep> saved_steps(const fs::path& folder) {
  std::vector<SavedStep> steps;
  for (const fs::path& file : list_folder(folder))
    if (const auto step = step_of(file)) steps.push_back({*step, file});
  std::sort(steps.begin(), steps.end(),
            [](const auto& a, const auto& b) { return a.step > b.step; });
  return steps;
}

fs::path step_file(const fs::path& folder, std::int64_t step) {
  return folder / fmt::format("{}{:012}{}", kFilePrefix, step, kFileSuffix);
}

// Renames a checkpoint so that nothing takes it for one of the run that begins, over no other file.
void set_aside(const fs::path& file) {
  fs::path aside = file;
  aside += kAsideSuffix;
  for (int n = 2; fs::exists(fs::symlink_status(aside)); ++n)
    aside = fmt::format("{}{}-{}", file.string(), kAsideSuffix, n);
  std::error_code error;
  fs::rename(file, aside, error);
  METTLE_CHECK(
      FileError, !error,
      "{}: a checkpoint of another run, which cannot be renamed to {}: {}; move it away or "
      "give another folder",
      file.string(), aside.filename().string(), error.message());
  log_warning("{}: a checkpoint of another run, set aside as {}", file.string(),
              aside.filename().string());
}

}  // namespace

NamedTensors named_tensors(const Params& params) {
  NamedTensors tensors;
  for (std::size_t i = 0; i < params.size(); ++i)
    if (params.values()[i]) tensors.emplace(params.names()[i], params.values()[i].value());
  return tensors;
}

Params params_like(const Params& like, const NamedTensors& tensors) {
  for (const auto& [name, tensor] : tensors)
    METTLE_CHECK(ValueError, like.contains(name), "params_like: the model has no parameter '{}'",
                 name);
  Variables values;
  for (std::size_t i = 0; i < like.size(); ++i) {
    const std::string& name = like.names()[i];
    const Variable& wanted = like.values()[i];
    const auto found = tensors.find(name);
    METTLE_CHECK(ValueError, found != tensors.end(), "params_like: no tensor for parameter '{}'",
                 name);
    const Tensor& tensor = found->second;
    METTLE_CHECK(ShapeError, tensor.shape() == wanted.shape(),
                 "params_like: '{}' is {}, the model's parameter {}", name,
                 to_string(tensor.shape()), to_string(wanted.shape()));
    METTLE_CHECK(DTypeError, tensor.dtype() == wanted.dtype(),
                 "params_like: '{}' is {}, the model's parameter {}", name,
                 to_string(tensor.dtype()), to_string(wanted.dtype()));
    values.emplace_back(tensor.to(wanted.device()), wanted.requires_grad());
  }
  return like.with_values(std::move(values));
}

void save_checkpoint(const fs::path& file, const Checkpoint& checkpoint) {
  METTLE_CHECK(ValueError, checkpoint.step >= 0, "save_checkpoint: step {}", checkpoint.step);
  TensorFile content;
  content.metadata = {{kVersionKey, kVersion},
                      {kStep, std::to_string(checkpoint.step)},
                      {kSeed, std::to_string(checkpoint.generator.seed())},
                      {kOffset, std::to_string(checkpoint.generator.offset())},
                      {kConfiguration, checkpoint.configuration}};
  for (const auto& [name, text] : checkpoint.notes)
    content.metadata[std::string(kNotePrefix) + name] = text;
  for (const auto& [group, tensors] : checkpoint.tensors) {
    METTLE_CHECK(ValueError, !group.empty() && group.find('/') == std::string::npos,
                 "save_checkpoint: a group of tensors cannot be called '{}'", group);
    for (const auto& [name, tensor] : tensors) {
      METTLE_CHECK(ValueError, tensor.defined(), "save_checkpoint: tensor '{}/{}' is undefined",
                   group, name);
      content.tensors.emplace(fmt::format("{}/{}", group, name), tensor.to(Device::cpu()));
    }
  }
  content.metadata[kChecksum] = checkpoint_checksum(content);
  write_safetensors(file, content);
}

std::string checkpoint_checksum(const TensorFile& content) {
  Checksum sum;
  for (const auto& [key, value] : content.metadata) {
    if (key == kChecksum) continue;
    sum.add(key);
    sum.add(value);
  }
  for (const auto& [name, tensor] : content.tensors) {
    sum.add(name);
    sum.add(to_string(tensor.dtype()));
    sum.add(to_string(tensor.shape()));
    sum.add(tensor);
  }
  return sum.text();
}

Checkpoint load_checkpoint(const fs::path& file) {
  return parse_checkpoint(read_safetensors(file), file.string());
}

bool is_checkpoint(const TensorFile& content) { return content.metadata.contains(kVersionKey); }

Checkpoint parse_checkpoint(const TensorFile& content, const std::string& name) {
  const std::string& version = field(content, kVersionKey, name);
  METTLE_CHECK(FileError, version == kVersion,
               "{}: a checkpoint of version '{}', this program reads version {}", name, version,
               kVersion);
  METTLE_CHECK(FileError, field(content, kChecksum, name) == checkpoint_checksum(content),
               "{}: damaged: its checksum does not fit its content", name);
  Checkpoint checkpoint;
  checkpoint.step = number_field<std::int64_t>(content, kStep, name);
  checkpoint.generator = Generator(number_field<std::uint64_t>(content, kSeed, name),
                                   number_field<std::uint64_t>(content, kOffset, name));
  checkpoint.configuration = field(content, kConfiguration, name);
  for (const auto& [key, text] : content.metadata)
    if (key.starts_with(kNotePrefix)) checkpoint.notes[key.substr(kNotePrefix.size())] = text;
  for (const auto& [key, tensor] : content.tensors) {
    const std::size_t slash = key.find('/');
    METTLE_CHECK(FileError, slash != std::string::npos && slash > 0,
                 "{}: not a checkpoint of Mettle: a tensor outside of all groups", name);
    checkpoint.tensors[key.substr(0, slash)].emplace(key.substr(slash + 1), tensor);
  }
  return checkpoint;
}

std::optional<Checkpoint> latest_checkpoint(const fs::path& folder) {
  const std::vector<SavedStep> steps = saved_steps(folder);
  for (const SavedStep& saved : steps) {
    try {
      return load_checkpoint(saved.file);
    } catch (const FileError& error) {
      log_warning("checkpoint skipped: {}", error.message());
    }
  }
  METTLE_CHECK(FileError, steps.empty(), "{}: none of its {} checkpoints is valid", folder.string(),
               steps.size());
  return std::nullopt;
}

std::optional<Checkpoint> best_checkpoint(const fs::path& folder) {
  const fs::path file = folder / kBestFile;
  std::error_code error;
  if (!fs::exists(file, error)) return std::nullopt;
  return load_checkpoint(file);
}

CheckpointWriter::CheckpointWriter(fs::path folder, int keep,
                                   std::optional<std::int64_t> resumed_from)
    : folder_(std::move(folder)), keep_(keep) {
  METTLE_CHECK(ValueError, keep >= 1, "CheckpointWriter: keep {} checkpoints, at least 1", keep);
  make_folder(folder_);
  remove_abandoned(folder_);
  set_aside_others(resumed_from);
  for (const SavedStep& saved : saved_steps(folder_)) steps_.push_back(saved.step);
  std::reverse(steps_.begin(), steps_.end());
}

void CheckpointWriter::set_aside_others(std::optional<std::int64_t> resumed_from) const {
  for (const SavedStep& saved : saved_steps(folder_))
    if (!resumed_from || saved.step > *resumed_from) set_aside(saved.file);
  const fs::path best = folder_ / kBestFile;
  std::error_code error;
  if (!fs::exists(best, error)) return;
  try {
    if (resumed_from && load_checkpoint(best).step <= *resumed_from) return;
  } catch (const FileError& damage) {
    log_warning("the best checkpoint is damaged: {}", damage.message());
  }
  set_aside(best);
}

fs::path CheckpointWriter::save(const Checkpoint& checkpoint) {
  METTLE_CHECK(ValueError, steps_.empty() || checkpoint.step >= steps_.back(),
               "{}: a checkpoint of step {} after one of step {}; make a CheckpointWriter that is "
               "told from which step the run goes on",
               folder_.string(), checkpoint.step, steps_.back());
  const fs::path file = step_file(folder_, checkpoint.step);
  save_checkpoint(file, checkpoint);
  if (steps_.empty() || checkpoint.step > steps_.back()) steps_.push_back(checkpoint.step);
  while (std::ssize(steps_) > keep_) {
    const fs::path old = step_file(folder_, steps_.front());
    std::error_code error;  // what cannot be removed costs room, not safety
    fs::remove(old, error);
    if (error)
      log_warning("{}: old checkpoint cannot be removed: {}", old.string(), error.message());
    steps_.erase(steps_.begin());
  }
  return file;
}

fs::path CheckpointWriter::save_best(const Checkpoint& checkpoint) {
  fs::path file = folder_ / kBestFile;
  save_checkpoint(file, checkpoint);
  return file;
}

}  // namespace mettle
