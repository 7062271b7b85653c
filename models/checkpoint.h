// The state of a training run on disk, one safetensors file per saved step: what it takes for a run
// that was stopped, killed or cut off to go on with the same bits. A save replaces nothing before
// it is complete and durable, so that there is a valid checkpoint from the first one on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/random.h"
#include "engine/tensor.h"
#include "models/params.h"

namespace mettle {

using NamedTensors = std::map<std::string, Tensor>;
struct TensorFile;

/// Everything that later steps depend on. Tensors are views, and may be on any device: saving
/// copies none of them on the CPU.
struct Checkpoint {
  std::int64_t step = 0;      // steps done
  Generator generator{};      // of the next random number
  std::string configuration;  // of the run, as JSON: to refuse a resume with another one
  std::map<std::string, std::string> notes;     // further state as text: best metric, patience
  std::map<std::string, NamedTensors> tensors;  // by group: "parameters", "rates", "optimizer"
};

/// The defined values of `params` by their names.
NamedTensors named_tensors(const Params& params);
/// `tensors` as parameters named, ordered, placed and requiring gradients like `like`, for
/// Checkpoint::tensors of a model of the same configuration. ValueError for a missing or unknown
/// name, ShapeError and DTypeError for a tensor that differs, each naming it.
Params params_like(const Params& like, const NamedTensors& tensors);

/// Writes one file, with a checksum over all of it. Its tensors are called GROUP/NAME, other
/// programs read it as any safetensors file. Errors as write_safetensors(); ValueError for a
/// negative step and for a group whose name is empty or has a '/'.
void save_checkpoint(const std::filesystem::path& file, const Checkpoint& checkpoint);
/// FileError when the file cannot be read, is damaged in any bit, or is no checkpoint.
Checkpoint load_checkpoint(const std::filesystem::path& file);
/// The same from what read_safetensors() gave. `name` begins the error messages.
Checkpoint parse_checkpoint(const TensorFile& content, const std::string& name);
/// Whether the content says that it is a checkpoint.
bool is_checkpoint(const TensorFile& content);
/// CRC-32 of all but the entry "checksum", as it stands there.
std::string checkpoint_checksum(const TensorFile& content);

/// The newest checkpoint of a folder that is valid; damaged ones are skipped with a warning in the
/// log. Nothing when there is none at all, FileError when all of them are damaged: a run that has
/// been going on for long should not begin anew without a word.
std::optional<Checkpoint> latest_checkpoint(const std::filesystem::path& folder);
/// The checkpoint that save_best() saved last, if any. FileError when it is damaged.
std::optional<Checkpoint> best_checkpoint(const std::filesystem::path& folder);

/// The checkpoints of one run, in a folder that this run alone writes to. It removes none that the
/// run did not write.
class CheckpointWriter {
 public:
  /// For a new run, or for one that goes on from the checkpoint of step `resumed_from`, as
  /// latest_checkpoint() told: checkpoints up to that step are the run's own. All others, and a
  /// best one that is not of the run, are set aside: renamed to NAME.abandoned (NAME.abandoned-2
  /// and so on where there is one), which no function here reads, with a warning in the log.
  /// Makes the folder where it is missing and removes unfinished files that a killed run left.
  /// FileError when it cannot be made or a file cannot be renamed; ValueError unless keep >= 1.
  explicit CheckpointWriter(std::filesystem::path folder, int keep = 2,
                            std::optional<std::int64_t> resumed_from = {});

  /// Saves folder/step-STEP.safetensors and returns its path. Only then are the run's older ones
  /// removed, but for the newest `keep`. ValueError for a step below the last one: a run that is
  /// taken up again before it needs a writer of its own. Errors as save_checkpoint(), nothing being
  /// removed then.
  std::filesystem::path save(const Checkpoint& checkpoint);
  /// Saves folder/best.safetensors, which stays until a better one replaces it.
  std::filesystem::path save_best(const Checkpoint& checkpoint);

 private:
  void set_aside_others(std::optional<std::int64_t> resumed_from) const;

  std::filesystem::path folder_;
  int keep_;
  std::vector<std::int64_t> steps_;  // of the run's checkpoints, ascending
};

}  // namespace mettle
