// The driver of a GPU: the CUDA runtime, linked statically, so that a program starts on machines
// without CUDA and finds no device there.
#include <cuda_runtime.h>
#include <nvtx3/nvToolsExt.h>

#include <atomic>
#include <mutex>

#include "engine/check.h"
#include "engine/cuda_driver.h"

namespace mettle {
namespace {

cudaStream_t handle_of(const Stream& stream) { return static_cast<cudaStream_t>(stream.handle); }

/// Makes a device current while it lives.
class OnDevice {
 public:
  explicit OnDevice(int device) {
    cudaGetDevice(&before_);
    if (before_ != device) cudaSetDevice(device);
    changed_ = before_ != device;
  }
  ~OnDevice() {
    if (changed_) cudaSetDevice(before_);
  }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

 private:
  int before_ = 0;
  bool changed_ = false;
};

class RuntimeDriver final : public CudaDriver {
 public:
  RuntimeDriver() {
    // Any error means that there is no device: no driver, one that is too old, none allowed.
    const cudaError_t error = cudaGetDeviceCount(&devices_);
    if (error != cudaSuccess || devices_ == 0) {
      devices_ = 0;
      absence_ = fmt::format("no usable GPU ({}); use the cpu device",
                             error == cudaSuccess ? "none is visible" : cudaGetErrorString(error));
      cudaGetLastError();  // forgets it
    }
  }

  int device_count() const override { return devices_; }
  std::string absence() const override { return absence_; }
  CudaDeviceInfo info(int device) const override {
    cudaDeviceProp p{};
    check(cudaGetDeviceProperties(&p, device), "properties of the device");
    return {p.name,
            p.major,
            p.minor,
            p.multiProcessorCount,
            p.totalGlobalMem,
            static_cast<std::size_t>(p.l2CacheSize),
            p.sharedMemPerBlockOptin};
  }

  void* allocate(int device, std::size_t bytes) override {
    const OnDevice on(device);
    const Relaxed relaxed;
    void* block = nullptr;
    const cudaError_t error = cudaMalloc(&block, bytes);
    if (error == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      return nullptr;
    }
    check(error, "cudaMalloc");
    return block;
  }
  void release(int device, void* block) noexcept override {
    const OnDevice on(device);
    cudaFree(block);
  }
  void* allocate_pinned(std::size_t bytes) override {
    void* block = nullptr;
    check(cudaHostAlloc(&block, bytes, cudaHostAllocPortable | cudaHostAllocMapped),
          "cudaHostAlloc");
    return block;
  }
  void release_pinned(void* block) noexcept override {
    if (block) cudaFreeHost(block);
  }

  void copy(void* to, const void* from, std::size_t bytes, const Stream& stream) override {
    const OnDevice on(stream.device.index);
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, handle_of(stream)),
          "cudaMemcpyAsync");
  }
  void fill(void* to, int byte, std::size_t bytes, const Stream& stream) override {
    const OnDevice on(stream.device.index);
    check(cudaMemsetAsync(to, byte, bytes, handle_of(stream)), "cudaMemsetAsync");
  }

