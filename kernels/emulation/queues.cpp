// Turns of the streams, waits for events, captures.
#include "kernels/emulation/queues.h"

#include <algorithm>
#include <utility>

#include "engine/check.h"

namespace mettle::emulation {

void Queue::launch(const KernelCall& call) { all_.launch(*this, call); }

Queue* Queues::create(int device) {
  queues_.push_back(std::make_unique<Queue>(*this, device));
  return queues_.back().get();
}

void Queues::destroy(Queue* queue) {
  std::erase_if(queues_, [&](const auto& q) { return q.get() == queue; });
}

void Queues::push(Queue& queue, std::function<void()> run) {
  if (queue.capture_) {
    queue.capture_->work.push_back(std::move(run));
    if (&queue != queue.capture_->origin) queue.capture_->unjoined.insert(&queue);
    return;
  }
  queue.work_.push_back({std::move(run), nullptr, 0});
}

void Queues::launch(Queue& queue, const KernelCall& call) {
  push(queue, [this, device = queue.device(), call] { run_kernel_(device, call); });
}

void Queues::record(Queue& queue, const std::shared_ptr<EventState>& event) {
  event->recorded_on = &queue;
  event->captured_in = queue.capture_;
  if (queue.capture_) return;
  const std::uint64_t ticket = ++event->recorded;
  push(queue, [event, ticket] {
    event->reached = std::max(event->reached, ticket);
    event->when = std::chrono::steady_clock::now();
  });
}

void Queues::wait(Queue& queue, const std::shared_ptr<EventState>& event) {
  if (Capture* capture = event->captured_in) {
    METTLE_CHECK(DeviceError, capture == capture_.get(),
                 "emulation: waits for an event of a graph that is captured no more");
    auto* recorder = static_cast<Queue*>(event->recorded_on);
    if (&queue == capture->origin) {
      capture->unjoined.erase(recorder);
    } else {
      queue.capture_ = capture;
      capture->joined.insert(&queue);
    }
    return;
  }
  METTLE_CHECK(DeviceError, !queue.capture_ || event->recorded == 0,
               "emulation: a captured stream waits for an event from outside of its graph");
  if (event->recorded > event->reached) queue.work_.push_back({{}, event, event->recorded});
}

void Queues::run(Queue& queue) {
  run_until([&] { return queue.work_.empty(); });
}
void Queues::run(const EventState& event) {
  run_until([&, ticket = event.recorded] { return event.reached >= ticket; });
}
void Queues::run_device(int device) {
  run_until([&] {
    return std::all_of(queues_.begin(), queues_.end(),
                       [&](const auto& q) { return q->device() != device || q->work_.empty(); });
  });
}

void Queues::run_until(const std::function<bool()>& done) {
  while (!done()) {
    std::vector<Queue*> ready;
    for (const auto& queue : queues_)
      if (queue->can_run()) ready.push_back(queue.get());
    METTLE_CHECK(DeviceError, !ready.empty(), "emulation: streams wait for each other");
    Queue& queue = *ready[random_.below(ready.size())];
    const Work work = std::move(queue.work_.front());
    queue.work_.pop_front();
    if (!work.run) continue;
    try {
      if (fails_now(fail_after))
        fail<DeviceError>("an illegal memory access was encountered (injected by a test)");
      work.run();
    } catch (...) {
      drop_all();
      throw;
    }
  }
}

void Queues::drop_all() {
  for (const auto& queue : queues_) {
    // Events count as reached, so that nobody waits for what will never come.
    for (Work& work : queue->work_)
      if (work.waits_for) work.waits_for->reached = work.waits_for->recorded;
    queue->work_.clear();
  }
}

void Queues::begin_capture(Queue& queue) {
  METTLE_CHECK(DeviceError, !capture_, "emulation: a graph is captured already");
  capture_ = std::make_unique<Capture>(Capture{&queue, {}, {}, {}});
  queue.capture_ = capture_.get();
}

std::unique_ptr<Graph> Queues::end_capture(Queue& queue) {
  METTLE_CHECK(DeviceError, capture_ && capture_->origin == &queue,
               "emulation: the stream does not capture a graph");
  const auto capture = std::move(capture_);
  queue.capture_ = nullptr;
  for (Queue* joined : capture->joined) joined->capture_ = nullptr;
  METTLE_CHECK(DeviceError, capture->unjoined.empty(),
               "emulation: a captured stream has work that the first one never waits for");
  return std::make_unique<Graph>(Graph{std::move(capture->work)});
}

}  // namespace mettle::emulation
