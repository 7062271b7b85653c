// Asks the file system, and leaves nothing behind but what make_folder() makes.
#include "recsys/command/run_folder.h"

#include <system_error>

#include "engine/file.h"
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

// The folders that are missing on the way to one, made, and removed at the end of the scope.
class TrialFolder {
 public:
  TrialFolder(const fs::path& folder, const fs::path& there) {
    std::vector<fs::path> missing;
    for (fs::path path = fs::absolute(folder); path != there; path = path.parent_path())
      missing.push_back(path);
    for (auto path = missing.rbegin(); path != missing.rend() && !error_; ++path)
      if (fs::create_directory(*path, error_)) made_.push_back(*path);
  }
  TrialFolder(const TrialFolder&) = delete;
  TrialFolder& operator=(const TrialFolder&) = delete;
  ~TrialFolder() {
    std::error_code ignored;
    for (auto path = made_.rbegin(); path != made_.rend(); ++path) fs::remove(*path, ignored);
  }

  const std::error_code& error() const { return error_; }

 private:
  std::vector<fs::path> made_;
  std::error_code error_;
};

// What is not committed is removed.
void begin_file(const fs::path& path) {
  constexpr std::size_t kTrialBytes = 1 << 16;
  AtomicFile(path).write(std::string(kTrialBytes, '\0'));
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

void check_writable(const fs::path& folder, std::span<const char* const> names) {
  METTLE_CHECK(InputError, !folder.empty(), "--out: give the name of a folder");
  const fs::path there = nearest_existing(folder);
  METTLE_CHECK(InputError, fs::is_directory(there),
               "--out {}: {} is a file, not a folder; give another name", folder.string(),
               there.string());
  const TrialFolder trial(folder, there);
  METTLE_CHECK(InputError, !trial.error(),
               "--out {}: no folder can be made in {}: {}; give one in a folder of your own",
               folder.string(), there.string(), trial.error().message());
  try {
    for (const char* name : names) begin_file(folder / name);
  } catch (const FileError& error) {
    fail<InputError>(
        "--out {}: nothing can be written there: {}; give a folder of your own, on a "
        "disk with room",
        folder.string(), error.message());
  }
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
