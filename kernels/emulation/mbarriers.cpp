// mbarriers: a phase ends when its arrivals and the bytes that they announced are in. Bulk copies
// arrive there, one by one and only when no thread can run: the latest moment that the hardware
// allows.
#include <fmt/format.h>

#include "kernels/emulation/block.h"

namespace mettle::emulation {

void Block::mbarrier_init(Thread& thread, const void* barrier, int arrivals, Place place) {
  if (!machine_.arena.contains(barrier) || reinterpret_cast<std::uintptr_t>(barrier) % 8 != 0)
    stop(Finding::barrier_misuse, {place},
         "{} makes an mbarrier at {{0}} that is not 8 aligned bytes of shared memory",
         name_of(thread));
  if (arrivals < 1)
    stop(Finding::barrier_misuse, {place}, "{} makes an mbarrier for {} arrivals at {{0}}",
         name_of(thread), arrivals);
  access(thread, barrier, sizeof(dev::MBarrier), Access::write, place);
  const auto known = mbarriers_.find(barrier);
  if (known == mbarriers_.end() && mbarriers_.size() == max_mbarriers)
    stop(Finding::barrier_misuse, {place}, "more than {} mbarriers in a block, at {{0}}",
         max_mbarriers);
  const int actor = known != mbarriers_.end() ? known->second.actor
                                              : mbarrier_actor(static_cast<int>(mbarriers_.size()));
  const Stamp made{id_, thread.clock.now, static_cast<std::uint16_t>(thread.rank), false, place};
  mbarriers_.insert_or_assign(barrier, MBarrierState{.arrivals = arrivals,
                                                     .pending = arrivals,
                                                     .actor = actor,
                                                     .gathering = new_gathering(),
                                                     .completed = {},
                                                     .made = made});
}

Block::MBarrierState& Block::mbarrier(Thread& thread, const void* barrier, Place place) {
  const auto found = mbarriers_.find(barrier);
  if (found == mbarriers_.end())
    stop(Finding::barrier_misuse, {place},
         "{} uses an mbarrier at {{0}} that nobody has initialised", name_of(thread));
  return found->second;
}

void Block::mbarrier_arrive(Thread& thread, const void* barrier, std::uint32_t bytes, Place place) {
  MBarrierState& state = mbarrier(thread, barrier, place);
  access(thread, barrier, sizeof(dev::MBarrier), Access::atomic_change, place);
  if (state.pending == 0)
    stop(Finding::barrier_misuse, {place},
         "{} arrives at {{0}} at an mbarrier whose {} arrivals of this phase are all in",
         name_of(thread), state.arrivals);
  --state.pending;
  state.bytes += bytes;
  if (races()) state.gathering.release(thread.clock);
  maybe_complete(barrier, state);
}

void Block::maybe_complete(const void* address, MBarrierState& state) {
  if (state.pending > 0 || state.bytes != 0) return;
  ++state.phase;
  state.pending = state.arrivals;
  if (races()) state.completed = state.gathering.knowledge();
  for (Thread& thread : thread_)
    if (thread.waiting.in == Waiting::In::mbarrier && thread.waiting.mbarrier == address)
      wake(thread);
}

void Block::mbarrier_wait(Thread& thread, const void* barrier, int parity, Place place) {
  MBarrierState& state = mbarrier(thread, barrier, place);
  access(thread, barrier, sizeof(dev::MBarrier), Access::atomic_read, place);
  while (state.phase % 2 == parity % 2)
    wait(thread, {.in = Waiting::In::mbarrier, .place = place, .mbarrier = barrier});
  if (races()) acquire(thread.clock, state.completed);
}

void Block::copy_bulk(Thread& thread, const PendingCopy& copy, const void* barrier) {
  constexpr std::uintptr_t unit = 16;
  check_barrier_fenced(thread, mbarrier(thread, barrier, copy.place), copy.place);
  access(thread, barrier, sizeof(dev::MBarrier), Access::atomic_change, copy.place);
  if (reinterpret_cast<std::uintptr_t>(copy.to) % unit != 0 ||
      reinterpret_cast<std::uintptr_t>(copy.from) % unit != 0 ||
      static_cast<std::uintptr_t>(copy.bytes) % unit != 0)
    stop(Finding::misaligned, {copy.place},
         "{} starts a bulk copy at {{0}} whose addresses or {} bytes are no multiples of {}",
         name_of(thread), copy.bytes, unit);
  check_fenced(thread, thread.clock, copy.to, static_cast<std::size_t>(copy.bytes), copy.place);
  send(thread, copy);
  bulk_copies_.push_back({copy, barrier, nullptr});
}

// False when none is on the way.
bool Block::deliver_bulk_copy() {
  if (bulk_copies_.empty()) return false;
  std::swap(bulk_copies_[machine_.random.below(bulk_copies_.size())], bulk_copies_.back());
  const BulkCopy arriving = std::move(bulk_copies_.back());
  bulk_copies_.pop_back();
  MBarrierState& state = mbarriers_.at(arriving.barrier);
  ++state.actor_clock;
  const Stamp stamp{id_, state.actor_clock, static_cast<std::uint16_t>(state.actor), false,
                    arriving.copy.place};
  if (arriving.box)
    land_box(arriving, stamp);
  else
    land(arriving.copy, stamp);
  if (races()) state.gathering.release(state.actor, state.actor_clock);
  state.bytes -= arriving.copy.bytes;
  maybe_complete(arriving.barrier, state);
  return true;
}

}  // namespace mettle::emulation
