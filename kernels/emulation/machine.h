// The emulated device: memory, a stream to launch kernels on, and what it counted.
//
//   emulation::Machine machine({.seed = 3});
//   float* x = machine.allocate<float>(1000);        // an address that the host can use as well
//   dev::launch(scale, {.grid = {4}, .block = {256}}, machine.stream(), x, 2.0f, 1000);
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "engine/device.h"
#include "kernels/cuda/device_types.cuh"
#include "kernels/emulation/report.h"

namespace mettle::emulation {

struct Options {
  std::uint64_t seed = 0;           // of the order in which threads run
  bool uninitialised_reads = true;  // report reads of shared memory that the block did not write
  int max_reports = 16;             // races and the like that one launch collects before it stops
};

/// Sums over all launches of a machine.
struct Counts {
  std::int64_t switches = 0;
  std::int64_t block_barriers = 0;
  std::int64_t warp_operations = 0;
  std::int64_t accesses = 0;            // plain loads and stores of instrumented kernels
  std::int64_t ldmatrix_phases = 0;     // 8 rows of 16 bytes each
  std::int64_t ldmatrix_conflicts = 0;  // phases that other rows of the same banks add
};

struct MachineState;

/// One device. Launches run in the calling thread and are done when they return; a machine serves
/// one thread at a time.
class Machine {
 public:
  explicit Machine(Options options = {});
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;
  ~Machine();

  /// For dev::launch(). Valid as long as the machine.
  Stream stream();

  /// Device memory for `count` elements, all NaN. Throws MemoryError when there is none.
  template <class T> T* allocate(std::size_t count) {
    return static_cast<T*>(allocate_bytes(count * sizeof(T)));
  }
  void* allocate_bytes(std::size_t bytes);
  /// Throws ValueError for anything but a pointer from allocate() or null.
  void release(void* pointer);

  const Counts& counts() const;
  /// From here on threads run in the order of this seed.
  void reseed(std::uint64_t seed);

 private:
  std::unique_ptr<MachineState> state_;
};

}  // namespace mettle::emulation
