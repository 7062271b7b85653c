// Every system call of a save fails or is the last one, in turn. The linker puts the functions
// below in the place of the system's for this program (--wrap, see tests/CMakeLists.txt).
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstring>

#include "engine/check.h"
#include "models/checkpoint.h"
#include "tests/engine/temporary_folder.h"

namespace mettle {
namespace {

enum class Fault { error, kill, short_write };

// The fault that is due at call number `at`; 0 for none.
struct Plan {
  int at = 0;
  Fault fault = Fault::error;
  int error = 0;
  int calls = 0;

  // Counts a call; true when it is to fail, with errno set.
  bool fails() {
    if (at == 0 || ++calls != at) return false;
    if (fault == Fault::kill) ::kill(::getpid(), SIGKILL);
    errno = error;
    return fault == Fault::error;
  }
  bool is_due(Fault kind) const { return fault == kind && calls == at; }
};

Plan plan;

}  // namespace
}  // namespace mettle

// The names that the linker looks for.
// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming)
extern "C" {
int __real_open(const char* path, int flags, ...);
ssize_t __real_write(int file, const void* bytes, size_t size);
int __real_fsync(int file);
int __real_close(int file);
int __real_rename(const char* from, const char* to);
int __real_fchmod(int file, mode_t mode);

int __wrap_open(const char* path, int flags, ...) {
  mode_t mode = 0;
  if (flags & O_CREAT) {
    va_list rest;
    va_start(rest, flags);
    mode = va_arg(rest, mode_t);
    va_end(rest);
  }
  return mettle::plan.fails() ? -1 : __real_open(path, flags, mode);
}
ssize_t __wrap_write(int file, const void* bytes, size_t size) {
  if (mettle::plan.fails()) return -1;
  const bool is_short = mettle::plan.at > 0 && mettle::plan.is_due(mettle::Fault::short_write);
  return __real_write(file, bytes, is_short ? (size + 1) / 2 : size);
}
int __wrap_fsync(int file) { return mettle::plan.fails() ? -1 : __real_fsync(file); }
int __wrap_close(int file) {
  const bool fails = mettle::plan.fails();
  const int error = errno;
  const int result = __real_close(file);
  if (!fails) return result;
  errno = error;
  return -1;
}
int __wrap_rename(const char* from, const char* to) {
  return mettle::plan.fails() ? -1 : __real_rename(from, to);
}
int __wrap_fchmod(int file, mode_t mode) {
  return mettle::plan.fails() ? -1 : __real_fchmod(file, mode);
}
}
// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)

namespace mettle {
namespace {

// Every element says which step it belongs to.
Checkpoint filled(std::int64_t step) {
  Checkpoint checkpoint;
  checkpoint.step = step;
  for (const char* group : {"parameters", "optimizer"})
    checkpoint.tensors[group]["w"] =
        Tensor::from(std::vector<double>(500, static_cast<double>(step)), {500});
  return checkpoint;
}

bool is_complete(const Checkpoint& checkpoint) {
  const auto want = filled(checkpoint.step);
  if (checkpoint.tensors.size() != want.tensors.size()) return false;
  for (const auto& [group, tensors] : want.tensors)
    if (checkpoint.tensors.at(group).at("w").to_vector<double>() !=
        tensors.at("w").to_vector<double>())
      return false;
  return true;
}

// Replaces best.safetensors and adds a step in a folder that holds step 1 of both.
class CheckpointFaults : public test::TemporaryFolder {
 protected:
  void start() const {
    std::filesystem::remove_all(folder_);
    CheckpointWriter writer(folder_);
    writer.save(filled(1));
    writer.save_best(filled(1));
  }

  // False when the two saves ended without reaching the planned call.
  bool save_with(Plan wanted, bool& succeeded) const {
    start();
    CheckpointWriter writer(folder_, 2, 1);
    const Checkpoint next = filled(2);
    succeeded = true;
    plan = wanted;
    try {
      writer.save(next);
      writer.save_best(next);
    } catch (const FileError&) {
      succeeded = false;
    }
    const bool reached = plan.calls >= plan.at;
    plan = {};
    return reached;
  }

  void expect_valid() const {
    const auto latest = latest_checkpoint(folder_), best = best_checkpoint(folder_);
    ASSERT_TRUE(latest && best);
    EXPECT_TRUE(is_complete(*latest) && is_complete(*best));
    EXPECT_TRUE(latest->step == 1 || latest->step == 2);
    EXPECT_TRUE(best->step == 1 || best->step == latest->step);
  }

  // Of one save: open, three writes at least, fsync, close, rename, open, fsync, close.
  static constexpr int kFewestCalls = 2 * 10;
};

TEST_F(CheckpointFaults, AnErrorOfAnyCallLeavesValidFiles) {
  for (const int error : {ENOSPC, EIO, EDQUOT, EROFS, EINTR}) {
    bool succeeded = false;
    int at = 1;
    for (; save_with({.at = at, .fault = Fault::error, .error = error}, succeeded); ++at) {
      SCOPED_TRACE(std::to_string(at) + ": " + strerror(error));
      expect_valid();
      EXPECT_EQ(listing().find("partial"), std::string::npos) << listing();
      EXPECT_TRUE(!succeeded || best_checkpoint(folder_)->step == 2);
    }
    EXPECT_GT(at, kFewestCalls);
    EXPECT_TRUE(succeeded);
  }
}

TEST_F(CheckpointFaults, AShortWriteGoesOn) {
  bool succeeded = false;
  for (int at = 1; save_with({.at = at, .fault = Fault::short_write}, succeeded); ++at) {
    SCOPED_TRACE(at);
    EXPECT_TRUE(succeeded);
    expect_valid();
    EXPECT_EQ(best_checkpoint(folder_)->step, 2);
  }
}

TEST_F(CheckpointFaults, AKillAtAnyCallLeavesValidFiles) {
  int at = 1;
  for (bool killed = true; killed; ++at) {
    SCOPED_TRACE(at);
    const pid_t child = fork();
    if (child == 0) {
      bool succeeded = false;
      save_with({.at = at, .fault = Fault::kill}, succeeded);
      _exit(succeeded ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    ASSERT_TRUE(killed || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
    expect_valid();
    const CheckpointWriter sweeps(folder_, 2, 2);
    EXPECT_EQ(listing().find("partial"), std::string::npos) << listing();
  }
  EXPECT_GT(at, kFewestCalls);
}

}  // namespace
}  // namespace mettle
