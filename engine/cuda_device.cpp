// The devices in use, the driver behind them, and the transfers.
#include "engine/cuda_device.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <new>

#include "engine/check.h"
#include "engine/exec.h"
#include "engine/trace.h"

namespace mettle {
namespace {

constexpr std::size_t staging_bytes = std::size_t{4} << 20;
constexpr std::size_t max_devices = 64;

// What a build without CUDA has.
class NoDriver final : public CudaDriver {
 public:
  int device_count() const override { return 0; }
  std::string absence() const override {
    return "this build has no CUDA back end; configure it with the preset cuda, or use the cpu "
           "device";
  }
  CudaDeviceInfo info(int) const override { refuse(); }
  void* allocate(int, std::size_t) override { refuse(); }
  void release(int, void*) noexcept override {}
  void* allocate_pinned(std::size_t) override { refuse(); }
  void release_pinned(void*) noexcept override {}
  void copy(void*, const void*, std::size_t, const Stream&) override { refuse(); }
  void fill(void*, int, std::size_t, const Stream&) override { refuse(); }
  Stream create_stream(int, bool) override { refuse(); }
  void destroy(const Stream&) noexcept override {}
  void synchronize(const Stream&) override { refuse(); }
  void* create_event(int) override { refuse(); }
  void destroy_event(void*) noexcept override {}
  void record(void*, const Stream&) override { refuse(); }
  void wait(const Stream&, void*) override { refuse(); }
  void synchronize_event(void*) override { refuse(); }
  double milliseconds(void*, void*) override { refuse(); }
  void begin_capture(const Stream&) override { refuse(); }
  bool is_capturing(const Stream&) override { refuse(); }
  void* end_capture(const Stream&) override { refuse(); }
  void launch_graph(void*, const Stream&) override { refuse(); }
  void destroy_graph(void*) noexcept override {}
  void push_range(const char*) noexcept override {}
  void pop_range() noexcept override {}

