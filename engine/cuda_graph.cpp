// Capturing: the stream notes, the allocator serves from a pool of the graph's own.
#include "engine/cuda_graph.h"

#include <utility>

#include "engine/check.h"
#include "engine/cuda_device.h"
#include "engine/exec.h"
#include "engine/trace.h"

namespace mettle {

CudaGraph CudaGraph::capture(Device device, const std::function<void()>& work) {
  METTLE_CHECK(DeviceError, device.type == DeviceType::cuda,
               "graph capture: {} has no graphs; call the work itself there", to_string(device));
  CudaDevice& d = cuda_device(device);
  const Stream stream = current_stream(device);
  const CudaAllocator::Pool pool = d.allocator().open_pool();
  void* handle = nullptr;
  try {
    d.driver().begin_capture(stream);
    work();
    handle = d.driver().end_capture(stream);
  } catch (...) {
    try {
      if (d.driver().is_capturing(stream)) d.driver().destroy_graph(d.driver().end_capture(stream));
    } catch (...) {  // the first error is the one to tell; NOLINT(bugprone-empty-catch)
    }
    d.allocator().close_pool();
    d.allocator().release_pool(pool);
    throw;
  }
  d.allocator().close_pool();
  return {device, handle, pool};
}

CudaGraph::CudaGraph(CudaGraph&& other) noexcept
    : device_(other.device_),
      handle_(std::exchange(other.handle_, nullptr)),
      pool_(std::exchange(other.pool_, 0)) {}

CudaGraph& CudaGraph::operator=(CudaGraph&& other) noexcept {
  if (this != &other) {
    release();
    device_ = other.device_;
    handle_ = std::exchange(other.handle_, nullptr);
    pool_ = std::exchange(other.pool_, 0);
  }
  return *this;
}

CudaGraph::~CudaGraph() { release(); }

void CudaGraph::launch() {
  METTLE_CHECK(DeviceError, handle_, "graph: it was moved from");
  const Stream stream = current_stream(device_);
  const TraceRange range(
      "graph", "graph", [] { return std::string(); }, stream);
  cuda_device(device_).driver().launch_graph(handle_, stream);
}

void CudaGraph::release() noexcept {
  if (!handle_) return;
  CudaDevice& d = cuda_device(device_);
  d.driver().destroy_graph(std::exchange(handle_, nullptr));
  d.allocator().release_pool(pool_);
}

}  // namespace mettle
