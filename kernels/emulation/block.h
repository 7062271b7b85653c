// The block that runs: its threads, who waits for what, and the rules of everything that threads do
// together. Each idea has a file: block.cpp schedules, barriers.cpp, warp.cpp, memory.cpp,
// copies.cpp, mbarriers.cpp, matrix.cpp, wgmma.cpp, async_proxy.cpp, tensor_copies.cpp and
// tensor_stores.cpp.
//
// Threads switch only where they wait, and the next one is drawn at random. A found mistake that
// leaves the block able to run (a race) is noted; any other stops the launch by never resuming any
// thread again, without unwinding: objects in kernels have trivial destructors.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <exception>
#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernels/emulation/clock.h"
#include "kernels/emulation/fiber.h"
#include "kernels/emulation/machine_state.h"
#include "kernels/emulation/registers.h"
#include "kernels/emulation/runtime.h"
#include "kernels/emulation/tensor_box.h"
#include "kernels/emulation/warpgroup.h"

namespace mettle::emulation {

class Block;
struct Thread;

/// "thread (3,0,0) of block (1,0,0)", in messages.
struct ThreadName {
  dev::Dim3 thread;
  dev::Dim3 block;
};

}  // namespace mettle::emulation

template <> struct fmt::formatter<mettle::emulation::ThreadName> {
  static constexpr auto parse(format_parse_context& context) { return context.begin(); }
  static auto format(const mettle::emulation::ThreadName& name, format_context& context) {
    const auto& [t, b] = name;
    return fmt::format_to(context.out(), "thread ({},{},{}) of block ({},{},{})", t.x, t.y, t.z,
                          b.x, b.y, b.z);
  }
};

namespace mettle::emulation {

/// The lanes that meet in a warp operation: what each passed, and where each wants its result.
struct Lanes {
  std::uint32_t mask = 0;
  Place place = 0;
  Thread* thread[dev::warp_size] = {};
  const void* in[dev::warp_size] = {};
  void* out[dev::warp_size] = {};

  bool has(int lane) const { return ((mask >> lane) & 1u) != 0; }
};
/// Run once by the last lane that arrives.
using WarpFunction = void (*)(Block& block, const Lanes& lanes);

/// A cp.async that has been issued and not waited for.
struct PendingCopy {
  void* to;
  const void* from;
  int bytes;
  int source_bytes;
  Place place;
};

/// What a thread waits in.
struct Waiting {
  enum class In {
    nothing,
    warp_operation,
    warpgroup_operation,
    barrier,
    mbarrier,
    exited
  } in = In::nothing;
  Place place = 0;
  int barrier = 0;                  // id
  const void* mbarrier = nullptr;   // address
  WarpFunction function = nullptr;  // of the warp operation
  std::uint32_t mask = 0;
  const void* input = nullptr;  // also of the warpgroup operation
  void* output = nullptr;
};

struct Thread {
  Fiber fiber;
  Block* block = nullptr;
  int rank = 0;
  dev::Dim3 index;
  Waiting waiting;
  Votes votes;  // of the last block barrier
  ThreadClock clock;
  std::vector<PendingCopy> copies;       // in the order of issue
  std::vector<std::size_t> copy_groups;  // sizes of the committed groups at their front
  RegisterFile registers;                // of multiplies
  StoreQueue stores;
  // C++'s fences: what later relaxed stores hand over, and what earlier relaxed loads have read.
  std::shared_ptr<const BlockClocks> fence_release, fence_acquire;

  int lane() const { return rank % dev::warp_size; }
  int warp() const { return rank / dev::warp_size; }
};

class Block {
 public:
  /// `id` is the serial number, `index` the place in the grid.
  Block(MachineState& machine, const Launch& launch, BlockId id, dev::Dim3 index);
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  /// Runs every thread to its end or until a mistake stops the launch.
  void run();

