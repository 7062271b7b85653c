// Working memory from the device's allocator.
#include "kernels/cuda/scratch.h"

#include "engine/allocator.h"
#include "engine/check.h"

namespace mettle::kernels::cuda {

Scratch::Scratch(const Stream& stream, std::size_t bytes)
    : device_(stream.device),
      data_(static_cast<std::byte*>(allocator(stream.device).allocate(bytes))),
      bytes_(bytes) {}

Scratch::~Scratch() { allocator(device_).deallocate(data_, bytes_); }

void* Scratch::take_bytes(std::size_t bytes) {
  METTLE_CHECK(MemoryError, used_ + bytes <= bytes_,
               "scratch: {} bytes asked for with {} of {} taken", bytes, used_, bytes_);
  void* part = data_ + used_;
  used_ += rounded(bytes);
  return part;
}

}  // namespace mettle::kernels::cuda
