// Ctrl-C as a question instead of a blow: the first SIGINT or SIGTERM only sets a flag, so that a
// training loop can finish its step and save.
#pragma once

namespace mettle {

/// While it lives, the first SIGINT or SIGTERM is noted and the second ends the process as it would
/// without us. Its end restores the handlers that were there. A signal that the process was started
/// to ignore (nohup, `&` in a script) stays ignored. At most one lives at a time: ValueError.
class InterruptScope {
 public:
  InterruptScope();
  InterruptScope(const InterruptScope&) = delete;
  InterruptScope& operator=(const InterruptScope&) = delete;
  ~InterruptScope();

  /// Whether a signal has come since the scope began.
  bool interrupted() const { return signal() != 0; }
  /// Its number, or 0. A program that ends because of it returns 128 + signal().
  int signal() const;
};

}  // namespace mettle
