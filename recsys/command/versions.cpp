// Asks each library in its own way.
#include "recsys/command/versions.h"

#include <dnnl.h>
#include <fmt/core.h>
#include <hwy/highway.h>
#include <spdlog/version.h>
#include <zlib.h>
#include <CLI/Version.hpp>

#include <nlohmann/json.hpp>

#include "recsys/command/build_facts.h"
#include "recsys/command/toml.h"

namespace mettle::command {

std::string program_version() { return fmt::format("mettle {}, commit {}", kVersion, kCommit); }

std::string compiler_version() {
#ifdef __clang__
  return fmt::format("clang {}.{}.{}", __clang_major__, __clang_minor__, __clang_patchlevel__);
#else
  return fmt::format("g++ {}.{}.{}", __GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__);
#endif
}

nlohmann::ordered_json library_versions() {
  const dnnl_version_t* onednn = dnnl_version();
  const auto dotted = [](int major, int minor, int patch) {
    return fmt::format("{}.{}.{}", major, minor, patch);
  };
  return {{"oneDNN", dotted(onednn->major, onednn->minor, onednn->patch)},
          {"Highway", dotted(HWY_MAJOR, HWY_MINOR, HWY_PATCH)},
          {"fmt", dotted(FMT_VERSION / 10000, FMT_VERSION / 100 % 100, FMT_VERSION % 100)},
          {"spdlog", dotted(SPDLOG_VER_MAJOR, SPDLOG_VER_MINOR, SPDLOG_VER_PATCH)},
          {"nlohmann-json", dotted(NLOHMANN_JSON_VERSION_MAJOR, NLOHMANN_JSON_VERSION_MINOR,
                                   NLOHMANN_JSON_VERSION_PATCH)},
          {"CLI11", CLI11_VERSION},
          {"toml++", dotted(TOML_LIB_MAJOR, TOML_LIB_MINOR, TOML_LIB_PATCH)},
          {"zlib", zlibVersion()}};
}

}  // namespace mettle::command
