// What the emulation finds wrong with a kernel, and the exception that carries it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/check.h"

namespace mettle::emulation {

/// Kinds of mistakes. docs/cuda-emulation.md describes each.
enum class Finding {
  race,                // two accesses, one of them a write, that nothing orders
  divergent_barrier,   // threads of a block wait at different barriers, or left before one
  divergent_warp,      // lanes of a warp wait in different warp operations
  deadlock,            // no thread can go on
  out_of_bounds,       // outside of the allocation or the shared array
  use_after_free,      // device memory that was given back
  uninitialised_read,  // shared memory that this block did not write
  in_flight,           // bytes that an asynchronous copy has not delivered yet
  unfinished_copy,     // a thread ends while its asynchronous copies are under way
  misaligned,          // an operand of a copy or ldmatrix off its alignment
  shared_memory,       // more shared memory than launched with or than there is, or none where due
  inactive_lane,       // a warp operation that names or reads a lane that takes no part
  barrier_misuse,      // an mbarrier or named barrier used against its rules
  bad_launch,          // a grid or block that no GPU takes
  missing_fence,       // what the asynchronous proxy or a multiply reads was not fenced before
  bad_operand,         // a matrix in shared memory, accumulators or a tensor map against the rules
};

std::string_view to_string(Finding finding);

/// A line of a source file; `file` is empty when it is unknown.
struct SourceLine {
  std::string file;
  int line = 0;
};

/// "kernels/cuda/softmax.cuh:31".
std::string to_string(const SourceLine& line);

/// One finding. `text` tells it whole, threads and places included.
struct Report {
  Finding finding;
  std::string text;
  SourceLine line;   // of the operation that was found wrong
  SourceLine other;  // of the earlier one that it collides with, if there is one
};

/// Thrown by the launch of a kernel in which something was found; `what()` tells all of it.
class EmulationError : public Error {
 public:
  explicit EmulationError(std::vector<Report> reports);
  const std::vector<Report>& reports() const noexcept { return reports_; }

 private:
  std::vector<Report> reports_;
};

}  // namespace mettle::emulation
