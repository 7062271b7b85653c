// A fault carries one number of the host's, the error names two: the pairs that were ever used have
// numbers. They are few, one for each kind of loss in a program.
#include "kernels/cuda/cross_entropy_fault.h"

#include <algorithm>
#include <mutex>
#include <utility>
#include <vector>

#include "kernels/argument_checks.h"

namespace mettle::kernels::cuda {
namespace {

struct Pairs {
  std::mutex mutex;
  std::vector<std::pair<std::int64_t, std::int64_t>> classes_and_ignored;
};
Pairs& pairs() {
  static Pairs all;
  return all;
}

std::int64_t number_of(std::int64_t classes, std::int64_t ignore_index) {
  const std::lock_guard lock(pairs().mutex);
  auto& known = pairs().classes_and_ignored;
  const std::pair pair{classes, ignore_index};
  const auto found = std::find(known.begin(), known.end(), pair);
  const std::int64_t number = found - known.begin();
  if (found == known.end()) known.push_back(pair);
  return number;
}

void explain(std::int64_t position, std::int64_t value, std::int64_t extra) {
  std::pair<std::int64_t, std::int64_t> pair;
  {
    const std::lock_guard lock(pairs().mutex);
    pair = pairs().classes_and_ignored[static_cast<std::size_t>(extra)];
  }
  throw_no_class(value, position, pair.first, pair.second);
}

}  // namespace

FaultReporter cross_entropy_fault(const Stream& stream, const CrossEntropyRows& of) {
  return fault_reporter(stream, explain, number_of(of.classes, of.ignore_index));
}

}  // namespace mettle::kernels::cuda