  Stream create_stream(int device, bool urgent) override {
    const OnDevice on(device);
    int least = 0, greatest = 0;
    check(cudaDeviceGetStreamPriorityRange(&least, &greatest), "stream priorities");
    cudaStream_t stream = nullptr;
    check(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, urgent ? greatest : least),
          "cudaStreamCreate");
    return {Device::cuda(device), stream};
  }
  void destroy(const Stream& stream) noexcept override { cudaStreamDestroy(handle_of(stream)); }
  void synchronize(const Stream& stream) override {
    const OnDevice on(stream.device.index);
    check(cudaStreamSynchronize(handle_of(stream)), "cudaStreamSynchronize");
  }

  void* create_event(int device) override {
    const OnDevice on(device);
    cudaEvent_t event = nullptr;
    check(cudaEventCreate(&event), "cudaEventCreate");
    return event;
  }
  void destroy_event(void* event) noexcept override {
    cudaEventDestroy(static_cast<cudaEvent_t>(event));
  }
  void record(void* event, const Stream& stream) override {
    const OnDevice on(stream.device.index);
    check(cudaEventRecord(static_cast<cudaEvent_t>(event), handle_of(stream)), "cudaEventRecord");
  }
  void wait(const Stream& stream, void* event) override {
    const OnDevice on(stream.device.index);
    check(cudaStreamWaitEvent(handle_of(stream), static_cast<cudaEvent_t>(event), 0),
          "cudaStreamWaitEvent");
  }
  void synchronize_event(void* event) override {
    check(cudaEventSynchronize(static_cast<cudaEvent_t>(event)), "cudaEventSynchronize");
  }
  double milliseconds(void* from, void* to) override {
    float time = 0;
    check(cudaEventElapsedTime(&time, static_cast<cudaEvent_t>(from), static_cast<cudaEvent_t>(to)),
          "cudaEventElapsedTime");
    return static_cast<double>(time);
  }

  void begin_capture(const Stream& stream) override {
    const OnDevice on(stream.device.index);
    check(cudaStreamBeginCapture(handle_of(stream), cudaStreamCaptureModeThreadLocal),
          "cudaStreamBeginCapture");
  }
  bool is_capturing(const Stream& stream) override {
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    check(cudaStreamIsCapturing(handle_of(stream), &status), "cudaStreamIsCapturing");
    return status != cudaStreamCaptureStatusNone;
  }
  void* end_capture(const Stream& stream) override {
    const OnDevice on(stream.device.index);
    cudaGraph_t graph = nullptr;
    check(cudaStreamEndCapture(handle_of(stream), &graph), "cudaStreamEndCapture");
    if (!graph) return nullptr;
    cudaGraphExec_t ready = nullptr;
    const cudaError_t error = cudaGraphInstantiate(&ready, graph, 0);
    cudaGraphDestroy(graph);
    check(error, "cudaGraphInstantiate");
    return ready;
  }
  void launch_graph(void* graph, const Stream& stream) override {
    const OnDevice on(stream.device.index);
    check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), handle_of(stream)),
          "cudaGraphLaunch");
  }
  void destroy_graph(void* graph) noexcept override {
    if (graph) cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph));
  }

  void push_range(const char* name) noexcept override { nvtxRangePushA(name); }
  void pop_range() noexcept override { nvtxRangePop(); }

 private:
  // Lets this thread allocate while one of its streams captures: the memory is not part of the
  // graph.
  class Relaxed {
   public:
    Relaxed() { cudaThreadExchangeStreamCaptureMode(&mode_); }
    ~Relaxed() { cudaThreadExchangeStreamCaptureMode(&mode_); }
    Relaxed(const Relaxed&) = delete;
    Relaxed& operator=(const Relaxed&) = delete;

   private:
    cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;
  };

  // After an error of a kernel the process can use the device no more: every call returns it again.
  static bool is_final(cudaError_t error) {
    switch (error) {
      case cudaErrorIllegalAddress:
      case cudaErrorLaunchFailure:
      case cudaErrorAssert:
      case cudaErrorMisalignedAddress:
      case cudaErrorInvalidPc:
      case cudaErrorIllegalInstruction:
      case cudaErrorHardwareStackError:
      case cudaErrorECCUncorrectable: return true;
      default: return false;
    }
  }
  static void check(cudaError_t error, const char* call) {
    if (error == cudaSuccess) return;
    cudaGetLastError();
    fail<DeviceError>("{}: {}{}", call, cudaGetErrorString(error),
                      is_final(error)
                          ? "; the device cannot be used by this process any more, start "
                            "it again"
                          : "");
  }

  int devices_ = 0;
  std::string absence_;
};

}  // namespace

std::shared_ptr<CudaDriver> make_cuda_runtime_driver() { return std::make_shared<RuntimeDriver>(); }

}  // namespace mettle
