// Joining clocks.
#include "kernels/emulation/clock.h"

#include <algorithm>

namespace mettle::emulation {
namespace {

void raise(Clocks& to, const Clocks& from) {
  for (std::size_t i = 0; i < from.size(); ++i) to[i] = std::max(to[i], from[i]);
}

bool contains(const Clocks& a, const Clocks& b) {
  for (std::size_t i = 0; i < b.size(); ++i)
    if (a[i] < b[i]) return false;
  return true;
}

}  // namespace

std::shared_ptr<const Clocks> later(const std::shared_ptr<const Clocks>& a,
                                    const std::shared_ptr<const Clocks>& b) {
  if (!b || a == b) return a;
  if (!a || contains(*b, *a)) return b;
  if (contains(*a, *b)) return a;
  auto both = std::make_shared<Clocks>(*a);
  raise(*both, *b);
  return both;
}

std::shared_ptr<const BlockClocks> later(const std::shared_ptr<const BlockClocks>& a,
                                         const std::shared_ptr<const BlockClocks>& b) {
  if (!b || a == b) return a;
  if (!a) return b;
  auto both = std::make_shared<BlockClocks>(*a);
  for (const auto& [block, clocks] : *b) {
    std::shared_ptr<const Clocks>& mine = (*both)[block];
    mine = later(mine, clocks);
  }
  return both;
}

bool ThreadClock::sees(BlockId block, int who, Clock clock) const {
  if (!others) return false;
  const auto found = others->find(block);
  return found != others->end() && (*found->second)[static_cast<std::size_t>(who)] >= clock;
}

void Gathering::release(ThreadClock& thread) {
  if (thread.seen != joined_) {
    raise(clocks_, *thread.seen);
    joined_ = thread.seen;
  }
  others_ = later(others_, thread.others);
  release(thread.actor, thread.now);
  ++thread.now;
}

void Gathering::release(int actor, Clock clock) {
  Clock& mine = clocks_[static_cast<std::size_t>(actor)];
  mine = std::max(mine, clock);
  next_ = std::max(next_, clock + 1);
  changed_ = true;
}

const Knowledge& Gathering::knowledge() {
  if (changed_) frozen_ = {std::make_shared<const Clocks>(clocks_), others_};
  changed_ = false;
  return frozen_;
}

void meet(ThreadClock& thread, Gathering& gathering) {
  const Knowledge& all = gathering.knowledge();
  thread.seen = all.clocks;
  thread.others = all.others;
  thread.now = std::max(thread.now, gathering.next());
}

void acquire(ThreadClock& thread, const Knowledge& knowledge) {
  thread.seen = later(thread.seen, knowledge.clocks);
  thread.others = later(thread.others, knowledge.others);
}

std::shared_ptr<const BlockClocks> exported(const ThreadClock& thread, BlockId block) {
  auto clocks = std::make_shared<Clocks>(*thread.seen);
  (*clocks)[static_cast<std::size_t>(thread.actor)] = thread.now;
  auto past = thread.others ? std::make_shared<BlockClocks>(*thread.others)
                            : std::make_shared<BlockClocks>();
  (*past)[block] = std::move(clocks);
  return past;
}

void acquire(ThreadClock& thread, BlockId block, const std::shared_ptr<const BlockClocks>& past) {
  if (!past) return;
  if (const auto own = past->find(block); own != past->end()) {
    thread.seen = later(thread.seen, own->second);
    if (past->size() == 1) return;
    auto rest = std::make_shared<BlockClocks>(*past);
    rest->erase(block);
    thread.others = later(thread.others, rest);
    return;
  }
  thread.others = later(thread.others, past);
}

}  // namespace mettle::emulation
