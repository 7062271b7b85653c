// Intrusive reference counting for the three objects that are shared everywhere: storages,
// variables, nodes.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

namespace mettle {

/// Base of a reference-counted object. A derived class D may define `static void destroy(D*)` to
/// take care of its own end; otherwise it is deleted.
class RefCounted {
 public:
  RefCounted() = default;
  RefCounted(const RefCounted&) = delete;
  RefCounted& operator=(const RefCounted&) = delete;

  void retain() const noexcept { count_.fetch_add(1, std::memory_order_relaxed); }
  /// True when this was the last reference.
  bool release() const noexcept { return count_.fetch_sub(1, std::memory_order_acq_rel) == 1; }
  std::uint32_t references() const noexcept { return count_.load(std::memory_order_acquire); }

 protected:
  ~RefCounted() = default;

 private:
  mutable std::atomic<std::uint32_t> count_{0};
};

/// A counted pointer to a RefCounted.
template <class T> class Ref {
 public:
  Ref() = default;
  explicit Ref(T* object) noexcept : object_(object) {
    if (object_) object_->retain();
  }
  Ref(const Ref& other) noexcept : Ref(other.object_) {}
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Ref& operator=(Ref other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Ref() {
    if (object_ && object_->release()) end(object_);
  }

  T* get() const noexcept { return object_; }
  T* operator->() const noexcept { return object_; }
  T& operator*() const noexcept { return *object_; }
  explicit operator bool() const noexcept { return object_ != nullptr; }
  friend bool operator==(const Ref&, const Ref&) = default;

 private:
  static void end(T* object) noexcept {
    if constexpr (requires { T::destroy(object); }) {
      T::destroy(object);
    } else {
      delete object;
    }
  }

  T* object_ = nullptr;
};

}  // namespace mettle
