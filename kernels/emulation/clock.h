// Vector clocks: what of the other threads' past each thread of a block has been told.
//
// Every thread counts its releases (arriving at a barrier, a fence): its clock. An access of thread
// u at its clock c is ordered before whatever thread t does once t has seen clock c of u, through a
// barrier that both took part in or a chain of such. What nothing orders is a race, in whatever
// order the emulation happened to run it.
//
// The clocks that a thread has seen are shared between all threads that left the same barrier, so a
// barrier of n threads costs n, not n^2. Besides the threads a block has actors for the copies that
// complete on an mbarrier: see Block.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

namespace mettle::emulation {

using Clock = std::uint32_t;
/// Serial number of a block over all launches; 0 is "none".
using BlockId = std::uint32_t;

/// One clock per actor of a block.
using Clocks = std::vector<Clock>;
/// The same of several blocks, for what passes between blocks through atomics.
using BlockClocks = std::map<BlockId, std::shared_ptr<const Clocks>>;

/// The union of two pasts; null is the empty one. Returns an argument when it contains the other.
std::shared_ptr<const Clocks> later(const std::shared_ptr<const Clocks>& a,
                                    const std::shared_ptr<const Clocks>& b);
std::shared_ptr<const BlockClocks> later(const std::shared_ptr<const BlockClocks>& a,
                                         const std::shared_ptr<const BlockClocks>& b);

/// Where one thread stands.
struct ThreadClock {
  int actor = 0;
  Clock now = 1;
  std::shared_ptr<const Clocks> seen;         // of its block's actors; its own entry is meaningless
  std::shared_ptr<const BlockClocks> others;  // of other blocks, null: nothing

  /// Whether what `who` of this block did at `clock` is ordered before this thread's next access.
  bool sees(int who, Clock clock) const {
    return who == actor || (*seen)[static_cast<std::size_t>(who)] >= clock;
  }
  /// The same of another block.
  bool sees(BlockId block, int who, Clock clock) const;
};

/// What has been handed over at one barrier.
struct Knowledge {
  std::shared_ptr<const Clocks> clocks;
  std::shared_ptr<const BlockClocks> others;
};

/// A barrier's ledger: threads hand over what they have seen and done, others take it.
class Gathering {
 public:
  explicit Gathering(int actors = 0) : clocks_(static_cast<std::size_t>(actors)) {}

  /// `thread` hands over; its clock goes on.
  void release(ThreadClock& thread);
  /// An actor that is no thread hands over its own past up to `clock`.
  void release(int actor, Clock clock);
  /// Everything handed over since the ledger was made.
  const Knowledge& knowledge();
  /// A clock above that of every thread that has handed over.
  Clock next() const { return next_; }

 private:
  Clocks clocks_;
  Clock next_ = 1;
  std::shared_ptr<const Clocks> joined_;  // already in clocks_
  std::shared_ptr<const BlockClocks> others_;
  Knowledge frozen_;
  bool changed_ = true;
};

/// `thread`, which has handed over itself, takes all of it and moves on to next(), as the others
/// do: threads of equal clocks are cheap to record.
void meet(ThreadClock& thread, Gathering& gathering);
/// `thread` takes what was handed over.
void acquire(ThreadClock& thread, const Knowledge& knowledge);

/// The past of a thread of `block` in the form that travels between blocks.
std::shared_ptr<const BlockClocks> exported(const ThreadClock& thread, BlockId block);
/// `thread` of `block` takes what travelled between blocks.
void acquire(ThreadClock& thread, BlockId block, const std::shared_ptr<const BlockClocks>& past);

}  // namespace mettle::emulation
