// What is done for threads by the asynchronous proxy, which sees plain writes to shared memory only
// after a fence: the multiplies of warpgroups and copies of tensors.
//
// Each has an actor in the clocks. Its accesses are compared with what its threads knew when they
// issued it, and known to a thread once that has waited. For the fence a clock has a second entry
// per thread, which says up to where its writes are fenced, and travels through barriers like
// everything else: the fence may be executed by who wrote or by any thread behind a barrier.
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "kernels/emulation/block.h"

namespace mettle::emulation {

void Block::fence_async_proxy(Thread& thread) {
  if (!races()) return;
  auto seen = std::make_shared<Clocks>(*thread.clock.seen);
  for (int i = 0; i < threads(); ++i) {
    const Clock known = i == thread.rank ? thread.clock.now : (*seen)[static_cast<std::size_t>(i)];
    Clock& fenced = (*seen)[static_cast<std::size_t>(fence_entry(i))];
    fenced = std::max(fenced, known);
  }
  thread.clock.seen = std::move(seen);
  ++thread.clock.now;
}

// The clock of what `thread` sets off. It belongs to the block, because a report may leave the
// caller's frame without unwinding.
const ThreadClock& Block::async_clock(const Thread& thread, int actor, Clock now) {
  auto seen = std::make_shared<Clocks>(*thread.clock.seen);
  (*seen)[static_cast<std::size_t>(thread.rank)] = thread.clock.now;
  scratch_clock_ = {actor, now, std::move(seen), thread.clock.others};
  return scratch_clock_;
}

// The same of `count` threads from number `first` on: what all of them know, each knowing all about
// itself.
const ThreadClock& Block::joint_clock(int first, int count, int actor, Clock now) {
  scratch_clock_ = {actor, now, thread_[static_cast<std::size_t>(first)].clock.seen, nullptr};
  if (!races()) return scratch_clock_;
  std::map<const Clocks*, int> holders;  // the thread that holds it, or -1 for several
  for (int i = first; i < first + count; ++i) {
    const Clocks* seen = thread_[static_cast<std::size_t>(i)].clock.seen.get();
    const auto [holder, alone] = holders.emplace(seen, i);
    if (!alone) holder->second = -1;
  }
  auto joint =
      std::make_shared<Clocks>(holders.begin()->first->size(), std::numeric_limits<Clock>::max());
  for (const auto& [seen, holder] : holders)
    for (std::size_t i = 0; i < joint->size(); ++i)
      if (static_cast<int>(i) != holder) (*joint)[i] = std::min((*joint)[i], (*seen)[i]);
  scratch_clock_.seen = std::move(joint);
  return scratch_clock_;
}

// The thread has waited for what `actor` did up to `clock`.
void Block::learn(Thread& thread, int actor, Clock clock) const {
  if (!races() || (*thread.clock.seen)[static_cast<std::size_t>(actor)] >= clock) return;
  auto seen = std::make_shared<Clocks>(*thread.clock.seen);
  (*seen)[static_cast<std::size_t>(actor)] = clock;
  thread.clock.seen = std::move(seen);
}

void Block::check_fenced(const Thread& thread, const ThreadClock& clock, const void* address,
                         std::size_t bytes, Place place) {
  SharedArena& arena = machine_.arena;
  if (!races() || !arena.valid(address, bytes)) return;
  const auto write = machine_.detector.unfenced_write(arena.shadow(), arena.offset_of(address),
                                                      bytes, id_, clock, fence_entry(0), threads());
  if (!write || !machine_.is_new(Finding::missing_fence, place, write->place)) return;
  machine_.note(
      {Finding::missing_fence,
       fmt::format("{} gives shared memory to the asynchronous proxy at {{0}} that {} wrote at "
                   "{{1}}; no fence_async_proxy() is between",
                   name_of(thread), other_access(*write)),
       {place, write->place}});
}

void Block::check_barrier_fenced(const Thread& thread, const MBarrierState& state, Place place) {
  const Stamp& made = state.made;
  const auto entry = static_cast<std::size_t>(fence_entry(made.actor));
  if (!races() || (*thread.clock.seen)[entry] >= made.clock ||
      !machine_.is_new(Finding::missing_fence, place, made.place))
    return;
  machine_.note({Finding::missing_fence,
                 fmt::format("{} starts a copy at {{0}} whose mbarrier {} made at {{1}}; no "
                             "fence_async_proxy() is between",
                             name_of(thread), other_access(made)),
                 {place, made.place}});
}

void Block::async_read(const Thread& thread, const ThreadClock& clock, const void* address,
                       std::size_t bytes, Place place) {
  if (!machine_.arena.contains(address))
    stop(Finding::out_of_bounds, {place}, "{} sets off a read at {{0}} of what is no shared memory",
         name_of(thread));
  check_fenced(thread, clock, address, bytes, place);
  shared_access(thread, clock, address, bytes, Access::read, place);
}

void fence_async_proxy() {
  Thread& thread = self();
  thread.block->fence_async_proxy(thread);
}

}  // namespace mettle::emulation
