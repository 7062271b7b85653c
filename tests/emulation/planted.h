// Running a kernel with a planted mistake, and finding the line on which it was planted.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "kernels/emulation/machine.h"
#include "kernels/emulation/report.h"

namespace mettle::emulation_test {

// Orders of threads that each kernel is run in. Sanitizers take twenty times as long.
#if defined(METTLE_FEW_SEEDS)
inline constexpr int seeds = 2;
#else
inline constexpr int seeds = 20;
#endif

#if defined(METTLE_EMULATION_RACE)
inline constexpr bool instrumented = true;
#else
inline constexpr bool instrumented = false;
#endif

/// A mistake and its diagnosis.
struct Planted {
  std::string name;
  std::function<void(emulation::Machine&)> run;  // allocates and launches
  std::vector<emulation::Finding>
      findings;        // any of these: some mistakes show differently by order
  std::string file;    // in tests/emulation
  std::string marker;  // the end of the line, after "// "; empty: reported without a line
  bool plain = false;  // also found without instrumentation
};

/// The number of the line of tests/emulation/`file` that ends in "// `marker`".
int marked_line(const std::string& file, const std::string& marker);

/// What launches inside of `run` report; empty when they report nothing.
std::vector<emulation::Report> reports_of(const std::function<void()>& run);

/// Whether the report's line, or the one that it collides with, is the marked one.
bool names_line(const emulation::Report& report, const std::string& file,
                const std::string& marker);

/// Expects the diagnosis for every seed. Mistakes that this flavour cannot see are not run.
void expect_diagnosed(const Planted& planted);

/// `count` device elements of fixed pseudo-random values in [-1, 1).
float* random_floats(emulation::Machine& machine, std::size_t count, int stream = 0);

}  // namespace mettle::emulation_test
