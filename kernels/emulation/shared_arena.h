// The shared memory of the block that runs: arrays with bytes between them that belong to nobody,
// filled with NaN for every block, and marks on bytes that a copy has yet to deliver.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/emulation/shadow.h"

namespace mettle::emulation {

class SharedArena {
 public:
  SharedArena();
  SharedArena(const SharedArena&) = delete;
  SharedArena& operator=(const SharedArena&) = delete;
  ~SharedArena();

  /// A new block that was launched with this much dynamic shared memory.
  void begin_block(std::size_t dynamic_bytes);

  /// Whether the address is in the arena or so near that nothing else can be meant.
  bool contains(const void* address) const { return offset_of(address) < mapped_bytes; }
  /// Whether all bytes belong to arrays.
  bool valid(const void* address, std::size_t bytes) const;

  /// The array of this key, made at its first mention in a block; null when it does not fit.
  void* static_array(const void* key, std::size_t bytes, std::size_t alignment);
  /// The part of the dynamic memory at this offset. Null when it overlaps a different part or goes
  /// beyond the end.
  void* dynamic_array(std::size_t offset, std::size_t bytes, std::size_t alignment);

  /// Bytes of dynamic memory that the block was launched with.
  std::size_t dynamic_bytes() const { return dynamic_bytes_; }

  /// Marks of the bytes, 0 when nothing is on the way to them, else who sent for them plus one.
  std::span<std::uint16_t> flights(const void* address, std::size_t bytes);
  /// Which operation did.
  std::span<Place> senders(const void* address, std::size_t bytes);

  Shadow& shadow() { return shadow_; }
  /// Where the address is for shadow().
  std::size_t offset_of(const void* address) const {
    return static_cast<std::size_t>(static_cast<const std::byte*>(address) - base_);
  }

 private:
  static constexpr std::size_t guard = std::size_t{64} << 10;  // at both ends
  static constexpr std::size_t array_bytes = std::size_t{512} << 10;
  static constexpr std::size_t mapped_bytes = array_bytes + 2 * guard;
  static constexpr std::size_t red_zone = 128;

  struct Array {
    const void* key;  // null: dynamic
    std::size_t offset;
    std::size_t bytes;
    std::byte* at;
  };

  void* place(const void* key, std::size_t offset, std::size_t bytes, std::size_t alignment);

  std::byte* base_ = nullptr;
  std::size_t used_ = 0;
  std::size_t dynamic_bytes_ = 0;
  std::size_t static_bytes_ = 0;
  std::vector<Array> arrays_;
  std::vector<std::uint8_t> valid_;
  std::vector<std::uint16_t> flights_;
  std::vector<Place> senders_;
  Shadow shadow_;
};

}  // namespace mettle::emulation