  // Called by runtime.cpp for the thread that runs.
  Votes sync_block(Thread& thread, bool vote, Place place);
  void sync_named(Thread& thread, int id, int threads, Place place);
  void arrive_named(Thread& thread, int id, int threads, Place place);
  void warp_operation(Thread& thread, WarpFunction function, std::uint32_t mask, const void* input,
                      void* output, Place place);
  void plain_access(Thread& thread, const void* address, std::size_t bytes, bool write,
                    const void* return_address);
  void atomic_access(Thread& thread, const void* address, std::size_t bytes, AtomicKind kind,
                     Place place);
  void fence(Thread& thread);
  void* static_array(const void* key, std::size_t bytes, std::size_t alignment, Place place);
  void* dynamic_array(std::size_t offset, std::size_t bytes, std::size_t alignment, Place place);
  void copy_async(Thread& thread, const PendingCopy& copy);
  void wait_copies(Thread& thread, int groups_left);
  void mbarrier_init(Thread& thread, const void* barrier, int arrivals, Place place);
  void mbarrier_arrive(Thread& thread, const void* barrier, std::uint32_t bytes, Place place);
  void mbarrier_wait(Thread& thread, const void* barrier, int parity, Place place);
  void copy_bulk(Thread& thread, const PendingCopy& copy, const void* barrier);
  void copy_tensor(Thread& thread, void* to, const TensorBox& box, const void* barrier,
                   Place place);
  void store_tensor(Thread& thread, const TensorBox& box, const std::byte* from, bool add,
                    Place place);
  /// The box that a copy by this map moves.
  TensorBox box_of(const Thread& thread, const dev::TensorMap* map, const int* at, int rank,
                   Place place);
  void commit_stores(Thread& thread);
  void wait_store_reads(Thread& thread, int groups_left);
  void wait_stores(Thread& thread, int groups_left);
  void fence_async_proxy(Thread& thread);
  /// Waits for the other threads of the warpgroup; the last one issues the multiply for all.
  void multiply_async(Thread& thread, const Multiply& multiply, Place place);
  /// Of the warp that this thread belongs to, once for all of its lanes.
  void commit_multiplies(const Thread& lane);
  void wait_multiplies(const Thread& lane, int groups_left);
  /// Stops when one of these is still under way.
  void check_landed(const Thread& thread, const Registers& registers, Place place);
  /// Checks a row of ldmatrix, read by the lane that gives its address.
  void matrix_row_access(Thread& thread, const void* row, Place place);

  MachineState& machine() { return machine_; }
  const Launch& launch() const { return launch_; }
  dev::Dim3 index() const { return index_; }
  Places& places() { return machine_.places; }
  /// Notes a fatal mistake and never returns. What the text leaves as {0}, {1}, ... (written {{0}})
  /// becomes the lines of `places`, the first of which is that of the operation. Frames are left
  /// without unwinding: no argument may own memory.
  template <class... A>
  [[noreturn]] void stop(Finding finding, std::initializer_list<Place> places,
                         fmt::format_string<const A&...> text, const A&... arguments) {
    static_assert((std::is_trivially_destructible_v<A> && ...));
    machine_.note({finding, fmt::format(text, arguments...), places});
    leave();
  }
  ThreadName name_of(const Thread& thread) const { return {thread.index, index_}; }

 private:
  struct Barrier {
    int arrived = 0;
    int expected = 0;
    Place place = 0;
    Votes votes;
    Gathering gathering;
  };
  struct MBarrierState {
    int arrivals;            // per phase
    int pending;             // of this phase
    std::int64_t bytes = 0;  // expected and not arrived
    int phase = 0;
    int actor = 0;  // the copies that complete here, in the clocks
    Clock actor_clock = 0;
    Gathering gathering;
    Knowledge completed;
    Stamp made;
  };
  struct BulkCopy {
    PendingCopy copy;
    const void* barrier;
    std::shared_ptr<const TensorBox> box;  // null: plain bytes
  };

  static void thread_main(void* thread);
  [[noreturn]] void leave();
  void finish(Thread& thread);
  void wait(Thread& thread, Waiting waiting);
  void wake(Thread& thread);
  void maybe_yield(Thread& thread);
  int threads() const { return static_cast<int>(thread_.size()); }
  bool races() const { return launch_.instrumented; }

  // Who appears in the clocks: threads, mbarriers for the copies that complete there, warpgroups
  // for what their multiplies read, and threads that store for what their stores read and write.
  // Behind them is an entry for each thread: the clock up to which its writes are fenced for the
  // asynchronous proxy.
  int mbarrier_actor(int number) const { return threads() + number; }
  int warpgroup_actor(int number) const { return mbarrier_actor(max_mbarriers) + number; }
  int store_reader(int number) const { return warpgroup_actor(max_warpgroups) + number; }
  int store_writer(int number) const { return store_reader(max_store_threads) + number; }
  int fence_entry(int thread) const { return store_writer(max_store_threads) + thread; }
  int clock_entries() const { return fence_entry(threads()); }
  Gathering new_gathering() const { return Gathering(races() ? clock_entries() : 0); }
  void no_progress();
  std::string wait_text(const Thread& thread) const;
  std::string other_access(const Stamp& stamp) const;

