// Keys in a device's memory: copied when they are made, forked by a kernel.
#include "autograd/random_key.h"

#include <bit>
#include <vector>

#include "engine/exec.h"
#include "kernels/random.h"

namespace mettle {

RandomKey::RandomKey(const Tensor& key) {
  METTLE_CHECK(DTypeError, key.dtype() == DType::i64,
               "random key: {} given; it must be i64 (2), as made by to_tensor()", describe(key));
  METTLE_CHECK(ShapeError, key.shape() == Shape{2},
               "random key: {} given; it must be i64 (2), as made by to_tensor()", describe(key));
  stored_ = Tensor::empty({2}, DType::i64, key.device());
  stored_.copy_from(key);
}

RandomKey RandomKey::fork(std::uint64_t i) const {
  if (!stored_.defined()) return key_.fork(i);
  RandomKey forked;
  forked.stored_ = Tensor::empty({2}, DType::i64, stored_.device());
  kernels::fork_key(current_stream(stored_.device()),
                    {on(stored_.device(), "fork"), i,
                     reinterpret_cast<std::uint64_t*>(forked.stored_.data<std::int64_t>())});
  return forked;
}

PhiloxKey RandomKey::on(Device device, const char* operation) const {
  if (!stored_.defined()) return key_;
  METTLE_CHECK(
      DeviceError, stored_.device() == device,
      "{}: the random key stands on {}, the operation is on {}; move the key's tensor there",
      operation, to_string(stored_.device()), to_string(device));
  PhiloxKey key;
  key.stored = reinterpret_cast<const std::uint64_t*>(stored_.data<std::int64_t>());
  return key;
}

Tensor to_tensor(const PhiloxKey& key) {
  return Tensor::from(
      std::vector{std::bit_cast<std::int64_t>(key.seed), std::bit_cast<std::int64_t>(key.offset)},
      {2});
}

}  // namespace mettle