 private:
  [[noreturn]] void refuse() const { fail<DeviceError>("{}", absence()); }
};

}  // namespace

#if defined(METTLE_CUDA)
std::shared_ptr<CudaDriver> make_cuda_runtime_driver();  // cuda_runtime_driver.cpp
#else
static std::shared_ptr<CudaDriver> make_cuda_runtime_driver() {
  return std::make_shared<NoDriver>();
}
#endif

namespace {

struct Devices {
  std::mutex mutex;
  std::shared_ptr<CudaDriver> driver;
  std::array<std::atomic<CudaDevice*>, max_devices> made{};
};

// Never destroyed: tensors in static objects may outlive any order of destruction.
Devices& devices() {
  static auto* all = new Devices{{}, make_cuda_runtime_driver(), {}};
  return *all;
}

CudaDevice& make_device(Device device) {
  Devices& all = devices();
  const std::lock_guard lock(all.mutex);
  auto& slot = all.made[static_cast<std::size_t>(device.index)];
  if (!slot) {
    const int count = all.driver->device_count();
    METTLE_CHECK(DeviceError, count > 0, "{}: {}", to_string(device), all.driver->absence());
    METTLE_CHECK(DeviceError, device.index < count,
                 "{}: there {} {} CUDA device{}, cuda:0 to cuda:{}", to_string(device),
                 count == 1 ? "is" : "are", count, count == 1 ? "" : "s", count - 1);
    slot = new CudaDevice(all.driver, device.index);
  }
  return *slot;
}

}  // namespace

CudaDevice& cuda_device(Device device) {
  METTLE_CHECK(DeviceError,
               device.index >= 0 && static_cast<std::size_t>(device.index) < max_devices,
               "{}: there is no such device", to_string(device));
  CudaDevice* made =
      devices().made[static_cast<std::size_t>(device.index)].load(std::memory_order_acquire);
  return made ? *made : make_device(device);
}

CudaDriver& cuda_driver() { return *devices().driver; }

void set_cuda_driver(std::shared_ptr<CudaDriver> driver) {
  Devices& all = devices();
  const std::lock_guard lock(all.mutex);
  for (const auto& made : all.made)
    METTLE_CHECK(DeviceError, !made || made.load()->allocator().stats().live_blocks == 0,
                 "set_cuda_driver: tensors live on a CUDA device");
  for (auto& made : all.made) delete made.exchange(nullptr);
  all.driver = driver ? std::move(driver) : make_cuda_runtime_driver();
}

CudaDevice::CudaDevice(std::shared_ptr<CudaDriver> driver, int index)
    : driver_(std::move(driver)),
      index_(index),
      info_(driver_->info(index)),
      compute_(driver_->create_stream(index, false)),
      communication_(driver_->create_stream(index, true)),
      allocator_(*driver_, index, info_.memory_bytes / 2),
      fault_(new (driver_->allocate_pinned(sizeof(DeviceFault))) DeviceFault) {}

CudaDevice::~CudaDevice() {
  for (const Staging& s : staging_) {
    if (s.event) driver_->destroy_event(s.event);
    driver_->release_pinned(s.data);
  }
  driver_->release_pinned(fault_);
  driver_->destroy(compute_);
  driver_->destroy(communication_);
}

void CudaDevice::synchronize(const Stream& stream) {
  refuse_capture(stream, "waiting for the device");
  wait(stream);
  throw_fault();
}

void CudaDevice::wait(const Stream& stream) const {
  try {
    driver_->synchronize(stream);
  } catch (const DeviceError& error) {
    const char* last = last_operation_;
    if (!*last) throw;
    fail<DeviceError>(
        "{}; the operation queued last was {} (METTLE_SYNC=1 names the one that failed)",
        error.message(), last);
  }
}

void CudaDevice::throw_fault() {
  if (!fault_->explain) return;
  const DeviceFault fault = *fault_;
  *fault_ = {};
  fault.explain(fault.position, fault.value, fault.extra);
}

void CudaDevice::refuse_capture(const Stream& stream, const char* what) {
  METTLE_CHECK(
      DeviceError, !driver_->is_capturing(stream),
      "{}: {} is not possible while a graph is captured, since its bytes would be those of "
      "the capture at every launch; do it before or after, and keep what the work needs in "
      "tensors of the device",
      to_string(stream.device), what);
}

std::byte* CudaDevice::stage(std::size_t bytes, const Stream& stream) {
  Staging* s = &staging_[current_];
  if (s->used + bytes > staging_bytes || (s->used && s->stream != stream.handle)) {
    driver_->record(s->event, {stream.device, s->stream});
    current_ = 1 - current_;
    s = &staging_[current_];
    if (s->used) driver_->synchronize_event(s->event);
    s->used = 0;
  }
  if (!s->data) {
    s->data = static_cast<std::byte*>(driver_->allocate_pinned(staging_bytes));
    s->event = driver_->create_event(index_);
  }
  s->stream = stream.handle;
  std::byte* at = s->data + s->used;
  s->used += (bytes + 15) / 16 * 16;
  return at;
}

void CudaDevice::upload(void* to, const void* from, std::size_t bytes, const Stream& stream) {
  refuse_capture(stream, "copying from the host");
  const TraceRange range(
      "upload", "copy", [&] { return fmt::format("{} bytes", bytes); }, stream);
  const std::lock_guard lock(staging_mutex_);
  for (std::size_t done = 0; done < bytes;) {
    const std::size_t part = std::min(bytes - done, staging_bytes);
    std::byte* staged = stage(part, stream);
    std::memcpy(staged, static_cast<const std::byte*>(from) + done, part);
    driver_->copy(static_cast<std::byte*>(to) + done, staged, part, stream);
    done += part;
  }
}

void CudaDevice::download(void* to, const void* from, std::size_t bytes, const Stream& stream) {
  refuse_capture(stream, "copying to the host");
  const TraceRange range(
      "download", "copy", [&] { return fmt::format("{} bytes", bytes); }, stream);
  const std::lock_guard lock(staging_mutex_);
  for (std::size_t done = 0; done < bytes;) {
    const std::size_t part = std::min(bytes - done, staging_bytes);
    std::byte* staged = stage(part, stream);
    driver_->copy(staged, static_cast<const std::byte*>(from) + done, part, stream);
    wait(stream);
    std::memcpy(static_cast<std::byte*>(to) + done, staged, part);
    done += part;
  }
  throw_fault();
}

// ---- exec.h -------------------------------------------------------------------------------------
namespace {

// The innermost StreamScope of this thread; a null handle: none.
thread_local Stream scoped;

}  // namespace

Stream detail::current_cuda_stream(Device device) {
  return scoped.handle && scoped.device == device ? scoped : cuda_device(device).compute();
}

Stream compute_stream(Device device) {
  if (device.type == DeviceType::cpu) return {device, nullptr};
  return cuda_device(device).compute();
}

Stream communication_stream(Device device) {
  if (device.type == DeviceType::cpu) return {device, nullptr};
  return cuda_device(device).communication();
}

StreamScope::StreamScope(const Stream& stream) : before_(scoped) { scoped = stream; }
StreamScope::~StreamScope() { scoped = before_; }

void synchronize(const Stream& stream) {
  if (stream.device.type == DeviceType::cuda) cuda_device(stream.device).synchronize(stream);
}

void synchronize(Device device) {
  if (device.type == DeviceType::cpu) return;
  synchronize(communication_stream(device));
  synchronize(compute_stream(device));
}

Event::Event(Device device) : device_(device) {
  if (device.type == DeviceType::cuda)
    handle_ = cuda_device(device).driver().create_event(device.index);
}
Event::~Event() {
  if (handle_) cuda_device(device_).driver().destroy_event(handle_);
}
void Event::record(const Stream& stream) {
  if (handle_) cuda_device(device_).driver().record(handle_, stream);
}
void Event::wait(const Stream& stream) const {
  if (handle_) cuda_device(device_).driver().wait(stream, handle_);
}
void Event::synchronize() const {
  if (handle_) cuda_device(device_).driver().synchronize_event(handle_);
}
double Event::milliseconds_since(const Event& earlier) const {
  METTLE_CHECK(DeviceError, handle_ && earlier.handle_, "events on the cpu keep no time");
  return cuda_device(device_).driver().milliseconds(earlier.handle_, handle_);
}

}  // namespace mettle
