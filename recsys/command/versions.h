// Versions of what the program was built with and runs on.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace mettle::command {

/// "mettle 0.1.0, commit 21bc704abcde".
std::string program_version();
/// "g++ 12.2.0" or "clang 19.1.7".
std::string compiler_version();
/// {"oneDNN": "2.6.3", ...}; of shared libraries the version that is loaded.
nlohmann::ordered_json library_versions();

}  // namespace mettle::command
