// Scheduling the threads of a block, and telling what they wait for when none can go on.
#include "kernels/emulation/block.h"

#include <fmt/format.h>

#include <algorithm>

namespace mettle::emulation {
namespace {

thread_local Thread* running = nullptr;

std::string text_of(const dev::Dim3& place) {
  return fmt::format("({},{},{})", place.x, place.y, place.z);
}

}  // namespace

Thread* current_thread() { return running; }

Thread& self() {
  METTLE_CHECK(DeviceError, running,
               "emulation: a word of the device vocabulary was called outside of a kernel");
  return *running;
}

Block::Block(MachineState& machine, const Launch& launch, BlockId id, dev::Dim3 index)
    : machine_(machine), launch_(launch), id_(id), index_(index), thread_(machine.threads) {
  const dev::Dim3 size = launch.shape.block;
  const auto nothing_seen =
      std::make_shared<const Clocks>(static_cast<std::size_t>(clock_entries()));
  for (Barrier& barrier : barrier_) barrier.gathering = new_gathering();
  warpgroups_.resize(static_cast<std::size_t>(threads() / dev::warpgroup_size));
  for (int i = 0; i < threads(); ++i) {
    Thread& thread = thread_[static_cast<std::size_t>(i)];
    thread.block = this;
    thread.rank = i;
    thread.index = {i % size.x, i / size.x % size.y, i / size.x / size.y};
    thread.waiting = {};
    thread.clock = {i, 1, nothing_seen, nullptr};
    thread.copies.clear();
    thread.copy_groups.clear();
    thread.registers.clear();
    thread.stores = {};
    thread.fence_release = thread.fence_acquire = nullptr;
    thread.fiber.start(machine.stacks->stack(i), thread_main, &thread);
    ready_.push_back(i);
  }
  machine.arena.begin_block(launch.shape.shared_bytes);
}

void Block::run() {
  while (!machine_.stopped && exited_ < threads()) {
    if (ready_.empty()) {
      if (deliver_bulk_copy()) continue;
      no_progress();
      return;
    }
    std::swap(ready_[machine_.random.below(ready_.size())], ready_.back());
    Thread& thread = thread_[static_cast<std::size_t>(ready_.back())];
    ready_.pop_back();
    ++machine_.counts.switches;
    running = &thread;
    thread.fiber.resume();
    running = nullptr;
  }
  if (!machine_.stopped && !bulk_copies_.empty())
    machine_.note({Finding::unfinished_copy,
                   "the block ends while the bulk copy issued at {0} is under way: wait for its "
                   "mbarrier",
                   {bulk_copies_.front().copy.place}});
}

void Block::thread_main(void* argument) {
  Thread& thread = *static_cast<Thread*>(argument);
  Block& block = *thread.block;
  try {
    block.launch_.kernel(block.launch_.arguments);
    block.finish(thread);
  } catch (...) {
    block.machine_.thrown = std::current_exception();
    block.machine_.stopped = true;
  }
  thread.waiting.in = Waiting::In::exited;
  for (;;) thread.fiber.suspend(true);
}

// A thread leaves the kernel.
void Block::finish(Thread& thread) {
  ++exited_;
  if (!thread.copies.empty())
    stop(Finding::unfinished_copy, {thread.copies.front().place},
         "{} leaves the kernel while its copy issued at {{0}} is under way: wait for it",
         name_of(thread));
  if (const Place multiply = thread.registers.under_way(); multiply != 0)
    stop(Finding::unfinished_copy, {multiply},
         "{} leaves the kernel while its multiply issued at {{0}} is under way: commit it and wait "
         "for it",
         name_of(thread));
  finish_stores(thread);
  if (const Barrier& all = barrier_[0]; all.arrived > 0)
    stop(Finding::divergent_barrier, {all.place},
         "{} leaves the kernel while {} of {} threads wait for it at the barrier at {{0}}",
         name_of(thread), all.arrived, threads());
  const int first = thread.warp() * dev::warp_size;
  for (int i = first; i < std::min(first + dev::warp_size, threads()); ++i) {
    const Waiting& other = thread_[static_cast<std::size_t>(i)].waiting;
    if (other.in == Waiting::In::warp_operation && ((other.mask >> thread.lane()) & 1u) != 0)
      stop(Finding::inactive_lane, {other.place},
           "{} leaves the kernel while lane {} of its warp waits for it in the warp "
           "operation at {{0}}, whose mask is {:#x}",
           name_of(thread), i - first, other.mask);
  }
  const int group = thread.rank / dev::warpgroup_size * dev::warpgroup_size;
  for (int i = group; i < std::min(group + dev::warpgroup_size, threads()); ++i) {
    const Waiting& other = thread_[static_cast<std::size_t>(i)].waiting;
    if (other.in == Waiting::In::warpgroup_operation)
      stop(
          Finding::inactive_lane, {other.place},
          "{} leaves the kernel while others of its warpgroup wait for it in the multiply at {{0}}",
          name_of(thread));
  }
}

void Block::wait(Thread& thread, Waiting waiting) {
  thread.waiting = waiting;
  thread.fiber.suspend();
}

void Block::wake(Thread& thread) {
  thread.waiting = {};
  ready_.push_back(thread.rank);
}

// The thread could go on; now and then another one does first.
void Block::maybe_yield(Thread& thread) {
  if (machine_.random.below(4) != 0) return;
  ready_.push_back(thread.rank);
  thread.fiber.suspend();
}

void Block::leave() {
  machine_.stopped = true;
  for (;;) running->fiber.suspend(true);
}

std::string Block::wait_text(const Thread& thread) const {
  const Waiting& w = thread.waiting;
  switch (w.in) {
    case Waiting::In::nothing: return "run";
    case Waiting::In::exited: return "have left the kernel";
    case Waiting::In::warp_operation:
      return fmt::format("wait in the warp operation with mask {:#x} at ", w.mask);
    case Waiting::In::warpgroup_operation: return "wait for their warpgroup to multiply at ";
    case Waiting::In::barrier: {
      const Barrier& barrier = barrier_[w.barrier];
      return fmt::format("wait at barrier {}, where {} of {} threads are, at ", w.barrier,
                         barrier.arrived, barrier.expected);
    }
    case Waiting::In::mbarrier: {
      const MBarrierState& barrier = mbarriers_.at(w.mbarrier);
      return fmt::format("wait for an mbarrier, which lacks {} arrivals and {} bytes, at ",
                         barrier.pending, barrier.bytes);
    }
  }
  return {};
}

// Nobody can run: tells every group of threads that waits in one place.
void Block::no_progress() {
  std::map<Place, std::pair<int, const Thread*>> groups;
  std::map<int, std::set<Place>> warp_places, group_places;
  for (const Thread& thread : thread_) {
    if (thread.waiting.in == Waiting::In::exited) continue;
    auto& [count, first] = groups[thread.waiting.place];
    if (count++ == 0) first = &thread;
    if (thread.waiting.in == Waiting::In::warp_operation)
      warp_places[thread.warp()].insert(thread.waiting.place);
    if (thread.waiting.in == Waiting::In::warpgroup_operation)
      group_places[thread.rank / dev::warpgroup_size].insert(thread.waiting.place);
  }
  const auto several = [](const auto& group) { return group.second.size() > 1; };
  const bool warp_diverges =
      std::ranges::any_of(warp_places, several) || std::ranges::any_of(group_places, several);
  UnlocatedReport report{warp_diverges ? Finding::divergent_warp : Finding::deadlock,
                         fmt::format("no thread of block {} can go on:", text_of(index_)),
                         {}};
  for (const auto& [place, group] : groups) {
    report.text += fmt::format(
        "{} {} threads ({} first) {}{{{}}}", report.places.empty() ? "" : ";", group.first,
        text_of(group.second->index), wait_text(*group.second), report.places.size());
    report.places.push_back(place);
  }
  if (exited_ > 0) report.text += fmt::format("; {} threads have left the kernel", exited_);
  machine_.note(std::move(report));
  machine_.stopped = true;
}

}  // namespace mettle::emulation
