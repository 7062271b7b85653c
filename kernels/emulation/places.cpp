// Numbering places, and asking addr2line for the line of an address.
#include "kernels/emulation/places.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <link.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <string_view>

extern char** environ;  // NOLINT(readability-redundant-declaration): not in every unistd.h

namespace mettle::emulation {
namespace {

// What a program prints, empty when it cannot be run.
std::string output_of(std::vector<std::string> command) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return {};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  std::vector<char*> arguments;
  for (std::string& word : command) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_t child = 0;
  const bool started =
      posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), environ) == 0;
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  std::string text;
  if (started) {
    char buffer[4096];
    for (ssize_t n = 0; (n = read(ends[0], buffer, sizeof(buffer))) > 0;)
      text.append(buffer, static_cast<std::size_t>(n));
    waitpid(child, nullptr, 0);
  }
  close(ends[0]);
  return text;
}

// The vocabulary itself and the system's headers, whose lines say nothing to a kernel's author.
bool is_inside(std::string_view file) {
  for (const std::string_view part : {"kernels/emulation/", "kernels/cuda/device", "/usr/", "??"})
    if (file.find(part) != std::string_view::npos) return true;
  return false;
}

// addr2line prints a chain of inlined calls, innermost first, one "file:line" each: the first one
// that is the author's.
SourceLine first_own_line(std::string_view frames) {
  while (!frames.empty()) {
    std::string_view frame = frames.substr(0, frames.find('\n'));
    frames.remove_prefix(std::min(frame.size() + 1, frames.size()));
    frame = frame.substr(0, frame.find(" (discriminator"));
    const auto colon = frame.rfind(':');
    if (colon == std::string_view::npos || is_inside(frame)) continue;
    const std::string file = std::filesystem::path(frame.substr(0, colon)).lexically_normal();
    return {file, std::atoi(std::string(frame.substr(colon + 1)).c_str())};
  }
  return {};
}

SourceLine line_of(const void* return_address) {
  Dl_info info{};
  link_map* map = nullptr;
  if (dladdr1(return_address, &info, reinterpret_cast<void**>(&map), RTLD_DL_LINKMAP) == 0 || !map)
    return {};
  std::error_code ignored;
  const std::string program =
      map->l_name && *map->l_name
          ? std::string(map->l_name)
          : std::filesystem::read_symlink("/proc/self/exe", ignored).string();
  // A return address is the one after the call.
  const auto offset = reinterpret_cast<std::uintptr_t>(return_address) - map->l_addr - 1;
  const std::string address = fmt::format("{:#x}", offset);
  const SourceLine line = first_own_line(output_of({"addr2line", "-i", "-e", program, address}));
  return line.file.empty() ? SourceLine{program + "+" + address, 0} : line;
}

}  // namespace

Places::Places() : entries_(1), recent_{} {}

Place Places::of(const std::source_location& where) {
  const auto [found, is_new] = operations_.try_emplace(
      {where.file_name(), where.line(), where.column()}, static_cast<Place>(entries_.size()));
  if (is_new) entries_.push_back({nullptr, where});
  return found->second;
}

Place Places::of(const void* return_address) {
  const auto address = reinterpret_cast<std::uint64_t>(return_address);
  Cached& cached = recent_[(address >> 2) % recent_.size()];
  if (cached.key == return_address) return cached.place;
  const auto [found, is_new] =
      addresses_.try_emplace(return_address, static_cast<Place>(entries_.size()));
  if (is_new) entries_.push_back({return_address, {}});
  cached = {return_address, found->second};
  return found->second;
}

SourceLine Places::line(Place place) {
  const auto [found, is_new] = lines_.try_emplace(place);
  if (is_new && place != 0) {
    const Entry& entry = entries_[place];
    found->second = entry.return_address
                        ? line_of(entry.return_address)
                        : SourceLine{entry.where.file_name(), static_cast<int>(entry.where.line())};
  }
  return found->second;
}

}  // namespace mettle::emulation
