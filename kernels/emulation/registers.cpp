// Keeping the accumulators and fragments of a thread.
#include "kernels/emulation/registers.h"

#include <algorithm>
#include <cstring>
#include <limits>

namespace mettle::emulation {
namespace {

constexpr std::size_t fragment_bytes = 4 * sizeof(std::uint32_t);

bool overlap(const void* a, std::size_t a_bytes, const void* b, std::size_t b_bytes) {
  const auto first = reinterpret_cast<std::uintptr_t>(a),
             second = reinterpret_cast<std::uintptr_t>(b);
  return first < second + b_bytes && second < first + a_bytes;
}

}  // namespace

void RegisterFile::clear() {
  fences_.clear();
  accumulators_.clear();
  fragments_.clear();
}

void RegisterFile::fence(const Registers& registers) {
  std::erase_if(fences_, [&](const Fence& fence) {
    return overlap(fence.at, fence.bytes.size(), registers.at, registers.bytes);
  });
  const auto* at = static_cast<const std::byte*>(registers.at);
  fences_.push_back({at, {at, at + registers.bytes}});
}

bool RegisterFile::fenced(const Registers& registers) const {
  const auto* at = static_cast<const std::byte*>(registers.at);
  return std::ranges::any_of(fences_, [&](const Fence& fence) {
    const std::ptrdiff_t offset = at - fence.at;
    return offset >= 0 &&
           static_cast<std::size_t>(offset) + registers.bytes <= fence.bytes.size() &&
           std::memcmp(fence.bytes.data() + offset, at, registers.bytes) == 0;
  });
}

Accumulators* RegisterFile::under_way(const float* d) const {
  const auto found = std::ranges::find_if(accumulators_, [&](const auto& a) { return a->at == d; });
  return found == accumulators_.end() ? nullptr : found->get();
}

bool RegisterFile::entangled(const float* d, int count) const {
  const auto size = static_cast<std::size_t>(count);
  return std::ranges::any_of(accumulators_, [&](const auto& a) {
    return overlap(a->at, a->value.size() * sizeof(float), d, size * sizeof(float)) &&
           !(a->at == d && a->value.size() == size);
  });
}

Accumulators* RegisterFile::start(float* d, int count, std::int64_t number, Place place) {
  Accumulators* known = under_way(d);
  if (!known) {
    accumulators_.push_back(
        std::make_unique<Accumulators>(Accumulators{d, {d, d + count}, number, place}));
    known = accumulators_.back().get();
    std::fill_n(d, count, std::numeric_limits<float>::quiet_NaN());
    // What comes back is no longer what the fence saw.
    const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(float);
    std::erase_if(fences_, [&](const Fence& fence) {
      return overlap(fence.at, fence.bytes.size(), d, bytes) && fence.bytes.size() == bytes;
    });
  }
  known->last = number;
  return known;
}

void RegisterFile::start_fragment(const std::uint32_t* a, std::int64_t number, Place place) {
  const auto known = std::ranges::find(fragments_, a, &Fragment::at);
  if (known == fragments_.end())
    fragments_.push_back({a, number, place});
  else
    known->last = number;
}

void RegisterFile::land(std::int64_t number) {
  for (const auto& a : accumulators_)
    if (a->last <= number) std::ranges::copy(a->value, a->at);
  std::erase_if(accumulators_, [&](const auto& a) { return a->last <= number; });
  std::erase_if(fragments_, [&](const Fragment& fragment) { return fragment.last <= number; });
}

Place RegisterFile::under_way() const {
  return accumulators_.empty() ? 0 : accumulators_.front()->place;
}

Place RegisterFile::user(const void* address, std::size_t bytes, bool write) const {
  for (const auto& a : accumulators_)
    if (overlap(address, bytes, a->at, a->value.size() * sizeof(float))) return a->place;
  if (write)
    for (const Fragment& fragment : fragments_)
      if (overlap(address, bytes, fragment.at, fragment_bytes)) return fragment.place;
  return 0;
}

}  // namespace mettle::emulation
