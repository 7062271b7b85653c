// Which run a checkpoint belongs to: every fact that the result of a stage depends on, by name, as
// JSON. A run goes on from a checkpoint only where all of them are the same.
#pragma once

#include <string>
#include <string_view>

#include "engine/check.h"

namespace mettle {

struct NeuralTrainingOptions;
struct Dataset;
struct ColdStartSplit;

/// A checkpoint of a run with other options or other data.
class OtherRunError : public FileError {
 public:
  OtherRunError(const std::string& file, std::string option, std::string begun_with,
                std::string now);
  /// The first fact that differs, named as the options of `mettle train` are where there is one,
  /// and its values as JSON; "nothing" where one of the two has no such fact.
  const std::string& option() const { return option_; }
  const std::string& begun_with() const { return begun_with_; }
  const std::string& now() const { return now_; }

 private:
  std::string option_, begun_with_, now_;
};

/// One JSON object. The stage "joint" depends on less than the others.
std::string run_identity(const Dataset& data, const ColdStartSplit& split,
                         const NeuralTrainingOptions& options, std::string_view stage);

/// OtherRunError when the two differ; FileError when the saved one is no such object.
void require_same_run(const std::string& saved, const std::string& now, const std::string& file);

}  // namespace mettle
