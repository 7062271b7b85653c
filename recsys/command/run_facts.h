// Facts that stand beside every result: what ran, where, how long, with how much memory.
#pragma once

#include <chrono>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "engine/device.h"

namespace mettle::command {

/// Model name of the processor, "unknown" where the system does not tell.
std::string cpu_name();
/// Largest resident memory of this process so far, in MiB.
double peak_rss_mb();
/// "2026-11-24T13:05:00Z".
std::string utc_now();

/// Wall time since construction.
class Stopwatch {
 public:
  double seconds() const;

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// {"version", "commit", "date", "device", "cpu", "simd", "threads", "wall_s", "peak_rss_mb"}.
nlohmann::json run_facts(const Stopwatch& since_start, Device device);

}  // namespace mettle::command
