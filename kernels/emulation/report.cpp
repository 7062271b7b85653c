// Findings as text.
#include "kernels/emulation/report.h"

#include <fmt/format.h>

namespace mettle::emulation {
namespace {

std::string joined(const std::vector<Report>& reports) {
  std::string text;
  for (const Report& report : reports)
    text +=
        fmt::format("{}{}: {}", text.empty() ? "" : "\n", to_string(report.finding), report.text);
  return text;
}

}  // namespace

std::string_view to_string(Finding finding) {
  switch (finding) {
    case Finding::race: return "race";
    case Finding::divergent_barrier: return "divergent barrier";
    case Finding::divergent_warp: return "divergent warp operation";
    case Finding::deadlock: return "deadlock";
    case Finding::out_of_bounds: return "out of bounds";
    case Finding::use_after_free: return "use after free";
    case Finding::uninitialised_read: return "uninitialised read";
    case Finding::in_flight: return "bytes in flight";
    case Finding::unfinished_copy: return "unfinished copy";
    case Finding::misaligned: return "misaligned";
    case Finding::shared_memory: return "shared memory";
    case Finding::inactive_lane: return "inactive lane";
    case Finding::barrier_misuse: return "barrier misuse";
    case Finding::bad_launch: return "bad launch";
    case Finding::missing_fence: return "missing fence";
    case Finding::bad_operand: return "bad operand";
  }
  return "unknown finding";
}

std::string to_string(const SourceLine& line) {
  return line.file.empty() ? "an unknown line" : fmt::format("{}:{}", line.file, line.line);
}

EmulationError::EmulationError(std::vector<Report> reports)
    : Error(joined(reports)), reports_(std::move(reports)) {}

}  // namespace mettle::emulation
