// Handing out device memory.
#include "kernels/emulation/device_heap.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <iterator>

#include "engine/asan.h"
#include "engine/check.h"

namespace mettle::emulation {
namespace {

std::size_t round_up(std::size_t bytes, std::size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

std::size_t page_bytes() { return static_cast<std::size_t>(sysconf(_SC_PAGESIZE)); }

}  // namespace

DeviceHeap::DeviceHeap() {
  void* mapped =
      mmap(nullptr, reserved_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  METTLE_CHECK(MemoryError, mapped != MAP_FAILED,
               "emulation: no address space of {} bytes for the device's memory", reserved_bytes);
  base_ = static_cast<std::byte*>(mapped);
}

DeviceHeap::~DeviceHeap() {
  allow(base_, accessible_);
  munmap(base_, reserved_bytes);
}

void* DeviceHeap::allocate(std::size_t bytes) {
  constexpr std::size_t growth = std::size_t{1} << 20;
  const std::size_t offset = round_up(used_ + red_zone, red_zone);
  METTLE_CHECK(MemoryError, bytes < reserved_bytes && offset + bytes + red_zone < reserved_bytes,
               "emulation: no {} bytes of device memory: {} are or were in use", bytes, used_);
  const std::size_t needed =
      std::min(round_up(offset + bytes + red_zone, growth), std::size_t{reserved_bytes});
  if (needed > accessible_) {
    std::byte* from = base_ + accessible_;
    METTLE_CHECK(MemoryError, mprotect(from, needed - accessible_, PROT_READ | PROT_WRITE) == 0,
                 "emulation: the system gives no {} bytes for device memory", bytes);
    if (hidden_) mprotect(from, needed - accessible_, PROT_NONE);
    forbid(from, needed - accessible_);
    accessible_ = needed;
  }
  used_ = offset + bytes;
  std::byte* start = base_ + offset;
  const Visible visible(this, start, bytes);
  allow(start, bytes);
  std::memset(start, 0xff, bytes);
  const int number = static_cast<int>(allocations_.size()) + 1;
  allocations_.emplace(start, std::make_unique<Allocation>(
                                  Allocation{start, bytes, number, false, Shadow(bytes, false)}));
  return start;
}

void DeviceHeap::release(void* pointer) {
  if (!pointer) return;
  const auto found = allocations_.find(static_cast<std::byte*>(pointer));
  METTLE_CHECK(ValueError, found != allocations_.end() && !found->second->released,
               "emulation: {} is not device memory in use", pointer);
  Allocation& allocation = *found->second;
  allocation.released = true;
  allocation.shadow = Shadow(0, false);
  const Visible visible(this, pointer, allocation.bytes);
  std::memset(pointer, 0xff, allocation.bytes);
  // Whole pages inside go back to the system.
  const std::size_t page = page_bytes();
  const auto offset = static_cast<std::size_t>(allocation.start - base_);
  const std::size_t first = round_up(offset, page),
                    last = (offset + allocation.bytes) / page * page;
  if (first < last) madvise(base_ + first, last - first, MADV_DONTNEED);
  forbid(pointer, allocation.bytes);
}

void DeviceHeap::hide() {
  if (!hidden_) mprotect(base_, accessible_, PROT_NONE);
  hidden_ = true;
}

void DeviceHeap::show() {
  if (hidden_) mprotect(base_, accessible_, PROT_READ | PROT_WRITE);
  hidden_ = false;
}

DeviceHeap::Visible::Visible(DeviceHeap* heap, const void* start, std::size_t bytes) {
  if (!heap || !heap->hidden_ || bytes == 0) return;
  const std::size_t page = page_bytes();
  const auto offset = static_cast<std::size_t>(static_cast<const std::byte*>(start) - heap->base_);
  from_ = heap->base_ + offset / page * page;
  bytes_ = round_up(offset + bytes, page) - offset / page * page;
  mprotect(from_, bytes_, PROT_READ | PROT_WRITE);
}

DeviceHeap::Visible::~Visible() {
  if (bytes_ > 0) mprotect(from_, bytes_, PROT_NONE);
}

Allocation* DeviceHeap::nearest(const void* address) {
  const auto* at = static_cast<const std::byte*>(address);
  if (last_ && at >= last_->start && at < last_->start + last_->bytes) return last_;
  if (allocations_.empty()) return nullptr;
  const auto next = allocations_.upper_bound(at);
  last_ = (next == allocations_.begin() ? next : std::prev(next))->second.get();
  const std::byte* end = last_->start + last_->bytes;
  if (at >= end && next != allocations_.end() && next->first - at < at - end)
    last_ = next->second.get();
  return last_;
}

}  // namespace mettle::emulation
