// Shows training while it runs: a progress bar for each stage on a terminal, plain lines elsewhere.
#pragma once

#include <memory>
#include <string>

#include "engine/progress.h"
#include "recsys/neural/trainer.h"

namespace mettle::command {

class TrainingProgress {
 public:
  /// `prefix` stands before the names of stages, such as "seed 3 ".
  explicit TrainingProgress(std::string prefix = {}) : prefix_(std::move(prefix)) {}

  void step(const StepRecord& record);
  /// A line on the finished epoch, for runs that are watched.
  void epoch(const EpochRecord& record);
  /// Ends the bar of the stage, which early stopping may have cut short.
  void finish();

 private:
  std::string prefix_;
  std::string stage_;
  std::unique_ptr<Progress> bar_;
};

}  // namespace mettle::command
