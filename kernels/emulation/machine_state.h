// What a machine keeps between blocks and between launches.
#pragma once

#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/emulation/clock.h"
#include "kernels/emulation/device_heap.h"
#include "kernels/emulation/fiber.h"
#include "kernels/emulation/machine.h"
#include "kernels/emulation/places.h"
#include "kernels/emulation/runtime.h"
#include "kernels/emulation/shadow.h"
#include "kernels/emulation/shared_arena.h"

namespace mettle::emulation {

struct Thread;

/// One launch, as its blocks see it.
struct Launch {
  const dev::LaunchShape& shape;
  bool instrumented;
  void (*kernel)(const void* arguments);
  const void* arguments;
  BlockId first_block;  // serial number of the first block to run

  int threads() const { return shape.block.x * shape.block.y * shape.block.z; }
};

/// A report whose lines are not looked up yet: {0}, {1}, ... in the text stand for the places.
struct UnlocatedReport {
  Finding finding;
  std::string text;
  std::vector<Place> places;
};

/// What atomics have published, by address.
using Published = std::map<const void*, std::shared_ptr<const BlockClocks>>;

/// Small, fast and good enough to shuffle threads: xorshift64*.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_((seed + 1) * 0x9E3779B97F4A7C15u) {}
  std::uint64_t below(std::uint64_t bound) {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return ((state_ * 0x2545F4914F6CDD1Du) >> 32) * bound >> 32;
  }

 private:
  std::uint64_t state_;
};

struct MachineState final : LaunchQueue {
  explicit MachineState(const Options& o);
  ~MachineState() override;

  Options options;
  Counts counts;
  Random random;
  DeviceHeap heap;
  SharedArena arena;
  Places places;
  Detector detector;
  BlockId next_block = 1;
  // Indices of the blocks of the launch, in the order in which they run.
  std::vector<dev::Dim3> order;

  std::unique_ptr<FiberStacks> stacks;
  std::vector<Thread> threads;

  // What atomics in device memory have published in this launch.
  Published published;

  std::vector<UnlocatedReport> reports;
  std::set<std::tuple<Finding, Place, Place>> reported;
  bool stopped = false;       // no thread of this launch may run any more
  std::exception_ptr thrown;  // by a kernel

  /// Whether nothing of this kind has been noted for these places.
  bool is_new(Finding finding, Place place, Place other) const {
    return !reported.contains({finding, place, other});
  }
  /// Notes a report if it is new.
  void note(UnlocatedReport report);
  /// Throws what the launch found, if anything.
  void throw_findings();
  /// Runs the kernel; it is done when the call returns.
  void launch(const KernelCall& call) override;
};

}  // namespace mettle::emulation
