// Processes and files for the tests of the program.
#include "tests/command/program.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <thread>

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
  posix_spawn_file_actions_addopen(&actions, 2, (capture / "err").c_str(), O_CREAT | O_WRONLY,
                                   kMode);
  pid_t child = 0;
  const int failed = posix_spawn(&child, METTLE_PROGRAM, &actions, nullptr,
                                 pointers(arguments).data(), pointers(environment).data());
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) throw std::runtime_error("cannot start " METTLE_PROGRAM);
  Outcome out;
  out.code = wait_for(child, what.interrupt_when);
  if (what.output.empty()) out.out = read(output);
  out.err = read(capture / "err");
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
