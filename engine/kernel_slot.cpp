// The list of all slots, METTLE_KERNEL, and the registration of the built-in kernels on first use.
#include "engine/kernel_slot.h"

#include <cstdlib>
#include <mutex>

#include "engine/check.h"
#include "engine/cuda_device.h"
#include "engine/kernel_choice.h"

namespace mettle {
namespace {

struct Registry {
  std::recursive_mutex
      mutex;  // registration of the built-in kernels adds slots while it holds the lock
  std::vector<KernelSlotBase*> slots;
  std::vector<KernelSlotBase::RegisterBuiltin> done;
};

Registry& registry() {
  static Registry r;
  return r;
}

void run_once(KernelSlotBase::RegisterBuiltin builtin) {
  Registry& r = registry();
  const std::lock_guard lock(r.mutex);
  if (!builtin || std::find(r.done.begin(), r.done.end(), builtin) != r.done.end()) return;
  r.done.push_back(builtin);
  try {
    builtin();
  } catch (...) {  // a refused setting: the next use refuses it again
    std::erase(r.done, builtin);
    throw;
  }
}

std::string_view environment_choice(std::string_view slot) {
  const char* text = std::getenv("METTLE_KERNEL");
  return chosen_variant(text ? text : "", slot);
}

}  // namespace

void KernelSlotBase::register_once() {
  Trace::start_from_environment();
  run_once(builtin_);
  if (!selected_.empty()) require_known(selected_);  // METTLE_KERNEL may have named nonsense
  ready_.store(true, std::memory_order_release);
}

void KernelSlotBase::require_known(std::string_view variant) const {
  std::string names;
  for (const VariantInfo& v : listed_variants()) {
    if (v.name == variant) return;
    names += (names.empty() ? "" : ", ") + v.name;
  }
  fail<ValueError>("{}: no variant '{}'; there are: {}", name_, variant, names);
}

void KernelSlotBase::throw_no_variant(DeviceType device) const {
  std::string tried;
  for (const VariantInfo& v : listed_variants())
    if (v.device == device)
      tried += fmt::format("{}{}{}", tried.empty() ? "" : "; ", v.name,
                           v.takes.empty() ? "" : " takes " + v.takes);
  fail<DeviceError>("{}: no {} kernel in this build takes these arguments{}", name_,
                    device == DeviceType::cpu ? "cpu" : "cuda",
                    tried.empty() ? "" : " (" + tried + ")");
}

void KernelSlotBase::launched(const Stream& stream) const {
  static const bool wait = [] {
    const char* text = std::getenv("METTLE_SYNC");
    return text && std::string_view(text) == "1";
  }();
  CudaDevice& device = cuda_device(stream.device);
  device.note_operation(name_);
  if (wait && !device.driver().is_capturing(stream)) device.synchronize(stream);
}

void KernelSlotBase::list() {
  const std::lock_guard lock(registry().mutex);
  if (listed_) return;
  listed_ = true;
  registry().slots.push_back(this);
  selected_ = environment_choice(name_);
}

void KernelSlotBase::select(std::string_view variant) {
  ensure_builtin();
  if (!variant.empty()) require_known(variant);
  selected_ = variant;
  sort();
}

std::vector<KernelSlotBase*> KernelSlotBase::all(RegisterBuiltin builtin) {
  run_once(builtin);
  const std::lock_guard lock(registry().mutex);
  return registry().slots;
}

KernelSlotBase* KernelSlotBase::find(std::string_view name, RegisterBuiltin builtin) {
  for (KernelSlotBase* slot : all(builtin))
    if (slot->name() == name) return slot;
  return nullptr;
}

}  // namespace mettle
