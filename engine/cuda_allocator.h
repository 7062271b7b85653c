// The allocator of a CUDA device: freed blocks wait for the next request of their size, because the
// driver's own allocation costs more than most kernels and may wait for the device.
//
// A block belongs to the stream that was current when it was allocated. Reusing it at once is safe
// without waiting: whoever gets it queues its work behind the work of whoever freed it. Work on
// another stream that touches the block has to be told with used_on().
#pragma once

#include <map>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "engine/allocator.h"
#include "engine/cuda_driver.h"
#include "engine/size_class.h"

namespace mettle {

class CudaAllocator final : public Allocator {
 public:
  /// `cached_bytes`: first bound on what waits for reuse.
  CudaAllocator(CudaDriver& driver, int device, std::size_t cached_bytes);
  ~CudaAllocator() override;

  void* allocate(std::size_t bytes) override;
  void deallocate(void* block, std::size_t bytes) noexcept override;
  AllocatorStats stats() const override;
  void trim() noexcept override;
  void set_limits(std::size_t live_bytes, std::size_t cached_bytes) override;

  /// Work that was queued on `stream` touches the block: its reuse waits for that work.
  void used_on(void* block, const Stream& stream);

  // ---- memory of graphs. What is allocated while a graph is captured keeps its address as long as
  // the graph lives: blocks freed in between are reused by the same capture only.
  using Pool = int;
  /// Opens a new pool: requests are served from it alone until close_pool().
  Pool open_pool();
  void close_pool();
  /// The graph is gone: its free blocks go back to the driver, those in use become like any others.
  void release_pool(Pool pool) noexcept;

 private:
  struct Block {
    std::size_t bytes;
    void* stream;  // handle
    Pool pool;
    std::vector<void*> users;  // handles of other streams
  };
  struct FreeKey {
    Pool pool;
    void* stream;
    std::size_t bytes;
    friend bool operator<(const FreeKey& a, const FreeKey& b) {
      if (a.pool != b.pool) return a.pool < b.pool;
      if (a.bytes != b.bytes) return a.bytes < b.bytes;
      return a.stream < b.stream;
    }
  };

  void* take(const FreeKey& key);
  void* from_driver(std::size_t bytes, std::size_t requested);
  void wait_for_users(const Block& block);
  void evict_down_to(std::size_t bytes) noexcept;
  void check_limit(std::size_t bytes, std::size_t requested) const;
  std::string largest_live() const;

  CudaDriver& driver_;
  const int device_;
  mutable std::mutex mutex_;
  std::unordered_map<void*, Block> live_;  // by address
  std::map<FreeKey, std::vector<void*>> free_;
  AllocatorStats stats_;
  std::size_t pooled_bytes_ = 0;  // free, but kept for graphs
  std::size_t live_limit_;
  std::size_t cached_limit_;
  Pool open_ = 0;  // 0: none
  Pool last_pool_ = 0;
  void* event_ = nullptr;  // of wait_for_users(), made at its first use
};

}  // namespace mettle
