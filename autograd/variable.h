// Variable: a Tensor together with the record of how it was computed.
//
// A Variable is a cheap shared handle and never changes its value: operations make new ones. The
// record (a Node with edges to the nodes of its inputs) exists only when some input requires a
// gradient and recording is on in this thread (see NoGrad). Thread-safe in the way of shared_ptr.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/ref.h"
#include "engine/tensor.h"

namespace mettle {

class Node;
struct Edge;

class Variable {
 public:
  /// A null Variable: stands for a gradient that is zero, or for an absent optional input.
  Variable() = default;
  /// A leaf. Gradients can be taken with respect to it when `requires_grad`; only floating dtypes
  /// may.
  explicit Variable(Tensor value, bool requires_grad = false);

  bool defined() const { return static_cast<bool>(impl_); }
  explicit operator bool() const { return defined(); }

  /// The value. Throws AutogradError for a null Variable.
  const Tensor& value() const;
  const Shape& shape() const { return value().shape(); }
  DType dtype() const { return value().dtype(); }
  Device device() const { return value().device(); }
  int rank() const { return value().rank(); }
  std::int64_t size(int axis) const { return value().size(axis); }
  std::int64_t numel() const { return value().numel(); }
  /// The only element, converted.
  double item() const { return value().item(); }

  bool requires_grad() const;
  /// Made by the user rather than by a recorded operation.
  bool is_leaf() const;
  /// The same value, cut from its history: a leaf that requires no gradient.
  Variable detach() const { return Variable(value()); }
  /// A leaf of the same value that requires a gradient.
  Variable detach_requires_grad() const { return Variable(value(), true); }

  /// Nothing else can see this value: the only handle, of a tensor that shares its memory with
  /// none.
  bool unshared() const;

  /// Where the gradient of this value arrives; null when it requires none. Makes a leaf's node on
  /// demand.
  Edge edge() const;
  /// Two handles of one variable.
  friend bool operator==(const Variable& a, const Variable& b) { return a.impl_ == b.impl_; }

  /// For the recorder: an interior variable, output `output` of `node`.
  static Variable recorded(Tensor value, Ref<Node> node, std::uint32_t output);

 private:
  struct Impl : RefCounted {
    Impl(Tensor v, bool grad);
    ~Impl();

    Tensor value;
    Ref<Node> node;  // the operation that made it; null for a leaf
    std::uint32_t output = 0;
    bool requires_grad = false;
    std::atomic<Node*> leaf{nullptr};  // owned; made when a leaf first enters a recorded operation
  };

  Ref<Impl> impl_;
};

using Variables = std::vector<Variable>;

/// Recording is on in this thread (the default).
bool grad_enabled();

/// Switches recording on or off in this thread until the end of the scope.
class GradMode {
 public:
  explicit GradMode(bool enabled);
  ~GradMode();
  GradMode(const GradMode&) = delete;
  GradMode& operator=(const GradMode&) = delete;

 private:
  bool previous_;
};

/// Operations in this scope record nothing: evaluation, optimizer updates.
class NoGrad : public GradMode {
 public:
  NoGrad() : GradMode(false) {}
};

}  // namespace mettle