  void arrive(Barrier& barrier, Thread& thread, bool vote);
  void complete(int id, Thread& last);
  Barrier& named_barrier(Thread& thread, int id, int threads, Place place);

  enum class Access { read, write, atomic_read, atomic_write, atomic_change };
  void access(Thread& thread, const void* address, std::size_t bytes, Access kind, Place place);
  /// The same by what the thread has set off, with a clock of its own.
  void access(const Thread& thread, const ThreadClock& clock, const void* address,
              std::size_t bytes, Access kind, Place place);
  void shared_access(const Thread& thread, const ThreadClock& clock, const void* address,
                     std::size_t bytes, Access kind, Place place);
  void report_flight(const Thread& thread, int sender, Place place, Place issue);
  void heap_access(const Thread& thread, const ThreadClock& clock, const void* address,
                   std::size_t bytes, Access kind, Place place);
  void register_access(const Thread& thread, const void* address, std::size_t bytes, bool write,
                       Place place);
  void check_touch(const Thread& thread, const ThreadClock& clock, Shadow& shadow,
                   std::size_t offset, std::size_t bytes, Access kind, Place place,
                   const char* memory);
  void report_conflict(const Thread& thread, const Conflict& conflict, std::size_t bytes,
                       Access kind, Place place, const char* memory);
  void send(Thread& thread, const PendingCopy& copy);
  void land(const PendingCopy& copy, const Stamp& stamp);

  // Asynchronous operations: they are ordered after what their thread knew when it issued them.
  const ThreadClock& async_clock(const Thread& thread, int actor, Clock now);
  const ThreadClock& joint_clock(int first, int count, int actor, Clock now);
  void learn(Thread& thread, int actor, Clock clock) const;
  void check_fenced(const Thread& thread, const ThreadClock& clock, const void* address,
                    std::size_t bytes, Place place);
  void check_barrier_fenced(const Thread& thread, const MBarrierState& state, Place place);
  void async_read(const Thread& thread, const ThreadClock& clock, const void* address,
                  std::size_t bytes, Place place);

  void issue(int group, Place place);
  void check_operand(const Thread& thread, const Operand& operand, char name, Place place);
  void check_operand_reads(int group, const Multiply& multiply, Clock now, Place place);
  void check_registers(const Thread& thread, const Multiply& multiply, Place place);

  int store_number(const Thread& thread, Place place);
  void read_stores(StoreGroup& group);
  void write_stores(const StoreGroup& group);
  void finish_stores(Thread& thread);
  void check_tile(const Thread& thread, const void* tile, const TensorBox& box, Place place);
  void land_box(const BulkCopy& arriving, const Stamp& stamp);

  MBarrierState& mbarrier(Thread& thread, const void* barrier, Place place);
  void maybe_complete(const void* address, MBarrierState& barrier);
  bool deliver_bulk_copy();

  static constexpr int named_barriers = 16;
  static constexpr int max_mbarriers = 64;
  static constexpr int max_warpgroups = dev::max_block_threads / dev::warpgroup_size;
  static constexpr int max_store_threads = 32;

  MachineState& machine_;
  const Launch& launch_;
  BlockId id_;
  dev::Dim3 index_;
  std::vector<Thread>& thread_;
  std::vector<int> ready_;
  int exited_ = 0;
  Barrier barrier_[named_barriers];
  std::map<const void*, MBarrierState> mbarriers_;
  std::vector<BulkCopy> bulk_copies_;
  std::vector<Warpgroup> warpgroups_;
  std::vector<int> store_threads_;  // by their number
  ThreadClock scratch_clock_;       // of the asynchronous operation that is being issued
  Published published_;  // in shared memory, which the next block finds at the same addresses
};

/// The emulated thread that runs on this thread of the operating system; null outside of kernels.
Thread* current_thread();
/// The same; throws DeviceError outside of kernels.
Thread& self();

}  // namespace mettle::emulation
