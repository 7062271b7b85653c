// Free lists per stream and size class, a bound on what they hold, and pools for graphs.
#include "engine/cuda_allocator.h"

#include <algorithm>
#include <limits>

#include "engine/check.h"
#include "engine/exec.h"

namespace mettle {
namespace {

constexpr std::size_t alignment = 256;

}  // namespace

CudaAllocator::CudaAllocator(CudaDriver& driver, int device, std::size_t cached_bytes)
    : driver_(driver),
      device_(device),
      live_limit_(std::numeric_limits<std::size_t>::max()),
      cached_limit_(cached_bytes) {}

CudaAllocator::~CudaAllocator() {
  for (auto& [key, blocks] : free_)
    for (void* block : blocks) driver_.release(device_, block);
  if (event_) driver_.destroy_event(event_);
}

void* CudaAllocator::allocate(std::size_t bytes) {
  if (bytes == 0) return nullptr;
  const std::size_t size = size_class<alignment>(bytes).bytes;
  const Stream stream = current_stream(Device::cuda(device_));
  const std::lock_guard lock(mutex_);
  check_limit(size, bytes);
  const FreeKey key{open_, stream.handle, size};
  void* data = take(key);
  if (!data) data = from_driver(size, bytes);
  live_.insert({data, {size, stream.handle, open_, {}}});
  ++stats_.allocations;
  ++stats_.live_blocks;
  stats_.live_bytes += size;
  stats_.peak_live_bytes = std::max(stats_.peak_live_bytes, stats_.live_bytes);
  return data;
}

void CudaAllocator::deallocate(void* data, std::size_t) noexcept {
  if (!data) return;
  const std::lock_guard lock(mutex_);
  const auto found = live_.find(data);
  if (found == live_.end()) return;
  const Block block = std::move(found->second);
  live_.erase(found);
  --stats_.live_blocks;
  stats_.live_bytes -= block.bytes;
  try {
    wait_for_users(block);
    free_[{block.pool, block.stream, block.bytes}].push_back(data);
  } catch (...) {  // the device is beyond use, or the host has no memory to note the block in
    driver_.release(device_, data);
    return;
  }
  (block.pool ? pooled_bytes_ : stats_.cached_bytes) += block.bytes;
  // Nothing goes back to the driver while a graph is captured: that is not allowed then.
  if (!open_) evict_down_to(cached_limit_);
}

AllocatorStats CudaAllocator::stats() const {
  const std::lock_guard lock(mutex_);
  AllocatorStats stats = stats_;
  stats.cached_bytes += pooled_bytes_;
  return stats;
}

void CudaAllocator::trim() noexcept {
  const std::lock_guard lock(mutex_);
  if (!open_) evict_down_to(0);
}

void CudaAllocator::set_limits(std::size_t live_bytes, std::size_t cached_bytes) {
  const std::lock_guard lock(mutex_);
  live_limit_ = live_bytes;
  cached_limit_ = cached_bytes;
  if (!open_) evict_down_to(cached_limit_);
}

void CudaAllocator::used_on(void* data, const Stream& stream) {
  const std::lock_guard lock(mutex_);
  const auto found = live_.find(data);
  if (found == live_.end() || found->second.stream == stream.handle) return;
  auto& users = found->second.users;
  if (std::find(users.begin(), users.end(), stream.handle) == users.end())
    users.push_back(stream.handle);
}

CudaAllocator::Pool CudaAllocator::open_pool() {
  const std::lock_guard lock(mutex_);
  METTLE_CHECK(DeviceError, !open_, "graph capture: the device already captures a graph");
  return open_ = ++last_pool_;
}

void CudaAllocator::close_pool() {
  const std::lock_guard lock(mutex_);
  open_ = 0;
}

void CudaAllocator::release_pool(Pool pool) noexcept {
  const std::lock_guard lock(mutex_);
  for (auto& [data, block] : live_)
    if (block.pool == pool) block.pool = 0;
  const auto first = free_.lower_bound({pool, nullptr, 0});
  auto last = first;
  for (; last != free_.end() && last->first.pool == pool; ++last) {
    const auto& [key, blocks] = *last;
    for (void* block : blocks) driver_.release(device_, block);
    pooled_bytes_ -= key.bytes * blocks.size();
  }
  free_.erase(first, last);
}

void* CudaAllocator::take(const FreeKey& key) {
  const auto found = free_.find(key);
  if (found == free_.end()) return nullptr;
  void* data = found->second.back();
  found->second.pop_back();
  if (found->second.empty()) free_.erase(found);
  (key.pool ? pooled_bytes_ : stats_.cached_bytes) -= key.bytes;
  return data;
}

void* CudaAllocator::from_driver(std::size_t bytes, std::size_t requested) {
  void* data = driver_.allocate(device_, bytes);
  if (!data && !open_) {
    evict_down_to(0);
    data = driver_.allocate(device_, bytes);
  }
  METTLE_CHECK(
      MemoryError, data,
      "cuda:{}: no {} bytes left on the device ({} live in {} blocks, at most {} so far, {} "
      "kept by graphs){}; use smaller batches, gradient checkpoints or a smaller dtype",
      device_, requested, stats_.live_bytes, stats_.live_blocks, stats_.peak_live_bytes,
      pooled_bytes_, largest_live());
  ++stats_.system_calls;
  return data;
}

// The stream that gets the block next waits for the others, on the device.
void CudaAllocator::wait_for_users(const Block& block) {
  for (void* user : block.users) {
    if (!event_) event_ = driver_.create_event(device_);
    driver_.record(event_, {Device::cuda(device_), user});
    driver_.wait({Device::cuda(device_), block.stream}, event_);
  }
}

void CudaAllocator::evict_down_to(std::size_t bytes) noexcept {
  // The largest first: they are the fewest to release and the least likely to be asked for again.
  for (auto at = free_.end(); at != free_.begin() && stats_.cached_bytes > bytes;) {
    --at;
    if (at->first.pool) continue;
    auto& blocks = at->second;
    while (!blocks.empty() && stats_.cached_bytes > bytes) {
      driver_.release(device_, blocks.back());
      blocks.pop_back();
      stats_.cached_bytes -= at->first.bytes;
    }
    if (blocks.empty()) at = free_.erase(at);
  }
}

void CudaAllocator::check_limit(std::size_t bytes, std::size_t requested) const {
  METTLE_CHECK(MemoryError, bytes <= live_limit_ && stats_.live_bytes <= live_limit_ - bytes,
               "cuda:{}: {} bytes would pass the limit of {} with {} live in {} blocks{}; use "
               "smaller batches or raise it with set_limits()",
               device_, requested, live_limit_, stats_.live_bytes, stats_.live_blocks,
               largest_live());
}

std::string CudaAllocator::largest_live() const {
  std::vector<std::size_t> sizes;
  for (const auto& [data, block] : live_) sizes.push_back(block.bytes);
  const std::size_t shown = std::min<std::size_t>(sizes.size(), 5);
  std::partial_sort(sizes.begin(), sizes.begin() + static_cast<std::ptrdiff_t>(shown), sizes.end(),
                    std::greater<>());
  std::string text;
  for (std::size_t i = 0; i < shown; ++i)
    text += fmt::format("{}{}", i ? ", " : "; the largest live tensors have ", sizes[i]);
  return shown ? text + " bytes" : text;
}

}  // namespace mettle
