// A CUDA driver without a GPU: the engine's whole CUDA back end runs on it, allocator, streams,
// events, graphs and all.
//
//   set_cuda_driver(std::make_shared<emulation::EmulatedDriver>());
//   Tensor x = Tensor::zeros({3}, DType::f32, Device::cuda(0));
//
// What is queued waits until somebody needs it: a wait of the host, or of a device for all its
// streams. Then streams take turns in a drawn order, as far as events allow. So work that was not
// ordered, a host that reads too early, memory given back too early show as wrong values or as
// reports of the kernels that touch it, under some seed.
//
// Copies read and write host memory when they run, and take pinned memory only. While nothing runs
// the device's memory is out of reach: host code that follows a device pointer ends the process
// with a segmentation fault at the line that did it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/cuda_driver.h"
#include "kernels/emulation/machine.h"

namespace mettle::emulation {

struct DriverOptions {
  Options machine;  // its seed also draws the order of the streams
  int devices = 1;
  int multiprocessors = 4;  // few, so that kernels that fill the device stay small
  int capability_major = 9;
  std::size_t memory_bytes = std::size_t{2} << 30;  // for each device
  bool hide_memory = true;                          // from host code
};

class EmulatedDriver final : public CudaDriver {
 public:
  explicit EmulatedDriver(DriverOptions options = {});
  ~EmulatedDriver() override;

  /// From here on kernels and streams run in the order of this seed.
  void reseed(std::uint64_t seed);
  const Counts& counts(int device = 0) const;
  /// Names of all ranges since the driver was made, in the order in which they began.
  std::vector<std::string> ranges() const;
  int open_ranges() const;
  /// Injected failures: the allocation after so many more has no memory; work queued after so many
  /// more pieces fails as a kernel does that the device cannot recover from. Negative: none.
  void fail_allocation_after(int allocations);
  void fail_work_after(int pieces);

  int device_count() const override;
  std::string absence() const override;
  CudaDeviceInfo info(int device) const override;
  void* allocate(int device, std::size_t bytes) override;
  void release(int device, void* block) noexcept override;
  void* allocate_pinned(std::size_t bytes) override;
  void release_pinned(void* block) noexcept override;
  void copy(void* to, const void* from, std::size_t bytes, const Stream& stream) override;
  void fill(void* to, int byte, std::size_t bytes, const Stream& stream) override;
  Stream create_stream(int device, bool urgent) override;
  void destroy(const Stream& stream) noexcept override;
  void synchronize(const Stream& stream) override;
  void* create_event(int device) override;
  void destroy_event(void* event) noexcept override;
  void record(void* event, const Stream& stream) override;
  void wait(const Stream& stream, void* event) override;
  void synchronize_event(void* event) override;
  double milliseconds(void* from, void* to) override;
  void begin_capture(const Stream& stream) override;
  bool is_capturing(const Stream& stream) override;
  void* end_capture(const Stream& stream) override;
  void launch_graph(void* graph, const Stream& stream) override;
  void destroy_graph(void* graph) noexcept override;
  void push_range(const char* name) noexcept override;
  void pop_range() noexcept override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace mettle::emulation
