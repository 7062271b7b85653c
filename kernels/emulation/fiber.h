// Fibers: functions with a stack of their own that run until they suspend themselves. Each CUDA
// thread of an emulated block is one. A fiber stays on the operating system's thread that resumes
// it.
#pragma once

#include <cstddef>
#include <memory>

namespace mettle::emulation {

/// Equal stacks in one mapping, each with a page below it that faults when it overflows.
class FiberStacks {
 public:
  /// Throws MemoryError when the system gives no memory.
  explicit FiberStacks(int count);
  FiberStacks(const FiberStacks&) = delete;
  FiberStacks& operator=(const FiberStacks&) = delete;
  ~FiberStacks();

  int count() const { return count_; }
  /// The lowest byte of stack i.
  std::byte* stack(int i) const;
  static std::size_t stack_bytes();
  /// Whether the address lies in one of the stacks.
  bool contains(const void* address) const {
    const auto* p = static_cast<const std::byte*>(address);
    return p >= base_ && p < base_ + bytes_;
  }

 private:
  int count_;
  std::size_t bytes_;
  std::byte* base_;
};

/// One fiber. resume() and suspend() hand the processor over and back.
class Fiber {
 public:
  using Entry = void (*)(void* argument);

  Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;
  Fiber(Fiber&&) noexcept;
  Fiber& operator=(Fiber&&) noexcept;
  ~Fiber();

  /// Makes the next resume() call entry(argument) on this stack. A fiber that was suspended before
  /// is abandoned: the objects on its stack are not destroyed.
  void start(std::byte* stack, Entry entry, void* argument);
  /// Runs the fiber until it suspends. Called outside of it.
  void resume();
  /// Goes back to the caller of resume(). Called inside; `finished`: it will not be resumed.
  void suspend(bool finished = false);

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

}  // namespace mettle::emulation
