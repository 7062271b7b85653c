// The CPU allocator: size classes with four steps per power of two (at most 25 % waste), freed
// blocks kept in two levels, a bound on what is kept, and an optional bound on what is handed out.
//
// Threads that compute beside each other allocate thousands of tensors a step. Each has a shard: a
// lock that nobody else wants, free lists of small blocks, and counts that reach the process's
// totals a quantum at a time. Large blocks, and small ones for which a shard has no room, wait in
// one pool. When the pool is full it gives the class that was unused for longest back to the
// system.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <limits>
#include <mutex>
#include <new>
#include <vector>

#include "engine/allocator.h"
#include "engine/asan.h"
#include "engine/check.h"
#include "engine/cuda_device.h"
#include "engine/size_class.h"
#include "engine/thread_number.h"

namespace mettle {
namespace {

constexpr std::size_t alignment = 64;
constexpr std::size_t unlimited = std::numeric_limits<std::size_t>::max();

/// Freed blocks by class. Not thread-safe.
class FreeBlocks {
 public:
  std::size_t bytes() const { return bytes_; }

  /// The block that came last, or null.
  void* take(SizeClass c) {
    List& list = lists_[c.index];
    if (list.blocks.empty()) return nullptr;
    void* block = list.blocks.back();
    list.blocks.pop_back();
    list.used = ++clock_;
    bytes_ -= c.bytes;
    allow(block, c.bytes);
    return block;
  }

  /// False when there is no memory to note the block in.
  bool keep(SizeClass c, void* block) noexcept {
    List& list = lists_[c.index];
    try {
      list.blocks.push_back(block);
    } catch (const std::bad_alloc&) {
      return false;
    }
    list.bytes_each = c.bytes;
    list.used = ++clock_;
    bytes_ += c.bytes;
    forbid(block, c.bytes);  // a cached block is out of bounds for everybody
    return true;
  }

  /// A block of the class that was unused for longest; null when there are none.
  void* evict() noexcept {
    List* oldest = nullptr;
    for (List& list : lists_)
      if (!list.blocks.empty() && (!oldest || list.used < oldest->used)) oldest = &list;
    if (!oldest) return nullptr;
    void* block = oldest->blocks.back();
    oldest->blocks.pop_back();
    bytes_ -= oldest->bytes_each;
    allow(block, oldest->bytes_each);
    return block;
  }

  void release_all() noexcept {
    while (void* block = evict()) std::free(block);
  }

 private:
  struct List {
    std::vector<void*> blocks;
    std::size_t bytes_each = 0;
    std::uint64_t used = 0;
  };
  std::array<List, size_class_count> lists_;
  std::size_t bytes_ = 0;
  std::uint64_t clock_ = 0;
};

class CpuAllocator final : public Allocator {
 public:
  CpuAllocator() { CpuAllocator::set_limits(unlimited, default_cache); }
  ~CpuAllocator() override { trim(); }

  void* allocate(std::size_t bytes) override {
    if (bytes == 0) return nullptr;
    METTLE_CHECK(MemoryError, bytes <= max_request, "allocate: {} bytes is beyond any machine",
                 bytes);
    const SizeClass c = size_class<alignment>(bytes);
    Shard& shard = own_shard();
    {
      const std::lock_guard lock(shard.mutex);
      count_live(shard, c, bytes);
      ++shard.allocations;
      if (void* block = shard.free.take(c)) return block;
    }
    {
      const std::lock_guard lock(pool_mutex_);
      if (void* block = pool_.take(c)) return block;
    }
    return system_allocate(shard, c);
  }

  void deallocate(void* block, std::size_t bytes) noexcept override {
    if (!block) return;
    const SizeClass c = size_class<alignment>(bytes);
    Shard& shard = own_shard();
    {
      const std::lock_guard lock(shard.mutex);
      count_freed(shard, c);
      const bool room = c.bytes <= small && shard.free.bytes() + c.bytes <= shard_limit_;
      if (room && shard.free.keep(c, block)) return;
    }
    if (!pool(c, block)) std::free(block);
  }

  AllocatorStats stats() const override {
    AllocatorStats total;
    std::int64_t live_bytes = 0, live_blocks = 0;
    for (const Shard& shard : shards_) {
      const std::lock_guard lock(shard.mutex);
      live_bytes += shard.live_bytes;
      live_blocks += shard.live_blocks;
      total.cached_bytes += shard.free.bytes();
      total.allocations += shard.allocations;
      total.system_calls += shard.system_calls;
    }
    total.live_bytes = static_cast<std::size_t>(live_bytes);
    total.live_blocks = static_cast<std::size_t>(live_blocks);
    total.peak_live_bytes = static_cast<std::size_t>(std::max(peak_.load(), live_bytes));
    const std::lock_guard lock(pool_mutex_);
    total.cached_bytes += pool_.bytes();
    return total;
  }

