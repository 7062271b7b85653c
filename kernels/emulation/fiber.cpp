// Switching stacks. On x86-64 by hand in a dozen instructions, because swapcontext() also saves the
// signal mask, two system calls that cost five times the rest; elsewhere by swapcontext(). The
// sanitizers are told about every switch.
#include "kernels/emulation/fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>

#include "engine/asan.h"
#include "engine/check.h"

#if !defined(__x86_64__) || defined(METTLE_FIBER_UCONTEXT)
#define METTLE_UCONTEXT 1
#include <ucontext.h>
#else
#define METTLE_UCONTEXT 0
#endif

#if METTLE_ASAN
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#define METTLE_TSAN 1
#include <sanitizer/tsan_interface.h>
#else
#define METTLE_TSAN 0
#endif

#if !METTLE_UCONTEXT
// mettle_fiber_switch(save, load): pushes what a call must preserve, leaves the stack pointer in
// *save, and returns on the stack `load`. mettle_fiber_enter is where a new fiber's first switch
// returns to: it calls r12(rbx).
extern "C" void mettle_fiber_switch(void** save, void* load);
extern "C" void mettle_fiber_enter();
asm(R"(
.text
.globl mettle_fiber_switch
.type mettle_fiber_switch,@function
mettle_fiber_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size mettle_fiber_switch, .-mettle_fiber_switch
.globl mettle_fiber_enter
.type mettle_fiber_enter,@function
mettle_fiber_enter:
  movq %rbx, %rdi
  call *%r12
  ud2
.size mettle_fiber_enter, .-mettle_fiber_enter
)");
#endif

namespace mettle::emulation {
namespace {

std::size_t page_bytes() {
  static const auto bytes = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  return bytes;
}

}  // namespace

// Sanitizers spread the variables of a frame.
std::size_t FiberStacks::stack_bytes() {
  return (METTLE_ASAN || METTLE_TSAN ? std::size_t{256} : std::size_t{64}) << 10;
}

FiberStacks::FiberStacks(int count)
    : count_(count),
      bytes_(static_cast<std::size_t>(count) * (stack_bytes() + page_bytes())),
      base_(nullptr) {
  void* mapped = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  METTLE_CHECK(MemoryError, mapped != MAP_FAILED,
               "emulation: no {} bytes for the stacks of {} threads", bytes_, count);
  base_ = static_cast<std::byte*>(mapped);
  for (int i = 0; i < count; ++i) mprotect(stack(i) - page_bytes(), page_bytes(), PROT_NONE);
}

FiberStacks::~FiberStacks() {
  for (int i = 0; i < count_; ++i) allow(stack(i), stack_bytes());
  munmap(base_, bytes_);
}

std::byte* FiberStacks::stack(int i) const {
  return base_ + static_cast<std::size_t>(i) * (stack_bytes() + page_bytes()) + page_bytes();
}

struct Fiber::Context {
  std::byte* stack = nullptr;
  Entry entry = nullptr;
  void* argument = nullptr;
#if METTLE_UCONTEXT
  ucontext_t inside{};
  ucontext_t outside{};
#else
  void* inside = nullptr;
  void* outside = nullptr;
#endif
  // The sanitizers' own handles of both sides.
  void* fake_inside = nullptr;
  void* fake_outside = nullptr;
  const void* outside_stack = nullptr;
  std::size_t outside_bytes = 0;
  void* tsan_inside = nullptr;
  void* tsan_outside = nullptr;

  ~Context() { forget_tsan(); }

  void forget_tsan() {
#if METTLE_TSAN
    if (tsan_inside) __tsan_destroy_fiber(tsan_inside);
#endif
    tsan_inside = nullptr;
  }

  // The first frame of a fiber.
  void run() {
#if METTLE_ASAN
    __sanitizer_finish_switch_fiber(nullptr, &outside_stack, &outside_bytes);
#endif
    entry(argument);
  }

  void before_resume() {
#if METTLE_ASAN
    __sanitizer_start_switch_fiber(&fake_outside, stack, FiberStacks::stack_bytes());
#endif
#if METTLE_TSAN
    tsan_outside = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(tsan_inside, 0);
#endif
  }
  void after_resume() {
#if METTLE_ASAN
    __sanitizer_finish_switch_fiber(fake_outside, nullptr, nullptr);
#endif
  }
  void before_suspend([[maybe_unused]] bool finished) {
#if METTLE_ASAN
    __sanitizer_start_switch_fiber(finished ? nullptr : &fake_inside, outside_stack, outside_bytes);
#endif
#if METTLE_TSAN
    __tsan_switch_to_fiber(tsan_outside, 0);
#endif
  }
  void after_suspend() {
#if METTLE_ASAN
    __sanitizer_finish_switch_fiber(fake_inside, &outside_stack, &outside_bytes);
#endif
  }
};

Fiber::Fiber() : context_(std::make_unique<Context>()) {}
Fiber::Fiber(Fiber&&) noexcept = default;
Fiber& Fiber::operator=(Fiber&&) noexcept = default;
Fiber::~Fiber() = default;

void Fiber::start(std::byte* stack, Entry entry, void* argument) {
  Context& c = *context_;
  c.stack = stack;
  c.entry = entry;
  c.argument = argument;
  c.fake_inside = nullptr;
  allow(stack, FiberStacks::stack_bytes());
  c.forget_tsan();
#if METTLE_TSAN
  c.tsan_inside = __tsan_create_fiber(0);
#endif
#if METTLE_UCONTEXT
  getcontext(&c.inside);
  c.inside.uc_stack.ss_sp = stack;
  c.inside.uc_stack.ss_size = FiberStacks::stack_bytes();
  c.inside.uc_link = nullptr;
  // makecontext() passes ints: the pointer goes in two halves.
  const auto pointer = reinterpret_cast<std::uint64_t>(&c);
  void (*trampoline)(unsigned, unsigned) = [](unsigned low, unsigned high) {
    // NOLINTNEXTLINE(performance-no-int-to-ptr)
    reinterpret_cast<Context*>((static_cast<std::uint64_t>(high) << 32) | low)->run();
  };
  makecontext(&c.inside, reinterpret_cast<void (*)()>(trampoline), 2,
              static_cast<unsigned>(pointer), static_cast<unsigned>(pointer >> 32));
#else
  // What the first switch pops: r15, r14, r13, r12 = the function, rbx = its argument, rbp, and the
  // return address; the zero above ends every backtrace. Keeps the stack pointer aligned to 16.
  void (*run)(Context*) = [](Context* context) { context->run(); };
  auto** top = reinterpret_cast<void**>(stack + FiberStacks::stack_bytes());
  *--top = nullptr;
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(mettle_fiber_enter);
  *--top = nullptr;
  *--top = &c;
  *--top = reinterpret_cast<void*>(run);
  for (int i = 0; i < 3; ++i) *--top = nullptr;
  c.inside = static_cast<void*>(top);
#endif
}

void Fiber::resume() {
  Context& c = *context_;
  c.before_resume();
#if METTLE_UCONTEXT
  swapcontext(&c.outside, &c.inside);
#else
  mettle_fiber_switch(&c.outside, c.inside);
#endif
  c.after_resume();
}

void Fiber::suspend(bool finished) {
  Context& c = *context_;
  c.before_suspend(finished);
#if METTLE_UCONTEXT
  swapcontext(&c.inside, &c.outside);
#else
  mettle_fiber_switch(&c.inside, c.outside);
#endif
  c.after_suspend();
}

}  // namespace mettle::emulation
