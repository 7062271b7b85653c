// Asks the system.
#include "recsys/command/run_facts.h"

#include <fmt/chrono.h>
#include <sys/resource.h>

#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/parallel.h"
#include "kernels/simd.h"
#include "recsys/command/build_facts.h"

namespace mettle::command {

std::string cpu_name() {
  std::ifstream in("/proc/cpuinfo");
  constexpr std::string_view key = "model name";
  for (std::string line; std::getline(in, line);) {
    const auto colon = line.find(": ");
    if (line.starts_with(key) && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown";
}

double peak_rss_mb() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024.0;  // Linux counts in KiB
}

std::string utc_now() {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)));
}

double Stopwatch::seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

nlohmann::json run_facts(const Stopwatch& since_start, Device device) {
  return {{"version", kVersion},         {"commit", kCommit},
          {"date", utc_now()},           {"device", to_string(device)},
          {"cpu", cpu_name()},           {"simd", kernels::simd_level()},
          {"threads", threads()},        {"wall_s", since_start.seconds()},
          {"peak_rss_mb", peak_rss_mb()}};
}

}  // namespace mettle::command
