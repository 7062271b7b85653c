// Long work as those see it who wait for it: how far it is, and a way to stop it. What is worked on
// stays whole: work that is stopped ends by an exception, between two of its parts.
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace mettle {

/// How far a piece of work is.
struct WorkRecord {
  std::string_view work;  // its name
  std::int64_t done = 0;  // parts
  std::int64_t total = 0;
  std::optional<double> loss;
  bool begins = false;  // the first record of this piece
};

/// Calls from inside of the work, either of which may be missing. They outlive it.
struct WorkHooks {
  std::function<void(const WorkRecord&)> on_progress;  // as it begins and after every part
  std::function<bool()> interrupted;                   // asked after every part; true stops
};

/// The end of work because WorkHooks::interrupted said so: nothing went wrong, so it is no Error.
class Interrupted : public std::exception {
 public:
  explicit Interrupted(std::string work) : work_(std::move(work)) {}
  const std::string& work() const { return work_; }
  const char* what() const noexcept override { return "interrupted"; }

 private:
  std::string work_;
};

/// Called by work inside of other work after every part of its own. It may throw Interrupted.
using Tick = std::function<void()>;

/// A piece of work whose parts are counted.
class Work {
 public:
  /// `total` parts, of which `done` were done in an earlier run.
  Work(const WorkHooks& hooks, std::string name, std::int64_t total, std::int64_t done = 0);

  /// So many parts more are done; 0 for a smaller part. Interrupted when the hooks say so.
  void advance(std::int64_t parts = 1);
  /// The loss that is reached, shown from now on.
  void set_loss(double loss) { record_.loss = loss; }
  /// There turned out to be so many parts.
  void set_total(std::int64_t total) { record_.total = total; }

 private:
  void report();

  const WorkHooks& hooks_;
  std::string name_;
  WorkRecord record_;
};

}  // namespace mettle
