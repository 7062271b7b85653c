// Variables of a thread that stand for registers of wgmma: which of them multiplies use that are
// under way, and which a fence has named.
//
// Accumulators are taken away when the first multiply that uses them is issued, NaN in their place,
// and come back at the wait for the last one. Fragments of A stay where they are, and must.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/emulation/places.h"
#include "kernels/emulation/runtime.h"

namespace mettle::emulation {

/// Accumulators that multiplies are working on.
struct Accumulators {
  float* at;
  std::vector<float> value;
  std::int64_t last;  // number of the latest multiply that uses them
  Place place;        // of the first
};

class RegisterFile {
 public:
  void clear();

  /// A fence names these variables: the next multiply may use them as they are.
  void fence(const Registers& registers);
  /// Whether a fence has named all of them, and nothing has changed them since.
  bool fenced(const Registers& registers) const;

  /// Those that start at `d` and are under way; null when none do.
  Accumulators* under_way(const float* d) const;
  /// Whether some of these, but not just these, are.
  bool entangled(const float* d, int count) const;
  /// Multiply number `number` starts to use `count` accumulators.
  Accumulators* start(float* d, int count, std::int64_t number, Place place);
  /// It uses these four registers, too.
  void start_fragment(const std::uint32_t* a, std::int64_t number, Place place);
  /// Multiplies up to this one are done: gives back what no later one uses.
  void land(std::int64_t number);

  bool idle() const { return accumulators_.empty() && fragments_.empty(); }
  /// The line of a multiply that is under way; 0 when there is none.
  Place under_way() const;
  /// The line of a multiply that forbids this access; 0 when there is none.
  Place user(const void* address, std::size_t bytes, bool write) const;

 private:
  struct Fence {
    const std::byte* at;
    std::vector<std::byte> bytes;
  };
  struct Fragment {
    const std::uint32_t* at;
    std::int64_t last;
    Place place;
  };

  std::vector<Fence> fences_;
  std::vector<std::unique_ptr<Accumulators>> accumulators_;
  std::vector<Fragment> fragments_;
};

}  // namespace mettle::emulation
