// A strided view of typed elements in a Storage. A Tensor is a value: copying it copies the view,
// not the elements, and every view of one storage sees the same bytes. It knows nothing of
// gradients.
#pragma once

#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "engine/check.h"
#include "engine/dtype.h"
#include "engine/shape.h"
#include "engine/storage.h"

namespace mettle {

class Tensor {
 public:
  /// An undefined tensor: no storage, no shape. defined() is false.
  Tensor() = default;

  /// Uninitialised, row-major.
  static Tensor empty(const Shape& shape, DType dtype = DType::f32, Device device = Device::cpu());
  /// All bits zero, row-major.
  static Tensor zeros(const Shape& shape, DType dtype = DType::f32, Device device = Device::cpu());
  /// A copy of `values` on the CPU. Throws ShapeError when their number differs from the shape's.
  template <class T> static Tensor from(std::span<const T> values, const Shape& shape) {
    Tensor t = empty(shape, dtype_of<T>);
    METTLE_CHECK(ShapeError, t.numel() == static_cast<std::int64_t>(values.size()),
                 "Tensor::from: {} values do not fill shape {}", values.size(), to_string(shape));
    if (!values.empty()) std::memcpy(t.data(), values.data(), values.size_bytes());
    return t;
  }
  template <class T> static Tensor from(const std::vector<T>& values, const Shape& shape) {
    return from(std::span<const T>(values), shape);
  }

  bool defined() const { return static_cast<bool>(storage_); }
  const Shape& shape() const { return shape_; }
  const Strides& strides() const { return strides_; }
  DType dtype() const { return dtype_; }
  Device device() const { return storage_->device(); }
  int rank() const { return shape_.rank(); }
  std::int64_t size(int axis) const { return shape_.at(axis); }
  std::int64_t numel() const { return numel_; }
  std::size_t bytes() const { return static_cast<std::size_t>(numel_) * size_of(dtype_); }
  /// Position of the first element in the storage, in elements.
  std::int64_t offset() const { return offset_; }
  const Ref<Storage>& storage() const { return storage_; }
  /// Elements lie row-major without gaps.
  bool is_contiguous() const;

  /// Address of the first element.
  void* data() const {
    return static_cast<std::byte*>(storage_->data()) +
           static_cast<std::size_t>(offset_) * size_of(dtype_);
  }
  /// The same, typed. Throws DTypeError when T is not the element type.
  template <class T> T* data() const {
    METTLE_CHECK(DTypeError, dtype_of<T> == dtype_, "tensor of dtype {} read as {}",
                 to_string(dtype_), to_string(dtype_of<T>));
    return static_cast<T*>(data());
  }
  /// The only element of a one-element tensor, converted. Throws ShapeError otherwise. Waits for a
  /// device.
  double item() const;
  /// All elements in row-major order, converted to T. Waits for a device.
  template <class T> std::vector<T> to_vector() const {
    if (device() != Device::cpu()) return to(Device::cpu()).to_vector<T>();
    std::vector<T> out;
    out.reserve(static_cast<std::size_t>(numel_));
    dispatch_any(dtype_, [&]<class E>() {
      for_each_offset([&](std::int64_t at) {
        out.push_back(static_cast<T>(static_cast<const E*>(data())[at]));
      });
    });
    return out;
  }

  /// The same view of a copy on another device; this tensor itself when it is there already. Copies
  /// to the host wait for the device's work, copies to a device are queued.
  Tensor to(Device device) const;
  /// Overwrites the elements with those of `from`, of the same shape and dtype on any device; both
  /// contiguous. Throws ShapeError, DTypeError.
  void copy_from(const Tensor& from) const;

  // Views: no copy, the same storage. Each throws ShapeError naming what does not fit.
  Tensor permute(std::span<const int> order) const;
  Tensor transpose(int axis_a, int axis_b) const;
  /// Elements start, start+step, ... below stop along one axis; 0 <= start <= stop <= size, step
  /// >= 1.
  Tensor slice(int axis, std::int64_t start, std::int64_t stop, std::int64_t step = 1) const;
  /// Repeats extents of 1 (and new leading axes) by stride 0.
  Tensor expand(const Shape& shape) const;
  Tensor unsqueeze(int axis) const;
  /// Whether `shape` can be had as a view; `can_view` is true for every contiguous tensor of equal
  /// size.
  bool can_view(const Shape& shape) const;
  Tensor view(const Shape& shape) const;

  std::uint32_t version() const { return storage_->version(); }
  /// To be called by whatever writes into an existing tensor, so that saved values are known to be
  /// stale.
  void note_write(const char* operation) const { storage_->note_write(operation); }

 private:
  template <class F> void for_each_offset(F&& f) const {
    if (numel_ == 0) return;
    Dims index = Dims::filled(rank(), 0);
    std::int64_t at = 0;
    for (std::int64_t n = 0; n < numel_; ++n) {
      f(at);
      for (int axis = rank() - 1; axis >= 0; --axis) {
        at += strides_[axis];
        if (++index[axis] < shape_[axis]) break;
        at -= strides_[axis] * shape_[axis];
        index[axis] = 0;
      }
    }
  }
  bool view_strides(const Shape& shape, Strides& strides) const;

  Ref<Storage> storage_;
  Shape shape_;
  Strides strides_;
  std::int64_t offset_ = 0;
  std::int64_t numel_ = 0;
  DType dtype_ = DType::f32;
};

/// "f32 (2, 3) cpu".
std::string describe(const Tensor& tensor);

}  // namespace mettle
