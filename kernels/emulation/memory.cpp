// Every access that the emulation is told of: is it inside of something, has its copy arrived, is
// it ordered after what collides with it.
#include <fmt/format.h>

#include <algorithm>

#include "kernels/emulation/block.h"

namespace mettle::emulation {

void Block::plain_access(Thread& thread, const void* address, std::size_t bytes, bool write,
                         const void* return_address) {
  ++machine_.counts.accesses;
  const bool known = machine_.arena.contains(address) || machine_.heap.contains(address) ||
                     machine_.stacks->contains(address);
  if (known)
    access(thread, address, bytes, write ? Access::write : Access::read,
           places().of(return_address));
}

void Block::access(Thread& thread, const void* address, std::size_t bytes, Access kind,
                   Place place) {
  access(thread, thread.clock, address, bytes, kind, place);
}

void Block::access(const Thread& thread, const ThreadClock& clock, const void* address,
                   std::size_t bytes, Access kind, Place place) {
  if (machine_.arena.contains(address)) {
    shared_access(thread, clock, address, bytes, kind, place);
  } else if (machine_.heap.contains(address)) {
    heap_access(thread, clock, address, bytes, kind, place);
  } else if (machine_.stacks->contains(address)) {
    const std::byte* own = machine_.stacks->stack(thread.rank);
    const auto* at = static_cast<const std::byte*>(address);
    if (at < own || at >= own + FiberStacks::stack_bytes())
      stop(Finding::out_of_bounds, {place},
           "{} touches a local variable of another thread at {{0}}", name_of(thread));
    if (!thread.registers.idle())
      register_access(thread, address, bytes, kind != Access::read && kind != Access::atomic_read,
                      place);
  }
}

// Variables that stand for registers which a multiply uses: accumulators are not there, fragments
// must stay.
void Block::register_access(const Thread& thread, const void* address, std::size_t bytes,
                            bool write, Place place) {
  const Place issue = thread.registers.user(address, bytes, write);
  if (issue == 0 || !machine_.is_new(Finding::in_flight, place, issue)) return;
  machine_.note({Finding::in_flight,
                 fmt::format("{} {} registers at {{0}} that the multiply issued at {{1}} uses: "
                             "nobody has waited for it",
                             name_of(thread), write ? "writes" : "reads"),
                 {place, issue}});
}

void Block::shared_access(const Thread& thread, const ThreadClock& clock, const void* address,
                          std::size_t bytes, Access kind, Place place) {
  SharedArena& arena = machine_.arena;
  if (!arena.valid(address, bytes))
    stop(Finding::out_of_bounds, {place},
         "{} touches {} bytes of shared memory outside of its arrays at {{0}}", name_of(thread),
         bytes);
  const auto flights = arena.flights(address, bytes);
  const auto flight = std::ranges::find_if(flights, [](std::uint16_t mark) { return mark != 0; });
  if (flight != flights.end()) {
    const auto byte = static_cast<std::size_t>(flight - flights.begin());
    report_flight(thread, *flight - 1, place, arena.senders(address, bytes)[byte]);
    return;
  }
  if (races())
    check_touch(thread, clock, arena.shadow(), arena.offset_of(address), bytes, kind, place,
                "shared");
}

void Block::report_flight(const Thread& thread, int sender, Place place, Place issue) {
  if (!machine_.is_new(Finding::in_flight, place, issue)) return;
  machine_.note(
      {Finding::in_flight,
       fmt::format("{} touches shared memory at {{0}} that the copy issued by {} at {{1}} has not "
                   "delivered: nobody has waited for it",
                   name_of(thread), name_of(thread_[static_cast<std::size_t>(sender)])),
       {place, issue}});
}

void Block::heap_access(const Thread& thread, const ThreadClock& clock, const void* address,
                        std::size_t bytes, Access kind, Place place) {
  Allocation* allocation = machine_.heap.nearest(address);
  const auto* at = static_cast<const std::byte*>(address);
  const std::int64_t offset = allocation ? at - allocation->start : 0;
  const auto size = static_cast<std::int64_t>(allocation ? allocation->bytes : 0);
  if (!allocation || offset < 0 || offset + static_cast<std::int64_t>(bytes) > size)
    stop(Finding::out_of_bounds, {place},
         "{} touches {} bytes of device memory at {{0}}, {} bytes from the start of "
         "allocation {}, which has {}",
         name_of(thread), bytes, offset, allocation ? allocation->number : 0, size);
  if (allocation->released)
    stop(Finding::use_after_free, {place},
         "{} touches allocation {} of {} bytes at {{0}}, which was released", name_of(thread),
         allocation->number, size);
  if (races())
    check_touch(thread, clock, allocation->shadow, static_cast<std::size_t>(offset), bytes, kind,
                place, "device");
}

void Block::check_touch(const Thread& thread, const ThreadClock& clock, Shadow& shadow,
                        std::size_t offset, std::size_t bytes, Access kind, Place place,
                        const char* memory) {
  const bool atomic = kind != Access::read && kind != Access::write;
  const bool write = kind != Access::read && kind != Access::atomic_read;
  const bool read = !write || kind == Access::atomic_change;
  const auto conflict =
      machine_.detector.touch(shadow, offset, bytes, {id_, &clock, read, write, atomic, place});
  if (!conflict) return;
  if (conflict->kind == Conflict::Kind::uninitialised && !machine_.options.uninitialised_reads)
    return;
  report_conflict(thread, *conflict, bytes, kind, place, memory);
}

void Block::report_conflict(const Thread& thread, const Conflict& conflict, std::size_t bytes,
                            Access kind, Place place, const char* memory) {
  if (conflict.kind == Conflict::Kind::uninitialised) {
    if (!machine_.is_new(Finding::uninitialised_read, place, 0)) return;
    machine_.note({Finding::uninitialised_read,
                   fmt::format("{} reads {} bytes of shared memory at {{0}} that its block never "
                               "wrote",
                               name_of(thread), bytes),
                   {place}});
    return;
  }
  if (!machine_.is_new(Finding::race, place, conflict.earlier.place)) return;
  static constexpr const char* verbs[] = {"reads", "writes", "atomically reads",
                                          "atomically writes", "atomically changes"};
  const bool atomic = conflict.earlier.atomic;
  machine_.note(
      {Finding::race,
       fmt::format(
           "{} {} {} bytes of {} memory at {{0}}; nothing orders that after {} {}by {} at {{1}}",
           name_of(thread), verbs[static_cast<int>(kind)], bytes, memory,
           conflict.earlier_write ? "the write" : "the read", atomic ? "(atomic) " : "",
           other_access(conflict.earlier)),
       {place, conflict.earlier.place}});
}

// Who made an earlier access.
std::string Block::other_access(const Stamp& stamp) const {
  if (stamp.actor >= store_reader(0)) return "a store of a tensor";
  if (stamp.actor >= warpgroup_actor(0))
    return fmt::format("a multiply of warpgroup {}", stamp.actor - warpgroup_actor(0));
  if (stamp.actor >= threads()) return "a bulk copy";
  const dev::Dim3 size = launch_.shape.block;
  const int rank = stamp.actor;
  const dev::Dim3 thread = {rank % size.x, rank / size.x % size.y, rank / size.x / size.y};
  return fmt::format("{}", ThreadName{thread, machine_.order[stamp.block - launch_.first_block]});
}

void Block::matrix_row_access(Thread& thread, const void* row, Place place) {
  constexpr std::size_t row_bytes = 16;
  if (reinterpret_cast<std::uintptr_t>(row) % row_bytes != 0)
    stop(Finding::misaligned, {place},
         "{} gives ldmatrix the address of a row that is no multiple of {} at {{0}}",
         name_of(thread), row_bytes);
  if (!machine_.arena.contains(row))
    stop(Finding::out_of_bounds, {place},
         "{} gives ldmatrix a row outside of shared memory at {{0}}", name_of(thread));
  access(thread, row, row_bytes, Access::read, place);
}

// Atomics follow C++: what a thread releases travels through the location to whoever acquires. A
// relaxed operation releases what the thread's last fence did, and what it reads is acquired by the
// next one. A change of the value passes on what was published before it, a plain store does not.
void Block::atomic_access(Thread& thread, const void* address, std::size_t bytes, AtomicKind kind,
                          Place place) {
  if (reinterpret_cast<std::uintptr_t>(address) % bytes != 0)
    stop(Finding::misaligned, {place},
         "{}: the address of an atomic operation on {} bytes is no multiple of that at "
         "{{0}}",
         name_of(thread), bytes);
  access(thread, address, bytes,
         !kind.writes ? Access::atomic_read
                      : (kind.reads ? Access::atomic_change : Access::atomic_write),
         place);
  if (!races()) return;
  auto& published = machine_.arena.contains(address) ? published_ : machine_.published;
  const auto found = published.find(address);
  if (kind.reads && found != published.end()) {
    if (kind.acquires)
      acquire(thread.clock, id_, found->second);
    else
      thread.fence_acquire = later(thread.fence_acquire, found->second);
  }
  if (!kind.writes) return;
  const auto past = kind.releases ? exported(thread.clock, id_) : thread.fence_release;
  if (kind.releases) ++thread.clock.now;
  if (!kind.reads)
    published[address] = past;
  else if (past)
    published[address] = later(published[address], past);
}

void Block::fence(Thread& thread) {
  if (!races()) return;
  acquire(thread.clock, id_, thread.fence_acquire);
  thread.fence_acquire = nullptr;
  thread.fence_release = exported(thread.clock, id_);
  ++thread.clock.now;
}

void* Block::static_array(const void* key, std::size_t bytes, std::size_t alignment, Place place) {
  void* array = machine_.arena.static_array(key, bytes, alignment);
  if (!array)
    stop(Finding::shared_memory, {place},
         "the static array of {} bytes at {{0}} and the rest of the block's shared memory "
         "are more than {} bytes",
         bytes, dev::max_shared_bytes);
  return array;
}

void* Block::dynamic_array(std::size_t offset, std::size_t bytes, std::size_t alignment,
                           Place place) {
  void* array = machine_.arena.dynamic_array(offset, bytes, alignment);
  if (!array)
    stop(Finding::shared_memory, {place},
         "bytes {} to {} of dynamic shared memory, taken at {{0}}, overlap others or are "
         "beyond the {} bytes that the kernel was launched with",
         offset, offset + bytes, machine_.arena.dynamic_bytes());
  return array;
}

}  // namespace mettle::emulation
