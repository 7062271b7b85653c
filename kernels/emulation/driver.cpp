// The driver's functions on machines and queues.
#include "kernels/emulation/driver.h"

#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <string>

#include "engine/check.h"
#include "kernels/emulation/queues.h"

namespace mettle::emulation {
namespace {

/// One device: a machine, and what it has handed out.
struct Board {
  explicit Board(const Options& options) : machine(options) {}
  MachineState machine;
  std::map<void*, std::size_t> allocations;
  std::size_t allocated = 0;
};

constexpr std::align_val_t page{4096};

}  // namespace

struct EmulatedDriver::State {
  explicit State(const DriverOptions& o)
      : options(o), queues(o.machine.seed, [this](int device, const KernelCall& call) {
          for (auto& b : boards) b->machine.heap.show();  // until the wait for it ends
          board(device).machine.launch(call);
        }) {
    for (int i = 0; i < o.devices; ++i) boards.push_back(std::make_unique<Board>(o.machine));
    hide();
  }
  Board& board(int device) { return *boards.at(static_cast<std::size_t>(device)); }
  Queue& queue(const Stream& stream) {
    return *static_cast<Queue*>(static_cast<LaunchQueue*>(stream.handle));
  }

  void hide() {
    if (!options.hide_memory) return;
    for (auto& b : boards) b->machine.heap.hide();
  }
  // Hides what kernels have been shown, at the end of a wait: pages change hands slowly.
  class Wait {
   public:
    explicit Wait(State& state) : state_(state) {}
    ~Wait() { state_.hide(); }
    Wait(const Wait&) = delete;
    Wait& operator=(const Wait&) = delete;

   private:
    State& state_;
  };

  // Null for host memory.
  DeviceHeap* heap_of(const void* address) {
    for (auto& b : boards)
      if (b->machine.heap.contains(address)) return &b->machine.heap;
    return nullptr;
  }

  // Of a copy: the bytes must lie in one allocation of a device, or in pinned memory.
  void check_range(const void* start, std::size_t bytes, const char* what) {
    const auto* from = static_cast<const std::byte*>(start);
    if (DeviceHeap* heap = heap_of(start)) {
      const Allocation* at = heap->nearest(start);
      METTLE_CHECK(
          DeviceError,
          at && !at->released && from >= at->start && from + bytes <= at->start + at->bytes,
          "emulation: a {} touches {} bytes of device memory that are not one allocation in use",
          what, bytes);
      return;
    }
    auto after = pinned.upper_bound(const_cast<void*>(start));
    METTLE_CHECK(DeviceError,
                 after != pinned.begin() &&
                     from + bytes <= static_cast<std::byte*>(std::prev(after)->first) +
                                         std::prev(after)->second,
                 "emulation: a {} of {} bytes touches host memory that is not pinned", what, bytes);
  }

