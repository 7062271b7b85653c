// The reading of markers, and the expectation of a diagnosis.
#include "tests/emulation/planted.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "engine/random.h"

namespace mettle::emulation_test {

using emulation::EmulationError;
using emulation::Machine;
using emulation::Report;

int marked_line(const std::string& file, const std::string& marker) {
  std::ifstream in(METTLE_SOURCE_DIR "/tests/emulation/" + file);
  std::string text;
  for (int line = 1; std::getline(in, text); ++line)
    if (text.ends_with("// " + marker)) return line;
  ADD_FAILURE() << file << " has no line marked " << marker;
  return 0;
}

std::vector<Report> reports_of(const std::function<void()>& run) {
  try {
    run();
  } catch (const EmulationError& error) {
    return error.reports();
  }
  return {};
}

bool names_line(const Report& report, const std::string& file, const std::string& marker) {
  const int wanted = marked_line(file, marker);
  return std::ranges::any_of(std::vector{report.line, report.other}, [&](const auto& line) {
    return line.line == wanted && line.file.ends_with("tests/emulation/" + file);
  });
}

void expect_diagnosed(const Planted& planted) {
  if (!instrumented && !planted.plain) return;
  Machine machine;
  for (int seed = 0; seed < seeds; ++seed) {
    machine.reseed(static_cast<std::uint64_t>(seed));
    const auto reports = reports_of([&] { planted.run(machine); });
    const bool found = std::ranges::any_of(reports, [&](const Report& report) {
      return std::ranges::count(planted.findings, report.finding) > 0 &&
             (planted.marker.empty() || names_line(report, planted.file, planted.marker));
    });
    std::string all;
    for (const Report& report : reports)
      all += "\n  " + std::string(to_string(report.finding)) + ": " + report.text;
    ASSERT_TRUE(found) << planted.name << ", seed " << seed << ": no \""
                       << to_string(planted.findings.front()) << "\" at the line marked \""
                       << planted.marker << "\" among:" << (all.empty() ? " nothing" : all);
  }
}

float* random_floats(Machine& machine, std::size_t count, int stream) {
  const PhiloxKey key{.seed = 7, .offset = static_cast<std::uint64_t>(stream)};
  auto* values = machine.allocate<float>(count);
  for (std::size_t i = 0; i < count; ++i)
    values[i] = static_cast<float>(key.bits(i) >> 8) * 0x1p-23f - 1.0f;
  return values;
}

}  // namespace mettle::emulation_test
