// Every kernel slot that a header declares is filled for the CPU. The program links libmettle with
// plain flags and mentions no kernel, as an embedder's does: static initializers would be dropped.
#include <gtest/gtest.h>
#include <mettle/kernels/builtin.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <string>

namespace mettle {
namespace {

std::set<std::string> declared_slots() {
  const std::regex declaration(R"re(inline Slot<\w+>\s+\w+\{\s*"(\w+)"\})re");
  std::set<std::string> names;
  for (const auto& file : std::filesystem::directory_iterator(METTLE_SOURCE_DIR "/kernels")) {
    if (file.path().extension() != ".h") continue;
    std::ifstream in(file.path());
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    for (std::sregex_iterator at(text.begin(), text.end(), declaration), end; at != end; ++at)
      names.insert((*at)[1]);
  }
  return names;
}

TEST(Slots, EveryDeclaredSlotHasACpuKernelInTheLibrary) {
  const std::set<std::string> declared = declared_slots();
  EXPECT_GE(declared.size(), 20u);
  std::set<std::string> filled;
  for (KernelSlotBase* slot : KernelSlotBase::all(kernels::register_builtin_kernels)) {
    EXPECT_TRUE(filled.insert(std::string(slot->name())).second) << slot->name() << " twice";
    bool has_cpu = false;
    for (const VariantInfo& v : slot->variants()) has_cpu |= v.device == DeviceType::cpu;
    EXPECT_TRUE(has_cpu) << slot->name();
  }
  EXPECT_EQ(filled, declared);
}

}  // namespace
}  // namespace mettle