  void trim() noexcept override {
    for (Shard& shard : shards_) {
      const std::lock_guard lock(shard.mutex);
      shard.free.release_all();
    }
    const std::lock_guard lock(pool_mutex_);
    pool_.release_all();
  }

  void set_limits(std::size_t live_bytes, std::size_t cached_bytes) override {
    live_limit_ = live_bytes;
    // Half of a large cache is the shards'; a small one is not worth dividing.
    const std::size_t share = cached_bytes >= worth_dividing ? cached_bytes / 2 / shard_count : 0;
    shard_limit_ = share;
    pool_limit_ = cached_bytes - share * shard_count;
    for (Shard& shard : shards_) {
      const std::lock_guard lock(shard.mutex);
      publish(shard);
    }
    if (stats().cached_bytes > cached_bytes) trim();
  }

 private:
  static constexpr std::size_t default_cache = std::size_t{512} << 20;
  static constexpr std::size_t max_request = std::size_t{1} << 46;
  static constexpr std::size_t shard_count = 16;
  static constexpr std::size_t small = std::size_t{256} << 10;  // what a shard keeps
  static constexpr std::size_t worth_dividing = std::size_t{64} << 20;
  static constexpr std::int64_t quantum = 64 << 10;  // what a shard may leave unpublished

  struct alignas(128) Shard {
    mutable std::mutex mutex;
    FreeBlocks free;
    // What this shard's threads handed out, less what they took back: below zero where they free
    // what others allocated.
    std::int64_t live_bytes = 0;
    std::int64_t live_blocks = 0;
    std::int64_t unpublished = 0;  // part of live_bytes that live_ has not seen
    std::uint64_t allocations = 0;
    std::uint64_t system_calls = 0;
  };

  Shard& own_shard() { return shards_[thread_number() % shard_count]; }

  void publish(Shard& shard) {
    const std::int64_t live = live_.fetch_add(shard.unpublished) + shard.unpublished;
    shard.unpublished = 0;
    std::int64_t peak = peak_.load(std::memory_order_relaxed);
    while (peak < live && !peak_.compare_exchange_weak(peak, live)) {
    }
  }

  // Throws MemoryError, with nothing counted, where the block would pass the limit.
  void count_live(Shard& shard, SizeClass c, std::size_t requested) {
    const auto bytes = static_cast<std::int64_t>(c.bytes);
    const std::size_t limit = live_limit_.load(std::memory_order_relaxed);
    if (limit == unlimited) {
      shard.unpublished += bytes;
      if (shard.unpublished >= quantum) publish(shard);
    } else {
      const std::int64_t others = live_.fetch_add(bytes);
      if (static_cast<std::size_t>(others + bytes) > limit) {
        live_.fetch_sub(bytes);
        fail<MemoryError>(
            "allocate: {} bytes would pass the limit of {} with {} live; use smaller batches "
            "or raise it with set_limits()",
            requested, limit, others);
      }
      publish(shard);
    }
    shard.live_bytes += bytes;
    ++shard.live_blocks;
  }

  void count_freed(Shard& shard, SizeClass c) noexcept {
    const auto bytes = static_cast<std::int64_t>(c.bytes);
    shard.live_bytes -= bytes;
    --shard.live_blocks;
    shard.unpublished -= bytes;
    const bool limited = live_limit_.load(std::memory_order_relaxed) != unlimited;
    if (limited || shard.unpublished <= -quantum) publish(shard);
  }

  bool pool(SizeClass c, void* block) noexcept {
    const std::size_t limit = pool_limit_;
    if (c.bytes > limit) return false;
    for (;;) {
      void* evicted = nullptr;
      {
        const std::lock_guard lock(pool_mutex_);
        if (pool_.bytes() + c.bytes <= limit) return pool_.keep(c, block);
        evicted = pool_.evict();
      }
      std::free(evicted);
    }
  }

  void* system_allocate(Shard& shard, SizeClass c) {
    void* block = std::aligned_alloc(alignment, c.bytes);
    if (!block) {
      trim();
      block = std::aligned_alloc(alignment, c.bytes);
    }
    {
      const std::lock_guard lock(shard.mutex);
      if (block) {
        ++shard.system_calls;
        return block;
      }
      count_freed(shard, c);
    }
    const AllocatorStats s = stats();
    fail<MemoryError>("allocate: the system has no {} bytes left ({} live in {} blocks)", c.bytes,
                      s.live_bytes, s.live_blocks);
  }

  std::array<Shard, shard_count> shards_;
  mutable std::mutex pool_mutex_;
  FreeBlocks pool_;
  std::atomic<std::int64_t> live_{0}, peak_{0};
  std::atomic<std::size_t> live_limit_, shard_limit_, pool_limit_;
};

}  // namespace

Allocator& allocator(Device device) {
  // Never destroyed: tensors in other static objects may outlive any order of destruction.
  static auto* cpu = new CpuAllocator;
  if (device.type == DeviceType::cuda) return cuda_device(device).allocator();
  return *cpu;
}

}  // namespace mettle
