// A kernel slot: the named place where a kernel family's variants stand side by side, per device.
//
//   inline KernelSlot<SoftmaxArgs> softmax_forward{"softmax_forward", register_builtin_kernels};
//   softmax_forward(stream, args);      // runs the best variant that supports these arguments
//
// Variants are registered by explicit calls, never by static initializers, so that a program that
// links the static library with plain flags has them all.
// `METTLE_KERNEL=slot=variant[,slot=variant]` or select() pins one. On a CUDA device kernels are
// queued; with METTLE_SYNC=1 in the environment each is waited for, so that an error names its
// operation.
#pragma once

#include <algorithm>
#include <atomic>
#include <string>
#include <string_view>
#include <vector>

#include "engine/device.h"

namespace mettle {

/// What one variant looks like from outside: for listings, tests and `mettle info`.
struct VariantInfo {
  std::string name;
  DeviceType device;
  int priority;
  std::string takes;  // in words, for errors; "" when it takes everything
};

/// The untyped part of a slot.
class KernelSlotBase {
 public:
  using RegisterBuiltin = void (*)();

  std::string_view name() const { return name_; }
  /// Every variant of every device, in the order in which they are tried.
  std::vector<VariantInfo> variants() {
    ensure_builtin();
    return listed_variants();
  }
  /// Tries the variant called `variant` first on every device that has it; "" returns to priorities
  /// alone. Throws ValueError listing the known names when there is none. Not to be called while
  /// kernels run. A name in METTLE_KERNEL is checked in the same way at the slot's first use.
  void select(std::string_view variant);
  /// The variant that select() or METTLE_KERNEL put first; "" when none.
  const std::string& selected() const { return selected_; }

  /// Every slot that has a variant. Registers the built-in kernels first.
  static std::vector<KernelSlotBase*> all(RegisterBuiltin builtin);
  /// The slot of that name, or null.
  static KernelSlotBase* find(std::string_view name, RegisterBuiltin builtin);

  KernelSlotBase(const KernelSlotBase&) = delete;
  KernelSlotBase& operator=(const KernelSlotBase&) = delete;

 protected:
  KernelSlotBase(const char* name, RegisterBuiltin builtin) : name_(name), builtin_(builtin) {}
  virtual ~KernelSlotBase() = default;

  /// Registers the built-in kernels on the first call of the process; afterwards one atomic load.
  void ensure_builtin() {
    if (!ready_.load(std::memory_order_acquire)) [[unlikely]]
      register_once();
  }
  void list();  // enters this slot into the list of all slots and applies METTLE_KERNEL
  virtual std::vector<VariantInfo> listed_variants() const = 0;
  virtual void sort() = 0;
  /// Throws DeviceError naming the variants that did not take the arguments.
  [[noreturn]] void throw_no_variant(DeviceType device) const;
  /// After a kernel was queued: notes which, and waits for it where METTLE_SYNC=1 is set.
  void launched(const Stream& stream) const;

 private:
  void register_once();
  void require_known(std::string_view variant) const;

  const char* name_;
  RegisterBuiltin builtin_;
  std::string selected_;
  std::atomic<bool> ready_{false};
  bool listed_ = false;
};

template <class Args> class KernelSlot : public KernelSlotBase {
 public:
  struct Variant {
    const char* name;
    DeviceType device;
    int priority;                        // the highest that supports the arguments runs
    bool (*supports)(const Args& args);  // null: takes all arguments
    void (*run)(const Stream& stream, const Args& args);
    const char* takes = "";  // what supports() and runs_on() ask for, in words
    bool (*runs_on)(const Stream& stream) = nullptr;  // null: every device of its type
  };

  /// `builtin` registers the kernels of this build; it is called once, before the first use of any
  /// slot.
  KernelSlot(const char* name, RegisterBuiltin builtin) : KernelSlotBase(name, builtin) {}

  /// Adds a variant, or replaces the one of the same name and device. Not to be called while
  /// kernels run.
  void add(const Variant& variant) {
    std::erase_if(added_, [&](const Variant& v) {
      return v.device == variant.device && std::string_view(v.name) == variant.name;
    });
    added_.push_back(variant);
    list();
    sort();
  }

  /// Runs the best variant for these arguments on the stream's device. Throws DeviceError when
  /// there is none.
  void operator()(const Stream& stream, const Args& args) {
    ensure_builtin();
    for (const Variant& v : tried_[static_cast<int>(stream.device.type)])
      if ((!v.supports || v.supports(args)) && (!v.runs_on || v.runs_on(stream))) {
        v.run(stream, args);
        if (stream.device.type != DeviceType::cpu) launched(stream);
        return;
      }
    throw_no_variant(stream.device.type);
  }

 private:
  // The selected variant first, then by falling priority; equals in the order in which they came.
  bool goes_before(const Variant& a, const Variant& b) const {
    const bool first = selected() == a.name, second = selected() == b.name;
    return first != second ? first : a.priority > b.priority;
  }
  std::vector<VariantInfo> listed_variants() const override {
    std::vector<VariantInfo> out;
    for (const auto& of_device : tried_)
      for (const Variant& v : of_device) out.push_back({v.name, v.device, v.priority, v.takes});
    return out;
  }
  void sort() override {
    for (auto& of_device : tried_) of_device.clear();
    for (const Variant& v : added_) {
      auto& of_device = tried_[static_cast<int>(v.device)];
      const auto later = std::find_if(of_device.begin(), of_device.end(),
                                      [&](const Variant& other) { return goes_before(v, other); });
      of_device.insert(later, v);
    }
  }

  std::vector<Variant> added_;                     // in the order in which they came
  std::vector<Variant> tried_[device_type_count];  // in the order in which they are tried
};

}  // namespace mettle
