// Streams of the emulated device: queues of work that take turns, events between them, and the
// capture of what is queued.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <vector>

#include "kernels/emulation/machine_state.h"
#include "kernels/emulation/runtime.h"

namespace mettle::emulation {

class Queues;
struct Capture;

/// Whether an injected failure is due after `left` more; counts down. Negative: never.
inline bool fails_now(int& left) {
  if (left < 0) return false;
  --left;
  return left < 0;
}

/// Counts the times that it was recorded; a wait is for one of them.
struct EventState {
  std::uint64_t recorded = 0;
  std::uint64_t reached = 0;
  std::chrono::steady_clock::time_point when;
  Capture* captured_in = nullptr;  // the capture that the latest record() is part of
  LaunchQueue* recorded_on = nullptr;
};

struct Work {
  std::function<void()> run;
  std::shared_ptr<EventState> waits_for;  // null: for nothing
  std::uint64_t ticket = 0;
};

/// One stream.
class Queue final : public LaunchQueue {
 public:
  Queue(Queues& all, int device) : all_(all), device_(device) {}
  void launch(const KernelCall& call) override;
  int device() const { return device_; }

 private:
  friend class Queues;
  bool can_run() const {
    return !work_.empty() &&
           (!work_.front().waits_for || work_.front().waits_for->reached >= work_.front().ticket);
  }

  Queues& all_;
  int device_;
  std::deque<Work> work_;
  Capture* capture_ = nullptr;
};

/// What a stream, and those that joined it, were given between begin and end.
struct Capture {
  Queue* origin;
  std::vector<std::function<void()>> work;
  std::set<Queue*> unjoined;  // have work that the origin has not waited for
  std::set<Queue*> joined;
};

/// Work of a captured graph, in an order that its streams allowed.
struct Graph {
  std::vector<std::function<void()>> work;
};

/// All streams of a driver. `run_kernel` runs a kernel of a device at once.
class Queues {
 public:
  using RunKernel = std::function<void(int device, const KernelCall& call)>;
  Queues(std::uint64_t seed, RunKernel run_kernel)
      : random_(seed), run_kernel_(std::move(run_kernel)) {}

  Queue* create(int device);
  void destroy(Queue* queue);
  void reseed(std::uint64_t seed) { random_ = Random(seed); }

  void push(Queue& queue, std::function<void()> run);
  void launch(Queue& queue, const KernelCall& call);
  void record(Queue& queue, const std::shared_ptr<EventState>& event);
  void wait(Queue& queue, const std::shared_ptr<EventState>& event);

  /// Runs work of all streams in a drawn order until this one has none, until the event is reached,
  /// until no stream of the device has any. Throws what the work throws, with all other work
  /// dropped.
  void run(Queue& queue);
  void run(const EventState& event);
  void run_device(int device);

  void begin_capture(Queue& queue);
  bool is_capturing(const Queue& queue) const { return queue.capture_ != nullptr; }
  std::unique_ptr<Graph> end_capture(Queue& queue);

  /// The piece of work after so many more fails; negative: none.
  int fail_after = -1;

 private:
  void run_until(const std::function<bool()>& done);
  void drop_all();

  Random random_;
  RunKernel run_kernel_;
  std::vector<std::unique_ptr<Queue>> queues_;
  std::unique_ptr<Capture> capture_;
};

}  // namespace mettle::emulation
