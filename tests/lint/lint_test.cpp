// The tree keeps the rules of the house, and each rule is shown to bite: a planted violation must
// be diagnosed at its line, and its harmless twin must not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/lint/lint.h"

namespace mettle::lint {
namespace {

struct Planted {
  const char* path;
  std::string text;
  int line;
  const char* what;  // a part of the diagnosis
};

std::string repeated(const std::string& text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}

std::vector<Planted> violations() {
  const std::string cpp = "// A file.\n", header = "// A file.\n#pragma once\n";
  return {
      {"engine/a.cpp", cpp + "#include \"kernels/builtin.h\"\n", 2, "engine/ must not include"},
      {"kernels/a.h", header + "#include \"autograd/grad.h\"\n", 3, "kernels/ must not include"},
      {"autograd/ops/a.cpp", cpp + "#include \"models/params.h\"\n", 2, "autograd/ must not"},
      {"models/a.cpp", cpp + "#include \"recsys/tasks.h\"\n", 2, "models/ must not include"},
      {"engine/a.cpp", cpp + "#include \"tests/lint/lint.h\"\n", 2, "only from the layers"},
      {"engine/a.cpp", cpp + "#include \"shape.h\"\n", 2, "path from the root"},
      {"kernels/cuda/a.cu", cpp + "#include \"engine/tensor.h\"\n", 2, "device code must not"},
      {"kernels/cuda/a.cuh", header + "#include \"engine/storage.h\"\n", 3, "device code must not"},
      {"autograd/a.h", header + "#include \"kernels/cpu/gemm.h\"\n", 3, "a public header must not"},
      {"engine/a.cpp", "#include <vector>\n", 1, "no opening comment"},
      {"engine/a.h", cpp + "int f();\n", 1, "needs #pragma once"},
      {"engine/a.cpp", header, 1, "#pragma once outside"},
      {"engine/a.cpp", cpp + repeated("int f();\n", 600), 601, "601 lines, at most 600"},
      {"engine/a.cpp", cpp + "int x; \n", 2, "blanks at the end"},
      {"docs/a.md", "A line \n", 1, "blanks at the end"},
      {"engine/a.cpp", cpp + "\tint x;\n", 2, "a tab"},
      {"engine/a.cpp", cpp + "int x;", 2, "no newline"},
      {"engine/a.cpp", cpp + "void f() { std::abort(); }\n", 2, "abort: the library never ends"},
      {"kernels/cpu/a.cpp", cpp + "void f() { exit(1); }\n", 2, "exit: the library never ends"},
      {"models/a.cpp", cpp + "void f() { assert(x); }\n", 2, "assert: the library never ends"},
      {"recsys/a.cpp", cpp + "void f() { std::printf(\"x\"); }\n", 2, "printf: the library never"},
      {"autograd/a.cpp", cpp + "auto& o = std::cout;\n", 2, "cout: the library never prints"},
      {"autograd/a.cpp", cpp + "void f() { fmt::print(\"x\"); }\n", 2, "print: the library never"},
      {"kernels/cpu/a.cpp", cpp + "#pragma omp parallel for\n", 2, "use parallel_for"},
      {"engine/a.cpp",
       cpp + "int x;  // TO"
             "DO: more\n",
       2, "finish it"},
      {"kernels/cuda/a.cuh", header + "asm volatile(\"bar.sync 0;\");\n", 3, "asm in a kernel"},
      {"kernels/cuda/a.cu", cpp + "void f() { k<<<1, 2>>>(); }\n", 2, "<<< in a kernel"},
      {"kernels/cuda/a.cuh", header + "__shared__ float x[3];\n", 3, "__shared__ in a kernel"},
      {"kernels/cuda/a.cuh", header + "#if defined(__CUDACC__)\n#endif\n", 3, "__CUDACC__ in a"},
      {"kernels/cuda/a.cuh", header + "#if __CUDA_ARCH__ >= 900\n#endif\n", 3, "__CUDA_ARCH__ in"},
      {"kernels/cuda/a.cu", cpp + "#include <cooperative_groups.h>\n", 2, "cooperative_groups in"},
      {"kernels/cuda/a.cu", cpp + "#include <cuda/barrier>\n", 2, "<cuda/ in a kernel"},
      {"kernels/cuda/a.cu", cpp + "#include <cub/cub.cuh>\n", 2, "cub in a kernel"},
      {"kernels/cuda/a.cuh", header + "#include <mma.h>\n", 3, "<mma.h> in a kernel"},
      {"kernels/cuda/a.cuh", header + "using namespace nvcuda;\n", 3, "nvcuda in a kernel"},
      {"engine/a.cpp", cpp + "char c = '\"'; int big = 1'000; void f() { abort(); }\n", 2, "abort"},
      {"engine/a.cpp", cpp + "auto s = R\"x(a\"b)x\"; void f() { abort(); }\n", 2, "abort"},
  };
}

TEST(Lint, DiagnosesEveryPlantedViolation) {
  for (const Planted& planted : violations()) {
    const auto found = check_file(planted.path, planted.text);
    ASSERT_EQ(found.size(), 1u) << planted.path << "\n" << planted.text.substr(0, 200);
    EXPECT_EQ(found[0].file, planted.path);
    EXPECT_EQ(found[0].line, planted.line) << to_string(found[0]);
    EXPECT_THAT(found[0].what, testing::HasSubstr(planted.what));
  }
}

TEST(Lint, LeavesHarmlessTwinsAlone) {
  const std::string cpp = "// A file.\n", header = "// A file.\n#pragma once\n";
  const std::pair<const char*, std::string> rows[] = {
      {"recsys/a.cpp", cpp + "#include \"engine/check.h\"\n#include \"models/params.h\"\n"},
      {"kernels/cpu/a.cpp", cpp + "#include \"hwy/highway.h\"\n#pragma omp simd\n"},
      {"kernels/cuda/a.cu", cpp + "#include \"engine/dtype.h\"\n#include \"kernels/a.h\"\n"},
      {"kernels/cuda/device_core.cuh",
       header + "__shared__ int x;\n#if defined(__CUDACC__)\n#endif\n"},
      {"kernels/cuda/a.cuh", header + "// asm, <<<\nMETTLE_SHARED(float, cubes, 3);\n"},
      {"kernels/emulation/a.cpp", cpp + "asm(\"ret\");\n"},
      {"tests/a.cu", cpp + "void f() { k<<<1, 2>>>(); }\n"},
      {"kernels/cpu/a-inl.h", cpp + "#if defined(A) == defined(HWY_TARGET_TOGGLE)\n#endif\n"},
      {"tests/a.cpp", cpp + "#include \"recsys/tasks.h\"\nvoid f() { std::printf(\"x\"); }\n"},
      {"recsys/command/a.cpp", cpp + "void f() { std::printf(\"x\"); }\n"},
      {"engine/a.cpp", cpp + "// never call abort() or std::cout\n"},
      {"engine/a.cpp", cpp + "const char* s = \"exit(1) \\\" // std::cout\";\n"},
      {"engine/a.cpp", cpp + "void f() { pool.exit(); on_exit(1); reprint(2); }\n"},
      {"engine/a.cpp", cpp + repeated("int f();\n", 599)},
      {"engine/a.h", header + "#include <vector>\n#include \"engine/b.h\"\n"},
  };
  for (const auto& [path, text] : rows)
    for (const Violation& v : check_file(path, text)) ADD_FAILURE() << to_string(v) << "\n" << text;
}

TEST(Lint, CodeOfAPageStandsInTheProgramOfSnippets) {
  const std::string program =
      "// A file.\nvoid f() {\n  int a;    // one\n  int b;\n\n  int c;\n}\n";
  const std::pair<std::string, int> rows[] = {
      // the page, and the line that is diagnosed or 0
      {"Text.\n\n```cpp\nint a;  // one\nint b;\n\nint c;\n```\n", 0},
      {"```cpp\nint b;\n```\n\n```\nint x;\n```\nint x;\n", 0},
      {"```cpp\nint a;  // one\nint c;\n```\n", 2},
      {"```cpp\nint b;\n\nint x;\nint y;\n```\n", 4},
      {"```cpp\nnt b;\n```\n", 2},
      {"```cpp\nint x;\n", 2},
  };
  for (const auto& [page, line] : rows) {
    const auto found = check_snippets("docs/a.md", page, program);
    EXPECT_EQ(found.size(), line > 0 ? 1U : 0U) << page;
    EXPECT_EQ(found.empty() ? 0 : found[0].line, line) << page;
  }
}

TEST(Lint, TheTreeKeepsTheRules) {
  int files = 0;
  for (const Violation& violation : check_tree(METTLE_SOURCE_DIR, &files))
    ADD_FAILURE() << to_string(violation);
  EXPECT_GT(files, 40) << "looked at too few files in " METTLE_SOURCE_DIR;
}

}  // namespace
}  // namespace mettle::lint
