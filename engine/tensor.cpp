// Views and their strides. Nothing here touches elements except item() and to_vector().
#include "engine/tensor.h"

#include "engine/transfer.h"

namespace mettle {

Tensor Tensor::empty(const Shape& shape, DType dtype, Device device) {
  Tensor t;
  t.shape_ = shape;
  t.strides_ = contiguous_strides(shape);
  t.numel_ = mettle::numel(shape);
  t.dtype_ = dtype;
  t.storage_ = Ref<Storage>(new Storage(t.bytes(), device));
  return t;
}

Tensor Tensor::zeros(const Shape& shape, DType dtype, Device device) {
  Tensor t = empty(shape, dtype, device);
  if (t.numel_ > 0) fill_bytes(t.data(), 0, t.bytes(), device);
  return t;
}

bool Tensor::is_contiguous() const {
  if (numel_ == 0) return true;
  std::int64_t expected = 1;
  for (int i = rank() - 1; i >= 0; --i) {
    if (shape_[i] == 1) continue;
    if (strides_[i] != expected) return false;
    expected *= shape_[i];
  }
  return true;
}

double Tensor::item() const {
  METTLE_CHECK(ShapeError, numel_ == 1, "item: the tensor has shape {}, not one element",
               to_string(shape_));
  if (device() != Device::cpu()) return to(Device::cpu()).item();
  return dispatch_any(
      dtype_, [&]<class E>() { return static_cast<double>(*static_cast<const E*>(data())); });
}

Tensor Tensor::to(Device device) const {
  if (device == this->device()) return *this;
  Tensor out = *this;
  out.offset_ = 0;
  std::size_t extent = 0;  // bytes from the first element to the end of the last; strides are >= 0
  if (numel_ > 0) {
    std::int64_t last = 0;
    for (int axis = 0; axis < rank(); ++axis) last += (shape_[axis] - 1) * strides_[axis];
    extent = static_cast<std::size_t>(last + 1) * size_of(dtype_);
  }
  out.storage_ = Ref<Storage>(new Storage(extent, device));
  copy_bytes(out.storage_->data(), device, data(), this->device(), extent);
  return out;
}

void Tensor::copy_from(const Tensor& from) const {
  METTLE_CHECK(ShapeError, shape_ == from.shape_ && is_contiguous() && from.is_contiguous(),
               "copy_from: {} to {}; both must be contiguous and of one shape", describe(from),
               describe(*this));
  METTLE_CHECK(DTypeError, dtype_ == from.dtype_, "copy_from: {} to {}; convert with cast()",
               describe(from), describe(*this));
  copy_bytes(data(), device(), from.data(), from.device(), bytes());
  note_write("copy_from");
}

Tensor Tensor::permute(std::span<const int> order) const {
  METTLE_CHECK(ShapeError, static_cast<int>(order.size()) == rank(),
               "permute: {} axes given for shape {}", order.size(), to_string(shape_));
  Tensor out = *this;
  unsigned seen = 0;
  for (int i = 0; i < rank(); ++i) {
    const int axis = normalize_axis(order[static_cast<std::size_t>(i)], rank(), "permute");
    METTLE_CHECK(ShapeError, !(seen & (1u << axis)), "permute: axis {} is given twice", axis);
    seen |= 1u << axis;
    out.shape_[i] = shape_[axis];
    out.strides_[i] = strides_[axis];
  }
  return out;
}

Tensor Tensor::transpose(int axis_a, int axis_b) const {
  const int a = normalize_axis(axis_a, rank(), "transpose");
  const int b = normalize_axis(axis_b, rank(), "transpose");
  Tensor out = *this;
  std::swap(out.shape_[a], out.shape_[b]);
  std::swap(out.strides_[a], out.strides_[b]);
  return out;
}

Tensor Tensor::slice(int axis, std::int64_t start, std::int64_t stop, std::int64_t step) const {
  const int a = normalize_axis(axis, rank(), "slice");
  METTLE_CHECK(ShapeError, 0 <= start && start <= stop && stop <= shape_[a] && step >= 1,
               "slice: {}:{}:{} does not fit axis {} of shape {}", start, stop, step, a,
               to_string(shape_));
  Tensor out = *this;
  out.shape_[a] = (stop - start + step - 1) / step;
  out.strides_[a] = strides_[a] * step;
  out.offset_ = offset_ + (out.shape_[a] > 0 ? start * strides_[a] : 0);
  out.numel_ = mettle::numel(out.shape_);
  return out;
}

Tensor Tensor::expand(const Shape& shape) const {
  METTLE_CHECK(ShapeError, broadcast_shapes(shape_, shape, "expand") == shape,
               "expand: {} does not broadcast to {}", to_string(shape_), to_string(shape));
  Tensor out = *this;
  out.shape_ = shape;
  out.strides_ = Strides::filled(shape.rank(), 0);
  for (int i = 1; i <= rank(); ++i) {
    const bool repeated = shape_[rank() - i] == 1 && shape[shape.rank() - i] != 1;
    out.strides_[shape.rank() - i] = repeated ? 0 : strides_[rank() - i];
  }
  out.numel_ = mettle::numel(shape);
  return out;
}

Tensor Tensor::unsqueeze(int axis) const {
  const int a = normalize_axis(axis, rank() + 1, "unsqueeze");
  Tensor out = *this;
  out.shape_.insert(a, 1);
  out.strides_.insert(a, 1);
  return out;
}

// Walks both shapes from the last axis: a group of new axes must cover a group of old axes that can
// be stepped through with one stride.
bool Tensor::view_strides(const Shape& shape, Strides& strides) const {
  strides = contiguous_strides(shape);
  if (numel_ == 0 || is_contiguous()) return true;
  int old_axis = rank() - 1;
  int new_axis = shape.rank() - 1;
  while (new_axis >= 0) {
    while (old_axis >= 0 && shape_[old_axis] == 1) --old_axis;
    std::int64_t step = old_axis >= 0 ? strides_[old_axis] : 1;
    std::int64_t covered = 1;
    std::int64_t available = 1;
    do {
      strides[new_axis] = step * covered;
      covered *= shape[new_axis];
      --new_axis;
      while (available < covered && old_axis >= 0) {
        if (shape_[old_axis] != 1) {
          if (available > 1 && strides_[old_axis] != step * available) return false;
          available *= shape_[old_axis];
        }
        --old_axis;
      }
    } while (new_axis >= 0 && covered < available);
    if (covered != available) return false;
  }
  return true;
}

bool Tensor::can_view(const Shape& shape) const {
  Strides strides;
  return mettle::numel(shape) == numel_ && view_strides(shape, strides);
}

Tensor Tensor::view(const Shape& shape) const {
  METTLE_CHECK(ShapeError, mettle::numel(shape) == numel_, "view: {} has {} elements, {} has {}",
               to_string(shape_), numel_, to_string(shape), mettle::numel(shape));
  Tensor out = *this;
  METTLE_CHECK(ShapeError, view_strides(shape, out.strides_),
               "view: shape {} with strides {} cannot be seen as {} without a copy; use reshape",
               to_string(shape_), to_string(strides_), to_string(shape));
  out.shape_ = shape;
  return out;
}

std::string describe(const Tensor& tensor) {
  if (!tensor.defined()) return "undefined";
  return fmt::format("{} {} {}", to_string(tensor.dtype()), to_string(tensor.shape()),
                     to_string(tensor.device()));
}

}  // namespace mettle
