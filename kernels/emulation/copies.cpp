// cp.async: a copy is issued at once and its bytes arrive when its thread waits for it, the latest
// moment that the hardware allows. In between they belong to nobody.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "kernels/emulation/block.h"

namespace mettle::emulation {

void Block::copy_async(Thread& thread, const PendingCopy& copy) {
  const auto unit = static_cast<std::uintptr_t>(copy.bytes);
  if (reinterpret_cast<std::uintptr_t>(copy.to) % unit != 0 ||
      reinterpret_cast<std::uintptr_t>(copy.from) % unit != 0)
    stop(Finding::misaligned, {copy.place},
         "{} copies {} bytes at {{0}} between addresses that are no multiples of it",
         name_of(thread), copy.bytes);
  send(thread, copy);
  thread.copies.push_back(copy);
}

// Checks the copy as if it were done at once, and takes its bytes away until it arrives.
void Block::send(Thread& thread, const PendingCopy& copy) {
  SharedArena& arena = machine_.arena;
  if (!arena.contains(copy.to))
    stop(Finding::out_of_bounds, {copy.place},
         "{} copies asynchronously to what is no shared memory at {{0}}", name_of(thread));
  if (arena.contains(copy.from) && copy.source_bytes > 0)
    stop(Finding::out_of_bounds, {copy.place},
         "{} copies asynchronously from what is no device memory at {{0}}", name_of(thread));
  const auto bytes = static_cast<std::size_t>(copy.bytes);
  if (copy.source_bytes > 0)
    access(thread, copy.from, static_cast<std::size_t>(copy.source_bytes), Access::read,
           copy.place);
  access(thread, copy.to, bytes, Access::write, copy.place);
  std::memset(copy.to, 0xff, bytes);
  std::ranges::fill(arena.flights(copy.to, bytes), static_cast<std::uint16_t>(thread.rank + 1));
  std::ranges::fill(arena.senders(copy.to, bytes), copy.place);
}

void Block::land(const PendingCopy& copy, const Stamp& stamp) {
  const auto bytes = static_cast<std::size_t>(copy.bytes);
  const auto from_source = static_cast<std::size_t>(copy.source_bytes);
  if (from_source > 0) std::memcpy(copy.to, copy.from, from_source);
  std::memset(static_cast<std::byte*>(copy.to) + from_source, 0, bytes - from_source);
  std::ranges::fill(machine_.arena.flights(copy.to, bytes), std::uint16_t{0});
  if (races())
    machine_.detector.write(machine_.arena.shadow(), machine_.arena.offset_of(copy.to), bytes,
                            stamp);
}

void Block::wait_copies(Thread& thread, int groups_left) {
  const auto left = static_cast<std::size_t>(std::max(groups_left, 0));
  if (thread.copy_groups.size() <= left) return;
  const auto last_group = thread.copy_groups.end() - static_cast<std::ptrdiff_t>(left);
  std::size_t landing = 0;
  for (auto group = thread.copy_groups.begin(); group != last_group; ++group) landing += *group;
  const auto last_copy = thread.copies.begin() + static_cast<std::ptrdiff_t>(landing);
  for (auto copy = thread.copies.begin(); copy != last_copy; ++copy)
    land(*copy,
         {id_, thread.clock.now, static_cast<std::uint16_t>(thread.rank), false, copy->place});
  thread.copies.erase(thread.copies.begin(), last_copy);
  thread.copy_groups.erase(thread.copy_groups.begin(), last_group);
}

}  // namespace mettle::emulation
