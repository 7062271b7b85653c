// Kernel slots: order of trial, selection, METTLE_KERNEL, replacement, empty slots, thread safety
// of the first use. Slots live as long as the process, so every test has static ones of its own.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <thread>
#include <vector>

#include "engine/check.h"
#include "engine/kernel_choice.h"
#include "engine/kernel_slot.h"
#include "tests/autograd/message_of.h"

namespace mettle {
namespace {

using test::message_of;

struct Args {
  int size = 0;
  const char** ran = nullptr;
};

void run_quick(const Stream&, const Args& args) { *args.ran = "quick"; }
void run_plain(const Stream&, const Args& args) { *args.ran = "plain"; }
void run_other(const Stream&, const Args& args) { *args.ran = "other"; }
bool is_even(const Args& args) { return args.size % 2 == 0; }

std::string ran_by(KernelSlot<Args>& slot, int size = 0) {
  const char* ran = "";
  slot(Stream{Device::cpu()}, {size, &ran});
  return ran;
}

std::vector<std::string> names_of(KernelSlotBase& slot) {
  std::vector<std::string> names;
  for (const VariantInfo& v : slot.variants()) names.push_back(v.name);
  return names;
}

TEST(KernelSlot, TheHighestPriorityThatSupportsTheArgumentsRuns) {
  static KernelSlot<Args> slot{"test_priority", nullptr};
  slot.add({"plain", DeviceType::cpu, 0, nullptr, run_plain});
  slot.add({"quick", DeviceType::cpu, 10, is_even, run_quick});
  EXPECT_EQ(ran_by(slot, 2), "quick");
  EXPECT_EQ(ran_by(slot, 3), "plain");
}

TEST(KernelSlot, EqualPrioritiesKeepTheOrderInWhichTheyCame) {
  static KernelSlot<Args> slot{"test_order", nullptr};
  for (const char* name : {"a", "b", "c"}) slot.add({name, DeviceType::cpu, 5, nullptr, run_plain});
  slot.add({"first", DeviceType::cpu, 6, nullptr, run_plain});
  slot.add({"last", DeviceType::cpu, 4, nullptr, run_plain});
  const std::vector<std::string> arrival{"first", "a", "b", "c", "last"};
  EXPECT_EQ(names_of(slot), arrival);
  slot.select("c");
  EXPECT_EQ(names_of(slot), (std::vector<std::string>{"c", "first", "a", "b", "last"}));
  slot.select("");
  EXPECT_EQ(names_of(slot), arrival);
}

TEST(KernelSlot, ASelectedVariantGoesFirstAndWhatItRefusesGoesToTheOthers) {
  static KernelSlot<Args> slot{"test_select", nullptr};
  slot.add({"plain", DeviceType::cpu, 10, nullptr, run_plain});
  slot.add({"quick", DeviceType::cpu, 0, is_even, run_quick});
  EXPECT_EQ(ran_by(slot, 2), "plain");
  slot.select("quick");
  EXPECT_EQ(ran_by(slot, 2), "quick");
  EXPECT_EQ(ran_by(slot, 3), "plain");
  EXPECT_EQ(message_of<ValueError>([] { slot.select("fast"); }),
            "test_select: no variant 'fast'; there are: quick, plain");
  EXPECT_EQ(ran_by(slot, 2), "quick");  // a refused selection changes nothing
  slot.select("");
  EXPECT_EQ(ran_by(slot, 2), "plain");
}

TEST(KernelSlot, ASecondVariantOfTheSameNameReplacesTheFirstOnItsDeviceOnly) {
  static KernelSlot<Args> slot{"test_replace", nullptr};
  slot.add({"plain", DeviceType::cpu, 0, nullptr, run_plain});
  slot.add({"plain", DeviceType::cuda, 0, nullptr, run_plain});
  slot.add({"plain", DeviceType::cpu, 3, nullptr, run_other});
  EXPECT_EQ(ran_by(slot), "other");
  const auto variants = slot.variants();
  ASSERT_EQ(variants.size(), 2u);
  EXPECT_EQ(variants[0].device, DeviceType::cpu);
  EXPECT_EQ(variants[0].priority, 3);
  EXPECT_EQ(variants[1].device, DeviceType::cuda);
}

TEST(KernelSlot, NoKernelForTheDeviceOrTheArgumentsIsAnErrorThatNamesTheSlot) {
  static KernelSlot<Args> empty{"test_empty", nullptr};
  EXPECT_EQ(message_of<DeviceError>([] { ran_by(empty); }),
            "test_empty: no cpu kernel in this build takes these arguments");
  static KernelSlot<Args> choosy{"test_choosy", nullptr};
  choosy.add({"even", DeviceType::cpu, 0, is_even, run_plain, "even sizes"});
  choosy.add({"none", DeviceType::cpu, 0, [](const Args&) { return false; }, run_plain});
  EXPECT_EQ(message_of<DeviceError>([] { ran_by(choosy, 1); }),
            "test_choosy: no cpu kernel in this build takes these arguments (even takes even "
            "sizes; none)");
  EXPECT_EQ(message_of<DeviceError>([] { choosy(Stream{Device::cuda()}, {}); }),
            "test_choosy: no cuda kernel in this build takes these arguments");
}

TEST(KernelSlot, AVariantThatDoesNotFitTheDeviceGoesToTheNext) {
  static KernelSlot<Args> slot{"test_fits", nullptr};
  slot.add({"plain", DeviceType::cpu, 0, nullptr, run_plain});
  slot.add({"quick", DeviceType::cpu, 10, is_even, run_quick, "even sizes up to 6",
            [](const Stream& stream, const Args& args) {
              return stream.device == Device::cpu() && args.size <= 6;
            }});
  EXPECT_EQ(ran_by(slot, 6), "quick");
  EXPECT_EQ(ran_by(slot, 8), "plain");
  EXPECT_EQ(ran_by(slot, 5), "plain");
}

TEST(KernelSlot, IsFoundByNameOnceItHasAVariant) {
  static KernelSlot<Args> slot{"test_find", nullptr};
  EXPECT_EQ(KernelSlotBase::find("test_find", nullptr), nullptr);
  slot.add({"plain", DeviceType::cpu, 0, nullptr, run_plain});
  slot.add({"quick", DeviceType::cpu, 0, nullptr, run_quick});
  EXPECT_EQ(KernelSlotBase::find("test_find", nullptr), &slot);
  int listed = 0;
  for (const KernelSlotBase* other : KernelSlotBase::all(nullptr)) listed += other == &slot;
  EXPECT_EQ(listed, 1);
}

struct ChoiceRow {
  const char* text;
  std::size_t entries;
  const char* variant;  // of the slot "a"
};

TEST(KernelChoice, EntriesAreSplitAtCommasAndTheLastOneOfASlotCounts) {
  const ChoiceRow rows[] = {
      {"", 0, ""},          {",,", 0, ""},     {"a=x", 1, "x"},     {"b=y,a=x", 2, "x"},
      {"a=x,a=y", 2, "y"},  {"a=x,a=", 2, ""}, {"a", 1, ""},        {"a=x,a", 2, "x"},
      {"a=x=y,", 1, "x=y"}, {"=x", 1, ""},     {" a=x,A=x", 2, ""}, {"ab=x", 1, ""},
  };
  for (const auto& [text, entries, variant] : rows) {
    EXPECT_EQ(parse_kernel_choices(text).size(), entries) << text;
    EXPECT_EQ(chosen_variant(text, "a"), variant) << text;
  }
}

TEST(KernelSlot, TheEnvironmentSelectsPerSlot) {
  ASSERT_EQ(setenv("METTLE_KERNEL", "other_slot=quick,test_environment=quick,broken,=", 1), 0);
  static KernelSlot<Args> slot{"test_environment", nullptr};
  slot.add({"plain", DeviceType::cpu, 10, nullptr, run_plain});
  slot.add({"quick", DeviceType::cpu, 0, nullptr, run_quick});
  EXPECT_EQ(ran_by(slot), "quick");
  slot.select("");
  EXPECT_EQ(ran_by(slot), "plain");
  unsetenv("METTLE_KERNEL");
}

TEST(KernelSlot, AnUnknownVariantInTheEnvironmentIsReportedAtTheFirstUse) {
  ASSERT_EQ(setenv("METTLE_KERNEL", "test_unknown=fastest", 1), 0);
  static KernelSlot<Args> slot{"test_unknown", nullptr};
  slot.add({"plain", DeviceType::cpu, 0, nullptr, run_plain});
  for (int i = 0; i < 2; ++i)
    EXPECT_EQ(message_of<ValueError>([] { ran_by(slot); }),
              "test_unknown: no variant 'fastest'; there are: plain");
  unsetenv("METTLE_KERNEL");
}

std::atomic<int> registrations{0};
KernelSlot<Args> lazy{"test_lazy", [] {
                        ++registrations;
                        lazy.add({"plain", DeviceType::cpu, 0, nullptr, run_plain});
                      }};

TEST(KernelSlot, BuiltInKernelsAreRegisteredOnceByTheFirstUseOnAnyThread) {
  std::vector<std::thread> team;
  std::atomic<int> right{0};
  for (int i = 0; i < 8; ++i) team.emplace_back([&] { right += ran_by(lazy) == "plain"; });
  for (std::thread& member : team) member.join();
  EXPECT_EQ(right, 8);
  EXPECT_EQ(registrations, 1);
}

}  // namespace
}  // namespace mettle
