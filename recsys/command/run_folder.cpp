// Asks the file system, and changes nothing but what make_folder() makes.
#include "recsys/command/run_folder.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "recsys/command/command.h"

namespace mettle::command {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kCheckpointEnding = ".checkpoint.safetensors";

// The folder itself, or the one that it would be made in.
fs::path nearest_existing(const fs::path& folder) {
  std::error_code error;
  fs::path path = fs::absolute(folder);
  while (!fs::exists(path, error) && path.has_relative_path()) path = path.parent_path();
  return path;
}

}  // namespace

std::vector<std::string> begun_stages(const fs::path& folder) {
  std::vector<std::string> out;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(kCheckpointEnding))
      out.push_back(name.substr(0, name.size() - kCheckpointEnding.size()));
  }
  return out;
}

void check_writable(const fs::path& folder) {
  const fs::path there = nearest_existing(folder);
  METTLE_CHECK(InputError, fs::is_directory(there),
               "--out {}: {} is a file, not a folder; give another name", folder.string(),
               there.string());
  METTLE_CHECK(InputError, access(there.c_str(), W_OK | X_OK) == 0,
               "--out {}: nothing can be written in {}: {}; give a folder of your own",
               folder.string(), there.string(), std::strerror(errno));
}

void make_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  METTLE_CHECK(Error, !error, "--out {}: cannot make this folder: {}", folder.string(),
               error.message());
}

void check_model_file(const fs::path& path) {
  std::error_code error;
  METTLE_CHECK(InputError, fs::exists(path, error),
               "--model {}: no such file; `mettle train` leaves {} in its --out", path.string(),
               kModelFile);
  METTLE_CHECK(InputError, !fs::is_directory(path, error),
               "--model {}: is a folder; give the file, as in {}", path.string(),
               (path / kModelFile).string());
}

}  // namespace mettle::command
