// From records of work to Progress.
#include "recsys/command/work_progress.h"

#include <fmt/core.h>
#include <unistd.h>

#include <iostream>

namespace mettle::command {

void WorkProgress::show(const WorkRecord& record) {
  if (record.begins || !bar_) {
    finish();
    bar_ = std::make_unique<Progress>(std::cerr, terminal_of(STDERR_FILENO),
                                      fmt::format("{}{}", prefix_, record.work), record.total,
                                      record.done);
    return;
  }
  bar_->expect(record.total);
  bar_->update(record.done, record.loss);
}

void WorkProgress::note(std::string_view line) {
  if (bar_) bar_->note(fmt::format("{}{}", prefix_, line));
}

}  // namespace mettle::command
