// What the CUDA compiler made of the kernels: no kernel may spill registers to memory, but for
// those named here with the reason, and wgmma is not made to wait. With METTLE_RESOURCES=FILE the
// registers, shared memory and spills of every kernel are written there as a Markdown table.
#include <cxxabi.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

namespace mettle::test {
namespace {

struct Kernel {
  std::string source, name, target;
  int registers = 0, spill_stores = 0, spill_loads = 0, stack = 0, shared = 0;
};

std::string demangled(const std::string& symbol) {
  int status = 0;
  char* text = abi::__cxa_demangle(symbol.c_str(), nullptr, nullptr, &status);
  std::string name = status == 0 ? text : symbol;
  std::free(text);
  for (const char* noise :
       {"mettle::kernels::cuda::", "mettle::", "(anonymous namespace)::", "void "})
    for (std::size_t at; (at = name.find(noise)) != std::string::npos;)
      name.erase(at, std::string(noise).size());
  // Without the parameters: from the parenthesis that follows the template arguments.
  int depth = 0;
  for (std::size_t i = 0; i < name.size(); ++i) {
    depth += name[i] == '<';
    depth -= name[i] == '>';
    if (name[i] == '(' && depth == 0) return name.substr(0, i);
  }
  return name;
}

// The words of `ptxas -v`, which come once for each kernel and target.
void read_log(const std::filesystem::path& path, std::vector<Kernel>& kernels) {
  static const std::regex entry(R"(Compiling entry function '(\w+)' for '(\w+)')"),
      spills(R"((\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads)"),
      used(R"(Used (\d+) registers)"), shared(R"((\d+) bytes smem)");
  std::ifstream file(path);
  std::smatch found;
  for (std::string line; std::getline(file, line);) {
    if (std::regex_search(line, found, entry)) {
      kernels.push_back({path.stem().stem().string(), demangled(found[1]), found[2]});
    } else if (kernels.empty()) {
      continue;
    } else if (std::regex_search(line, found, spills)) {
      kernels.back().stack = std::stoi(found[1]);
      kernels.back().spill_stores = std::stoi(found[2]);
      kernels.back().spill_loads = std::stoi(found[3]);
    } else if (std::regex_search(line, found, used)) {
      kernels.back().registers = std::stoi(found[1]);
      if (std::regex_search(line, found, shared)) kernels.back().shared = std::stoi(found[1]);
    }
  }
}

std::vector<Kernel> all_kernels() {
  std::vector<Kernel> kernels;
  for (const auto& file : std::filesystem::directory_iterator(METTLE_NVCC_LOGS))
    if (file.path().extension() == ".log") read_log(file.path(), kernels);
  std::sort(kernels.begin(), kernels.end(), [](const Kernel& a, const Kernel& b) {
    return std::tie(a.source, a.name, a.target) < std::tie(b.source, b.name, b.target);
  });
  return kernels;
}

// Kernels that may spill: the beginning of the name, the targets ("" means all), and why.
struct Exception {
  std::string_view name, targets, reason;
};
constexpr Exception exceptions[] = {
    {"attention_mma_backward_keys<MmaShape<bf16, 64, 2, 4, 32>, false>", "sm_100",
     "all 255 registers are taken; addresses of rows are stored, outside of the products"},
    {"attention_mma_backward_keys<MmaShape<f16, 64, 2, 4, 32>, false>", "sm_100", "the same"},
    {"attention_mma_double_atomic<MmaShape<bf16, 32, 1, 4, 32>, true>", "sm_120",
     "a few values; with the 168 registers that it has three blocks share a multiprocessor"},
    {"attention_mma_double_atomic<MmaShape<f16, 32, 1, 4, 32>, true>", "sm_120", "the same"},
    {"attention_simt_double_rows<SimtShape<float, 64, 4>", "sm_90a",
     "all 255 registers are taken; on other targets they are enough"},
    {"matmul_mma<bf16, MmaTile<128, 128, 2, 4, 2>, false, true>", "sm_80",
     "one value; with the 128 registers that it has two blocks share a multiprocessor"},
    {"matmul_mma<bf16, MmaTile<128, 128, 2, 4, 2>, true, false>", "sm_80", "the same"},
    {"matmul_mma<f16, MmaTile<128, 128, 2, 4, 2>, false, true>", "sm_80", "the same"},
    {"matmul_mma<f16, MmaTile<128, 128, 2, 4, 2>, true, false>", "sm_80", "the same"},
    {"matmul_tiles<bf16, MatmulTile<16, 32, 32, 1, 4, 6>, true>", "sm_80 sm_90a",
     "one value; with the 80 registers that it has six blocks share a multiprocessor"},
    {"matmul_tiles<float, MatmulTile<128, 128, 8, 8, 8, 2>, true>", "sm_100 sm_120",
     "64 sums and a step's operands in the 128 registers with which two blocks share a "
     "multiprocessor"},
};

bool is_of(const Exception& e, const Kernel& kernel) {
  return kernel.name.starts_with(e.name) &&
         (e.targets.empty() || e.targets.find(kernel.target) != std::string_view::npos);
}

bool may_spill(const Kernel& kernel) {
  return std::any_of(std::begin(exceptions), std::end(exceptions),
                     [&](const Exception& e) { return is_of(e, kernel); });
}

TEST(Resources, NoKernelSpills) {
  const std::vector<Kernel> kernels = all_kernels();
  ASSERT_GT(kernels.size(), 50u) << "is this all that nvcc said?";
  for (const Kernel& k : kernels) {
    EXPECT_GT(k.registers, 0) << k.name;
    if (may_spill(k)) continue;
    EXPECT_EQ(k.spill_stores + k.spill_loads, 0)
        << k.source << ": " << k.name << " for " << k.target;
  }
}

TEST(Resources, ExceptionsAreStillNeeded) {
  const std::vector<Kernel> kernels = all_kernels();
  for (const Exception& e : exceptions)
    EXPECT_TRUE(std::any_of(
        kernels.begin(), kernels.end(),
        [&](const Kernel& k) { return is_of(e, k) && k.spill_stores + k.spill_loads > 0; }))
        << e.name << " does not spill any more: take it off the list";
}

// What ptxas says, and returns no error for, when it orders multiplies of warpgroups otherwise than
// the source does.
TEST(Resources, MultipliesOfWarpgroupsAreUnderWayAsWritten) {
  for (const auto& file : std::filesystem::directory_iterator(METTLE_NVCC_LOGS)) {
    if (file.path().extension() != ".log") continue;
    std::ifstream log(file.path());
    for (std::string line; std::getline(log, line);)
      EXPECT_TRUE(line.find("Potential Performance Loss") == std::string::npos &&
                  line.find("warpgroup.arrive is injected") == std::string::npos)
          << file.path().filename() << ": " << line;
  }
}

TEST(Resources, AreWrittenWhereAskedFor) {
  const char* path = std::getenv("METTLE_RESOURCES");
  if (!path || !*path) return;
  std::ofstream out(path);
  out << "| source | kernel | target | registers | static shared bytes | spilled bytes |\n"
         "|---|---|---|---|---|---|\n";
  for (const Kernel& k : all_kernels())
    if (k.target == "sm_90a" || k.spill_stores + k.spill_loads > 0)
      out << "| " << k.source << " | `" << k.name << "` | " << k.target << " | " << k.registers
          << " | " << k.shared << " | " << k.spill_stores + k.spill_loads << " |\n";
  EXPECT_TRUE(out.good());
}

}  // namespace
}  // namespace mettle::test