  DriverOptions options;
  mutable std::recursive_mutex mutex;
  std::vector<std::unique_ptr<Board>> boards;
  Queues queues;
  std::map<void*, std::size_t> pinned;
  std::map<void*, std::shared_ptr<EventState>> events;
  std::vector<std::string> ranges;
  int open_ranges = 0;
  int fail_allocation = -1;
  std::exception_ptr pending;  // of work that ran where nothing can be thrown
};

EmulatedDriver::EmulatedDriver(DriverOptions options) : state_(std::make_unique<State>(options)) {}
EmulatedDriver::~EmulatedDriver() {
  for (auto& b : state_->boards) b->machine.heap.show();
  for (const auto& [block, bytes] : state_->pinned) ::operator delete(block, page);
}

void EmulatedDriver::reseed(std::uint64_t seed) {
  state_->queues.reseed(seed);
  for (auto& b : state_->boards) b->machine.random = Random(seed);
}
const Counts& EmulatedDriver::counts(int device) const {
  return state_->board(device).machine.counts;
}
void EmulatedDriver::fail_allocation_after(int allocations) {
  state_->fail_allocation = allocations;
}
void EmulatedDriver::fail_work_after(int pieces) { state_->queues.fail_after = pieces; }

int EmulatedDriver::device_count() const { return state_->options.devices; }
std::string EmulatedDriver::absence() const { return "the emulation was given no device"; }
CudaDeviceInfo EmulatedDriver::info(int) const {
  const DriverOptions& o = state_->options;
  return {"emulated device",     o.capability_major,   0, o.multiprocessors, o.memory_bytes,
          std::size_t{50} << 20, dev::max_shared_bytes};
}

// ---- memory -------------------------------------------------------------------------------------
void* EmulatedDriver::allocate(int device, std::size_t bytes) {
  const std::lock_guard lock(state_->mutex);
  Board& board = state_->board(device);
  if (fails_now(state_->fail_allocation)) return nullptr;
  if (bytes > state_->options.memory_bytes - board.allocated) return nullptr;
  void* block = board.machine.heap.allocate(bytes);
  board.allocations.insert({block, bytes});
  board.allocated += bytes;
  return block;
}

void EmulatedDriver::release(int device, void* block) noexcept {
  const std::lock_guard lock(state_->mutex);
  try {  // like cudaFree, which waits for the device
    const State::Wait wait(*state_);
    state_->queues.run_device(device);
  } catch (...) {
    state_->pending = std::current_exception();
  }
  Board& board = state_->board(device);
  const auto found = board.allocations.find(block);
  if (found == board.allocations.end()) return;
  board.allocated -= found->second;
  board.allocations.erase(found);
  board.machine.heap.release(block);
}

void* EmulatedDriver::allocate_pinned(std::size_t bytes) {
  const std::lock_guard lock(state_->mutex);
  void* block = ::operator new(bytes, page);
  state_->pinned.insert({block, bytes});
  return block;
}
void EmulatedDriver::release_pinned(void* block) noexcept {
  const std::lock_guard lock(state_->mutex);
  if (block && state_->pinned.erase(block)) ::operator delete(block, page);
}

// ---- queued work --------------------------------------------------------------------------------
void EmulatedDriver::copy(void* to, const void* from, std::size_t bytes, const Stream& stream) {
  const std::lock_guard lock(state_->mutex);
  State* state = state_.get();
  state->check_range(from, bytes, "copy");
  state->check_range(to, bytes, "copy");
  state->queues.push(state->queue(stream), [state, to, from, bytes] {
    state->check_range(from, bytes, "copy");
    state->check_range(to, bytes, "copy");
    const DeviceHeap::Visible source(state->heap_of(from), from, bytes);
    const DeviceHeap::Visible target(state->heap_of(to), to, bytes);
    std::memcpy(to, from, bytes);
  });
}

void EmulatedDriver::fill(void* to, int byte, std::size_t bytes, const Stream& stream) {
  const std::lock_guard lock(state_->mutex);
  State* state = state_.get();
  state->check_range(to, bytes, "fill");
  state->queues.push(state->queue(stream), [state, to, byte, bytes] {
    state->check_range(to, bytes, "fill");
    const DeviceHeap::Visible target(state->heap_of(to), to, bytes);
    std::memset(to, byte, bytes);
  });
}

// ---- streams and events -------------------------------------------------------------------------
Stream EmulatedDriver::create_stream(int device, bool) {
  const std::lock_guard lock(state_->mutex);
  return {Device::cuda(device), static_cast<LaunchQueue*>(state_->queues.create(device))};
}
void EmulatedDriver::destroy(const Stream& stream) noexcept {
  const std::lock_guard lock(state_->mutex);
  state_->queues.destroy(&state_->queue(stream));
}
void EmulatedDriver::synchronize(const Stream& stream) {
  const std::lock_guard lock(state_->mutex);
  if (state_->pending) std::rethrow_exception(std::exchange(state_->pending, nullptr));
  METTLE_CHECK(DeviceError, !state_->queues.is_capturing(state_->queue(stream)),
               "emulation: waits for a stream that captures a graph");
  const State::Wait wait(*state_);
  state_->queues.run(state_->queue(stream));
}
void* EmulatedDriver::create_event(int) {
  const std::lock_guard lock(state_->mutex);
  auto event = std::make_shared<EventState>();
  void* handle = event.get();
  state_->events.insert({handle, std::move(event)});
  return handle;
}
void EmulatedDriver::destroy_event(void* event) noexcept {
  const std::lock_guard lock(state_->mutex);
  state_->events.erase(event);
}
void EmulatedDriver::record(void* event, const Stream& stream) {
  const std::lock_guard lock(state_->mutex);
  state_->queues.record(state_->queue(stream), state_->events.at(event));
}
void EmulatedDriver::wait(const Stream& stream, void* event) {
  const std::lock_guard lock(state_->mutex);
  state_->queues.wait(state_->queue(stream), state_->events.at(event));
}
void EmulatedDriver::synchronize_event(void* event) {
  const std::lock_guard lock(state_->mutex);
  const State::Wait wait(*state_);
  state_->queues.run(*state_->events.at(event));
}
double EmulatedDriver::milliseconds(void* from, void* to) {
  const std::lock_guard lock(state_->mutex);
  return std::chrono::duration<double, std::milli>(state_->events.at(to)->when -
                                                   state_->events.at(from)->when)
      .count();
}

// ---- graphs -------------------------------------------------------------------------------------
void EmulatedDriver::begin_capture(const Stream& stream) {
  const std::lock_guard lock(state_->mutex);
  state_->queues.begin_capture(state_->queue(stream));
}
bool EmulatedDriver::is_capturing(const Stream& stream) {
  const std::lock_guard lock(state_->mutex);
  return state_->queues.is_capturing(state_->queue(stream));
}
void* EmulatedDriver::end_capture(const Stream& stream) {
  const std::lock_guard lock(state_->mutex);
  return state_->queues.end_capture(state_->queue(stream)).release();
}
void EmulatedDriver::launch_graph(void* graph, const Stream& stream) {
  const std::lock_guard lock(state_->mutex);
  state_->queues.push(state_->queue(stream), [work = static_cast<Graph*>(graph)->work] {
    for (const auto& run : work) run();
  });
}
void EmulatedDriver::destroy_graph(void* graph) noexcept { delete static_cast<Graph*>(graph); }

// ---- ranges -------------------------------------------------------------------------------------
void EmulatedDriver::push_range(const char* name) noexcept {
  const std::lock_guard lock(state_->mutex);
  state_->ranges.emplace_back(name);
  ++state_->open_ranges;
}
void EmulatedDriver::pop_range() noexcept {
  const std::lock_guard lock(state_->mutex);
  --state_->open_ranges;
}
std::vector<std::string> EmulatedDriver::ranges() const {
  const std::lock_guard lock(state_->mutex);
  return state_->ranges;
}
int EmulatedDriver::open_ranges() const {
  const std::lock_guard lock(state_->mutex);
  return state_->open_ranges;
}

}  // namespace mettle::emulation
