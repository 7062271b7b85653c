// Counts parts and asks.
#include "recsys/work.h"

namespace mettle {

Work::Work(const WorkHooks& hooks, std::string name, std::int64_t total, std::int64_t done)
    : hooks_(hooks),
      name_(std::move(name)),
      record_{.work = {}, .done = done, .total = total, .loss = {}, .begins = true} {
  report();
  record_.begins = false;
}

void Work::advance(std::int64_t parts) {
  record_.done += parts;
  report();
  if (hooks_.interrupted && hooks_.interrupted()) throw Interrupted(name_);
}

void Work::report() {
  record_.work = name_;
  if (hooks_.on_progress) hooks_.on_progress(record_);
}

}  // namespace mettle
