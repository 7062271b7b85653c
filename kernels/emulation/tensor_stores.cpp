// Stores of boxes to tensors, and additions: groups of them read shared memory until their thread
// waits for that, and write device memory until it waits for this, or ends. Both happen at the
// latest moment.
//
// A thread that stores has two actors in the clocks, for what its stores read and what they write;
// the clock of both is the number of the group.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "kernels/emulation/block.h"

namespace mettle::emulation {

int Block::store_number(const Thread& thread, Place place) {
  const auto found = std::ranges::find(store_threads_, thread.rank);
  if (found != store_threads_.end()) return static_cast<int>(found - store_threads_.begin());
  if (store_threads_.size() == max_store_threads)
    stop(Finding::barrier_misuse, {place},
         "{} stores a box of a tensor at {{0}}; {} other threads of the block have done so, more "
         "than the emulation keeps apart",
         name_of(thread), max_store_threads);
  store_threads_.push_back(thread.rank);
  return static_cast<int>(store_threads_.size()) - 1;
}

void Block::store_tensor(Thread& thread, const TensorBox& box, const std::byte* from, bool add,
                         Place place) {
  constexpr int unit = 16;
  if (add && box.map.element != dev::TensorElement::f32)
    stop(Finding::bad_operand, {place}, "{} adds a box at {{0}} to a tensor that is not of f32",
         name_of(thread));
  check_tile(thread, from, box, place);
  const int number = store_number(thread, place);
  const Clock group = thread.stores.committed + 1;
  const ThreadClock& reader = async_clock(thread, store_reader(number), group);
  for (int i = 0; i < box.map.bytes(); i += unit) async_read(thread, reader, from + i, unit, place);
  const ThreadClock& writer = async_clock(thread, store_writer(number), group);
  for (int i = 0; i < box.map.rows(); ++i)
    if (const TensorBox::Row row = box.row(i); row.bytes > 0)
      access(thread, writer, row.inside, static_cast<std::size_t>(row.bytes),
             add ? Access::atomic_change : Access::write, place);
  thread.stores.open.push_back({box, from, add, place});
}

void Block::commit_stores(Thread& thread) {
  StoreQueue& queue = thread.stores;
  queue.groups.push_back({++queue.committed, false, std::move(queue.open)});
  queue.open.clear();
}

void Block::read_stores(StoreGroup& group) {
  if (group.read) return;
  group.read = true;
  for (PendingStore& store : group.stores) {
    const int row_bytes = store.box.map.row_bytes();
    store.data.resize(static_cast<std::size_t>(store.box.map.bytes()));
    for (int i = 0; i < store.box.map.rows(); ++i)
      unswizzle_row(store.box, i, store.from, store.data.data() + i * row_bytes);
  }
}

void Block::write_stores(const StoreGroup& group) {
  for (const PendingStore& store : group.stores)
    for (int i = 0; i < store.box.map.rows(); ++i) {
      const TensorBox::Row row = store.box.row(i);
      const std::byte* data = store.data.data() + i * store.box.map.row_bytes() + row.skipped;
      if (!store.add) {
        if (row.bytes > 0) std::memcpy(row.inside, data, static_cast<std::size_t>(row.bytes));
        continue;
      }
      for (int byte = 0; byte < row.bytes; byte += static_cast<int>(sizeof(float))) {
        float sum, term;
        std::memcpy(&sum, row.inside + byte, sizeof(float));
        std::memcpy(&term, data + byte, sizeof(float));
        sum += term;
        std::memcpy(row.inside + byte, &sum, sizeof(float));
      }
    }
}

void Block::wait_store_reads(Thread& thread, int groups_left) {
  std::deque<StoreGroup>& groups = thread.stores.groups;
  const auto left = static_cast<std::size_t>(groups_left);
  if (groups.size() <= left) return;
  const auto end = groups.end() - static_cast<std::ptrdiff_t>(left);
  for (auto group = groups.begin(); group != end; ++group) read_stores(*group);
  if (const auto found = std::ranges::find(store_threads_, thread.rank);
      found != store_threads_.end())
    learn(thread, store_reader(static_cast<int>(found - store_threads_.begin())),
          std::prev(end)->number);
}

void Block::wait_stores(Thread& thread, int groups_left) {
  wait_store_reads(thread, groups_left);
  std::deque<StoreGroup>& groups = thread.stores.groups;
  const auto found = std::ranges::find(store_threads_, thread.rank);
  while (groups.size() > static_cast<std::size_t>(groups_left)) {
    write_stores(groups.front());
    if (found != store_threads_.end())
      learn(thread, store_writer(static_cast<int>(found - store_threads_.begin())),
            groups.front().number);
    groups.pop_front();
  }
}

// The thread ends: what its stores have to read must be read, because shared memory goes away with
// the block. What they have to write still arrives.
void Block::finish_stores(Thread& thread) {
  StoreQueue& queue = thread.stores;
  Place unread = queue.open.empty() ? 0 : queue.open.front().place;
  for (const StoreGroup& group : queue.groups)
    if (!group.read && !group.stores.empty()) unread = group.stores.front().place;
  if (unread != 0)
    stop(Finding::unfinished_copy, {unread},
         "{} leaves the kernel while its store issued at {{0}} still reads shared memory: commit "
         "it and wait for its reads",
         name_of(thread));
  for (const StoreGroup& group : queue.groups) write_stores(group);
  queue = {};
}

}  // namespace mettle::emulation
