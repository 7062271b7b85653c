// Barriers of a block: the one of all threads, and the named ones of some. Only those who take part
// are ordered by them.
#include <fmt/format.h>

#include <algorithm>

#include "kernels/emulation/block.h"

namespace mettle::emulation {

Votes Block::sync_block(Thread& thread, bool vote, Place place) {
  Barrier& barrier = barrier_[0];
  if (exited_ > 0)
    stop(Finding::divergent_barrier, {place},
         "{} waits for the whole block at {{0}}, but {} of its {} threads have left the kernel",
         name_of(thread), exited_, threads());
  if (barrier.arrived == 0) {
    barrier.place = place;
    barrier.expected = threads();
  } else if (barrier.place != place) {
    stop(Finding::divergent_barrier, {place, barrier.place},
         "{} waits for the whole block at {{0}}, but {} other threads wait for it at {{1}}",
         name_of(thread), barrier.arrived);
  }
  arrive(barrier, thread, vote);
  if (barrier.arrived == barrier.expected) {
    ++machine_.counts.block_barriers;
    complete(0, thread);
    maybe_yield(thread);
  } else {
    wait(thread, {.in = Waiting::In::barrier, .place = place, .barrier = 0});
  }
  return thread.votes;
}

void Block::sync_named(Thread& thread, int id, int count, Place place) {
  Barrier& barrier = named_barrier(thread, id, count, place);
  arrive(barrier, thread, false);
  if (barrier.arrived == barrier.expected) {
    complete(id, thread);
    maybe_yield(thread);
  } else {
    wait(thread, {.in = Waiting::In::barrier, .place = place, .barrier = id});
  }
}

// Whoever only arrives hands over what it did and learns nothing.
void Block::arrive_named(Thread& thread, int id, int count, Place place) {
  Barrier& barrier = named_barrier(thread, id, count, place);
  arrive(barrier, thread, false);
  if (barrier.arrived != barrier.expected) return;
  const ThreadClock mine = thread.clock;
  complete(id, thread);
  thread.clock = mine;
}

Block::Barrier& Block::named_barrier(Thread& thread, int id, int count, Place place) {
  if (id < 1 || id >= named_barriers)
    stop(Finding::barrier_misuse, {place}, "{} uses named barrier {} at {{0}}; there are 1 to {}",
         name_of(thread), id, named_barriers - 1);
  if (count <= 0 || count % dev::warp_size != 0)
    stop(Finding::barrier_misuse, {place},
         "{} uses named barrier {} for {} threads at {{0}}; it takes whole warps", name_of(thread),
         id, count);
  Barrier& barrier = barrier_[id];
  if (barrier.arrived == 0) {
    barrier.expected = count;
    barrier.place = place;
  } else if (barrier.expected != count) {
    stop(Finding::barrier_misuse, {place, barrier.place},
         "{} uses named barrier {} for {} threads at {{0}}, others for {} at {{1}}",
         name_of(thread), id, count, barrier.expected);
  }
  return barrier;
}

void Block::arrive(Barrier& barrier, Thread& thread, bool vote) {
  ++barrier.arrived;
  barrier.votes.all = barrier.votes.all && vote;
  barrier.votes.any = barrier.votes.any || vote;
  barrier.votes.count += vote ? 1 : 0;
  if (races()) barrier.gathering.release(thread.clock);
}

// The last one is here: `last` goes on at once, the others when they are drawn.
void Block::complete(int id, Thread& last) {
  Barrier& barrier = barrier_[id];
  const auto pass = [&](Thread& thread) {
    if (races()) meet(thread.clock, barrier.gathering);
    thread.votes = barrier.votes;
  };
  pass(last);
  for (Thread& thread : thread_) {
    if (thread.waiting.in != Waiting::In::barrier || thread.waiting.barrier != id) continue;
    pass(thread);
    wake(thread);
  }
  barrier.arrived = 0;
  barrier.votes = {};
  barrier.gathering = new_gathering();
}

}  // namespace mettle::emulation
