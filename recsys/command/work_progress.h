// Shows work while it goes on: a bar for each piece on a terminal, plain lines elsewhere.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "engine/progress.h"
#include "recsys/work.h"

namespace mettle::command {

class WorkProgress {
 public:
  /// `prefix` stands before the names of work, such as "seed 3 ".
  explicit WorkProgress(std::string prefix = {}) : prefix_(std::move(prefix)) {}

  void show(const WorkRecord& record);
  /// A line of its own, above the bar.
  void note(std::string_view line);
  /// Ends the line; the next record begins another one.
  void finish() { bar_.reset(); }

 private:
  std::string prefix_;
  std::unique_ptr<Progress> bar_;
};

}  // namespace mettle::command
