// Processes and files for the tests of the program.
#include "tests/command/program.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <optional>
#include <stdexcept>
#include <thread>
#include <utility>

namespace mettle::command_test {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> environment_with(const std::map<std::string, std::string>& added) {
  std::vector<std::string> out;
  for (char** entry = environ; *entry; ++entry) {
    const std::string text = *entry;
    if (!added.contains(text.substr(0, text.find('=')))) out.push_back(text);
  }
  for (const auto& [name, value] : added)
    out.push_back(std::string(name).append("=").append(value));
  return out;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (std::string& text : texts) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

// Waits for `child`; sends SIGINT once `trigger` is a file with content.
int wait_for(pid_t child, const fs::path& trigger) {
  int status = 0;
  bool sent = trigger.empty();
  while (true) {
    const pid_t ended = waitpid(child, &status, sent ? 0 : WNOHANG);
    if (ended == child) break;
    std::error_code error;
    if (!sent && fs::file_size(trigger, error) > 0 && !error) {
      kill(child, SIGINT);
      sent = true;
    }
    if (!sent) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// Whether SIGINT is in a set of signals that the kernel shows of a process: "SigCgt", those that it
// catches, or "ShdPnd", those that have not reached it.
bool has_interrupt(pid_t process, const std::string& set) {
  std::ifstream status(fmt::format("/proc/{}/status", process));
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(set + ":"))
      return (std::stoull(line.substr(set.size() + 1), nullptr, 16) >> (SIGINT - 1) & 1U) != 0;
  throw std::runtime_error("cannot see the signals of the program");
}

// A pipe that is full: who writes to it waits until somebody reads.
class FullPipe {
 public:
  FullPipe() {
    if (pipe2(ends_, O_CLOEXEC) != 0) throw std::runtime_error("cannot make a pipe");
    fcntl(ends_[1], F_SETFL, O_NONBLOCK);
    const std::string filling(1 << 12, '.');
    for (ssize_t put = 0; put >= 0;) {
      put = ::write(ends_[1], filling.data(), filling.size());
      filled_ += static_cast<std::size_t>(std::max<ssize_t>(put, 0));
    }
    fcntl(ends_[1], F_SETFL, 0);
  }
  FullPipe(const FullPipe&) = delete;
  FullPipe& operator=(const FullPipe&) = delete;
  ~FullPipe() {
    close(ends_[0]);
    if (ends_[1] >= 0) close(ends_[1]);
  }

  int entry() const { return ends_[1]; }
  /// What others wrote, until the last of them ends.
  std::string drain() {
    close(std::exchange(ends_[1], -1));
    std::string out;
    char buffer[1 << 12];
    for (ssize_t got = 0; (got = ::read(ends_[0], buffer, sizeof buffer)) > 0;)
      out.append(buffer, static_cast<std::size_t>(got));
    return out.substr(filled_);
  }

 private:
  int ends_[2] = {-1, -1};
  std::size_t filled_ = 0;
};

// The second one ends the program where it waits, before anybody reads what it wants to say.
void send_interrupts(pid_t child, int count) {
  const auto pause = [] { std::this_thread::sleep_for(std::chrono::milliseconds(2)); };
  while (!has_interrupt(child, "SigCgt")) pause();
  kill(child, SIGINT);
  if (count == 1) return;
  while (has_interrupt(child, "ShdPnd")) pause();
  kill(child, SIGINT);
  siginfo_t end{};
  waitid(P_PID, static_cast<id_t>(child), &end, WEXITED | WNOWAIT);
}

}  // namespace

Outcome run(const Run& what) {
  const TemporaryFolder capture;
  std::vector<std::string> arguments = what.arguments;
  arguments.insert(arguments.begin(), METTLE_PROGRAM);
  std::vector<std::string> environment = environment_with(what.environment);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  constexpr int kMode = 0600;
  const std::string output = what.output.empty() ? capture / "out" : what.output.string();
  posix_spawn_file_actions_addopen(&actions, 1, output.c_str(), O_CREAT | O_WRONLY, kMode);
  std::optional<FullPipe> errors;
  if (what.early_interrupts > 0) {
    errors.emplace();
    posix_spawn_file_actions_adddup2(&actions, errors->entry(), 2);
  } else {
    posix_spawn_file_actions_addopen(&actions, 2, (capture / "err").c_str(), O_CREAT | O_WRONLY,
                                     kMode);
  }
  // A shell lets what it starts with `&` ignore SIGINT; the program would keep to that.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t interrupt;
  sigemptyset(&interrupt);
  sigaddset(&interrupt, SIGINT);
  posix_spawnattr_setsigdefault(&attributes, &interrupt);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
  pid_t child = 0;
  const int failed = posix_spawn(&child, METTLE_PROGRAM, &actions, &attributes,
                                 pointers(arguments).data(), pointers(environment).data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) throw std::runtime_error("cannot start " METTLE_PROGRAM);
  Outcome out;
  if (errors) {
    send_interrupts(child, what.early_interrupts);
    out.err = errors->drain();
  }
  out.code = wait_for(child, what.interrupt_when);
  if (what.output.empty()) out.out = read(output);
  if (!errors) out.err = read(capture / "err");
  return out;
}

TemporaryFolder::TemporaryFolder() {
  std::string name = (fs::temp_directory_path() / "mettle-test-XXXXXX").string();
  if (!mkdtemp(name.data())) throw std::runtime_error("cannot make a folder like " + name);
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::string read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("cannot read " + path.string());
  return {std::istreambuf_iterator<char>(in), {}};
}

void write(const fs::path& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary);
  out << text;
  if (!out.flush()) throw std::runtime_error("cannot write " + path.string());
}

void write_tiny_movielens(const fs::path& folder) {
  constexpr int kMovies = 40, kUsers = 60;
  constexpr const char* kGenres[] = {"Comedy", "Drama|War", "Sci-Fi"};
  fs::create_directories(folder);
  std::string movies = "movieId,title,genres\n", ratings = "userId,movieId,rating,timestamp\n";
  for (int m = 1; m <= kMovies; ++m)
    movies += fmt::format("{},\"Story {} ({})\",{}\n", m, m, 1980 + m % 30, kGenres[m % 3]);
  for (int u = 1; u <= kUsers; ++u)
    for (int i = 0; i < 20 + u % 10; ++i) {
      const int m = 1 + (u * 7 + i * 3) % kMovies;  // 3 and 40 have no common factor: no repetition
      const int stars = 1 + (m % 3 == u % 3 ? 3 : 1) + (u * 5 + m * 3) % 2;
      ratings += fmt::format("{},{},{},{}\n", u, m, stars, 1000000000 + i);
    }
  write(folder / "movies.csv", movies);
  write(folder / "ratings.csv", ratings);
}

}  // namespace mettle::command_test
