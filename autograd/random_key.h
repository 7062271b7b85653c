// What random operations draw from: a key that the host knows, or one that stands in a device's
// memory, so that a captured graph (engine/cuda_graph.h) draws other numbers at every launch:
//
//   const Tensor key = to_tensor(random.next_key()).to(device);
//   CudaGraph graph = CudaGraph::capture(device, [&] { loss = step(RandomKey(key)); });
//   for (...) { key.copy_from(to_tensor(random.next_key())); graph.launch(); }
//
// Each launch has the bits of step(random.next_key()).
#pragma once

#include "engine/random.h"
#include "engine/tensor.h"

namespace mettle {

/// A value: nothing changes it once it is made. The seed and offset decide what is drawn, not where
/// they stand.
class RandomKey {
 public:
  RandomKey(const PhiloxKey& key = {}) : key_(key) {}  // NOLINT(google-explicit-constructor)
  RandomKey(std::uint64_t seed, std::uint64_t offset) : key_{seed, offset, nullptr} {}
  /// Of what `key` holds, i64 (2) as made by to_tensor(), when the device comes to this: in a graph
  /// that made it while it was captured, at every launch. For operations on the tensor's device.
  /// ShapeError, DTypeError.
  explicit RandomKey(const Tensor& key);

  /// See PhiloxKey::fork().
  RandomKey fork(std::uint64_t i) const;
  /// For a kernel on `device`, to be called while this key lives. DeviceError, naming `operation`,
  /// for a key that stands in the memory of another.
  PhiloxKey on(Device device, const char* operation) const;

 private:
  PhiloxKey key_;
  Tensor stored_;  // i64 (2), nobody else's; undefined: the host knows the key
};

/// i64 (2) on the cpu: the bits of seed and offset.
Tensor to_tensor(const PhiloxKey& key);

}  // namespace mettle
