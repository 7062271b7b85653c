// From records of training to Progress.
#include "recsys/command/training_progress.h"

#include <fmt/core.h>
#include <unistd.h>

#include <iostream>

namespace mettle::command {

void TrainingProgress::step(const StepRecord& record) {
  const std::int64_t done = (record.epoch - 1) * record.steps + record.step;
  if (!bar_ || stage_ != record.stage) {
    finish();
    stage_ = record.stage;
    bar_ = std::make_unique<Progress>(std::cerr, terminal_of(STDERR_FILENO), prefix_ + stage_,
                                      record.epochs * record.steps, done - 1);
  }
  bar_->update(done, record.loss);
}

void TrainingProgress::epoch(const EpochRecord& record) {
  if (!bar_) return;
  bar_->note(fmt::format("{}{} epoch {}: loss {:.4f}, validation {:.4f}{}", prefix_, record.stage,
                         record.epoch, record.train_loss, record.validation_loss,
                         record.best ? " (best)" : ""));
}

void TrainingProgress::finish() {
  if (bar_) bar_->finish();
  bar_.reset();
}

}  // namespace mettle::command
