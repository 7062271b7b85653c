// A stretch of work noted once and launched again and again, without the host's cost for each of
// its kernels: a whole training step, a whole second-order meta-step.
//
//   CudaGraph graph = CudaGraph::capture(device, [&] { loss = step(params, batch); });
//   for (...) { batch.copy_from(...); graph.launch(); }
//
// docs/cuda-graphs.md: a training step with dropout, clipping, optimizer and schedule.
//
// The work reads and writes the memory that it had when it was captured: new inputs are copied into
// the same tensors, and results stand in the tensors that the capture made. Numbers of the host,
// such as a rate or a PhiloxKey, stay those of the capture; what is to change stands in tensors.
#pragma once

#include <functional>

#include "engine/cuda_allocator.h"
#include "engine/device.h"

namespace mettle {

class CudaGraph {
 public:
  /// Runs `work`, whose operations on `device` are noted instead of done. It must not copy from or
  /// to the host, which reading a value does: that throws DeviceError, saying so. Run it once
  /// before, so that nothing is set up for the first time inside. Throws DeviceError on the cpu,
  /// and whatever the work throws; then nothing stays captured.
  static CudaGraph capture(Device device, const std::function<void()>& work);

  CudaGraph(CudaGraph&& other) noexcept;
  CudaGraph& operator=(CudaGraph&& other) noexcept;
  ~CudaGraph();

  /// Queues the work once more on the current stream of the device.
  void launch();

 private:
  CudaGraph(Device device, void* handle, CudaAllocator::Pool pool)
      : device_(device), handle_(handle), pool_(pool) {}
  void release() noexcept;

  Device device_;
  void* handle_ = nullptr;
  CudaAllocator::Pool pool_ = 0;
};

}  // namespace mettle
