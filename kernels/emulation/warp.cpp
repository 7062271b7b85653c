// Warp operations: every lane named by the mask leaves what it passes and waits; the last one to
// arrive does the work for all. Shuffles and votes order no memory, __syncwarp does.
#include <fmt/format.h>

#include <bit>
#include <cstring>

#include "kernels/emulation/block.h"

namespace mettle::emulation {

void Block::warp_operation(Thread& thread, WarpFunction function, std::uint32_t mask,
                           const void* input, void* output, Place place) {
  if (((mask >> thread.lane()) & 1u) == 0)
    stop(Finding::inactive_lane, {place},
         "{} is lane {} and calls the warp operation at {{0}} with mask {:#x}, which does "
         "not name it",
         name_of(thread), thread.lane(), mask);
  thread.waiting = {.in = Waiting::In::warp_operation,
                    .place = place,
                    .function = function,
                    .mask = mask,
                    .input = input,
                    .output = output};
  const int first = thread.warp() * dev::warp_size;
  Lanes lanes{mask, place};
  for (int lane = 0; lane < dev::warp_size; ++lane) {
    if (!lanes.has(lane)) continue;
    const int rank = first + lane;
    const bool exists = rank < threads();
    Thread* other = exists ? &thread_[static_cast<std::size_t>(rank)] : nullptr;
    if (!exists || other->waiting.in == Waiting::In::exited)
      stop(Finding::inactive_lane, {place},
           "{} waits in the warp operation at {{0}} for lane {}, which {}", name_of(thread), lane,
           exists ? "has left the kernel" : "the block does not have");
    const Waiting& w = other->waiting;
    if (w.in != Waiting::In::warp_operation || w.function != function || w.mask != mask ||
        w.place != place) {
      thread.fiber.suspend();  // until another lane, the last one, has done the work
      return;
    }
    lanes.thread[lane] = other;
    lanes.in[lane] = w.input;
    lanes.out[lane] = w.output;
  }
  ++machine_.counts.warp_operations;
  function(*this, lanes);
  for (Thread* other : lanes.thread)
    if (other && other != &thread) wake(*other);
  thread.waiting = {};
  maybe_yield(thread);
}

namespace {

void meet_lanes(Block& block, const Lanes& lanes) {
  if (!block.launch().instrumented) return;
  Gathering gathering(static_cast<int>(current_thread()->clock.seen->size()));
  for (Thread* lane : lanes.thread)
    if (lane) gathering.release(lane->clock);
  for (Thread* lane : lanes.thread)
    if (lane) meet(lane->clock, gathering);
}

struct ShuffleInput {
  Shuffle kind;
  int argument;
  int width;
  std::uint64_t bits;
};

// The lane that `lane` reads (PTX ISA, shfl.sync), in its segment of `width` lanes.
int source_lane(const ShuffleInput& input, int lane) {
  const int segment = lane & ~(input.width - 1), end = segment + input.width;
  int source = lane;
  switch (input.kind) {
    case Shuffle::index: return segment + (input.argument & (input.width - 1));
    case Shuffle::up: source = lane - input.argument; break;
    case Shuffle::down: source = lane + input.argument; break;
    // This one may read earlier segments.
    case Shuffle::exclusive_or: source = lane ^ input.argument; return source < end ? source : lane;
  }
  return source >= segment && source < end ? source : lane;
}

void shuffle_lanes(Block& block, const Lanes& lanes) {
  for (int lane = 0; lane < dev::warp_size; ++lane) {
    if (!lanes.has(lane)) continue;
    const auto& input = *static_cast<const ShuffleInput*>(lanes.in[lane]);
    const int source = source_lane(input, lane);
    auto& out = *static_cast<std::uint64_t*>(lanes.out[lane]);
    if (lanes.has(source)) {
      out = static_cast<const ShuffleInput*>(lanes.in[source])->bits;
    } else if (input.kind == Shuffle::up || input.kind == Shuffle::down) {
      // The lanes at the end of a sub-warp read beyond it and discard what they get.
      out = ~std::uint64_t{0};
    } else {
      block.stop(Finding::inactive_lane, {lanes.place},
                 "{} reads lane {} in the shuffle at {{0}}, whose mask {:#x} does not "
                 "name it",
                 block.name_of(*lanes.thread[lane]), source, lanes.mask);
    }
  }
}

void ballot_lanes(Block&, const Lanes& lanes) {
  std::uint32_t votes = 0;
  for (int lane = 0; lane < dev::warp_size; ++lane)
    if (lanes.has(lane) && *static_cast<const bool*>(lanes.in[lane])) votes |= 1u << lane;
  for (void* out : lanes.out)
    if (out) *static_cast<std::uint32_t*>(out) = votes;
}

}  // namespace

void sync_warp(std::uint32_t mask, Where where) {
  Thread& thread = self();
  Block& block = *thread.block;
  block.warp_operation(thread, meet_lanes, mask, nullptr, nullptr, block.places().of(where));
}

std::uint64_t shuffle(Shuffle kind, std::uint32_t mask, std::uint64_t bits, int argument, int width,
                      Where where) {
  Thread& thread = self();
  Block& block = *thread.block;
  const ShuffleInput input{kind, argument, width, bits};
  std::uint64_t out = 0;
  block.warp_operation(thread, shuffle_lanes, mask, &input, &out, block.places().of(where));
  return out;
}

std::uint32_t ballot(std::uint32_t mask, bool vote, Where where) {
  Thread& thread = self();
  Block& block = *thread.block;
  std::uint32_t out = 0;
  block.warp_operation(thread, ballot_lanes, mask, &vote, &out, block.places().of(where));
  return out;
}

}  // namespace mettle::emulation
