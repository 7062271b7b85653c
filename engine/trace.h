// What ran when, for the question where the time of a step goes.
//
//   METTLE_TRACE=step.json mettle train ...        a Chrome trace: open it in ui.perfetto.dev
//   METTLE_NVTX=1 nsys profile mettle train ...    the same ranges for Nsight (build with CUDA)
//
// Every kernel, every gradient rule and every grad() is a range, and whatever a program wraps in a
// TraceRange. A row for each thread shows the host; a row for each CUDA stream shows the device,
// timed by events around each kernel. What a CUDA graph runs is one range. While nothing is traced
// a range costs one load.
#pragma once

#include <atomic>
#include <filesystem>
#include <string>

#include "engine/device.h"

namespace mettle {

/// Writes the ranges that begin while it lives to a file: an array of JSON objects, one a line,
/// which is readable at any moment, whatever ends the process. A disk that is full ends the trace
/// with a warning, not the program.
class Trace {
 public:
  /// Throws FileError when the file cannot be made, ValueError while another trace is written.
  explicit Trace(const std::filesystem::path& path);
  /// Waits for the traced work of CUDA devices.
  ~Trace();
  Trace(const Trace&) = delete;
  Trace& operator=(const Trace&) = delete;

  /// Starts what METTLE_TRACE and METTLE_NVTX ask for, to the end of the process; the first kernel
  /// does so. Throws as the constructor.
  static void start_from_environment();
};

namespace detail {
inline std::atomic<bool> tracing{false};
}

/// A range on this thread, from its construction to its end. Ranges nest.
class TraceRange {
 public:
  /// `name` and `category` outlive it (literals).
  explicit TraceRange(const char* name, const char* category = "range")
      : TraceRange(name, category, [] { return std::string(); }) {}
  /// `describe()`, a string, is called only while something is traced. `stream`: where the range's
  /// work is queued, when it is work of a CUDA device.
  template <class Describe>
  TraceRange(const char* name, const char* category, const Describe& describe,
             const Stream& stream = {}) {
    if (detail::tracing.load(std::memory_order_relaxed)) [[unlikely]]
      begin(name, category, describe(), stream);
  }
  ~TraceRange() {
    if (open_) [[unlikely]]
      end();
  }
  TraceRange(const TraceRange&) = delete;
  TraceRange& operator=(const TraceRange&) = delete;

 private:
  struct Open;
  void begin(const char* name, const char* category, std::string detail, const Stream& stream);
  void end() noexcept;
  static void finish(const Open& open);

  Open* open_ = nullptr;
};

}  // namespace mettle
