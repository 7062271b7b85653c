// Reading whole files, and replacing them: what a failure leaves behind.
#include "engine/file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "engine/check.h"
#include "tests/autograd/message_of.h"
#include "tests/engine/file_size_limit.h"
#include "tests/engine/temporary_folder.h"

namespace mettle {
namespace {

namespace fs = std::filesystem;
using test::message_of;

class File : public test::TemporaryFolder {
 protected:
  std::string path(const char* name) const { return (folder_ / name).string(); }
  static std::string read_error(const fs::path& path, std::size_t max_bytes = 1000) {
    return message_of<FileError>([&] { read_file(path, max_bytes); });
  }
  static std::string write_error(const fs::path& path) {
    return message_of<FileError>([&] { write_file(path, "new"); });
  }
};

TEST_F(File, ReadsWhatWasWritten) {
  for (const std::string& text :
       {std::string(), std::string("a\0b\n", 4), std::string(3'000'000, 'x')}) {
    write_file(path("f"), text);
    EXPECT_EQ(read_file(path("f")), text);
  }
  EXPECT_EQ(listing(), "f");
}

TEST_F(File, ReadingSaysWhatIsWrong) {
  write_file(path("f"), "12345");
  ASSERT_EQ(mkfifo(path("pipe").c_str(), 0600), 0);
  EXPECT_EQ(read_error(path("none")), path("none") + ": no such file");
  EXPECT_EQ(read_error(path("f/x")), path("f/x") + ": cannot be opened: Not a directory");
  EXPECT_EQ(read_error(folder_), folder_.string() + ": not a regular file");
  EXPECT_EQ(read_error(path("pipe")), path("pipe") + ": not a regular file");
  EXPECT_EQ(read_error(path("f"), 4), path("f") + ": 5 bytes, more than the 4 accepted");
  EXPECT_EQ(read_file(path("f"), 5), "12345");
}

TEST_F(File, AFileThatShrinksWhileReadIsAnError) {
  write_file(path("f"), "1234567890");
  const InputFile file(path("f"));
  fs::resize_file(path("f"), 4);
  std::byte out[10];
  EXPECT_EQ(message_of<FileError>([&] { file.read(2, out); }),
            path("f") + ": ends at byte 4, 8 bytes too early");
}

TEST_F(File, ReplacingKeepsPermissionsAndLinks) {
  write_file(path("f"), "old");
  ASSERT_EQ(chmod(path("f").c_str(), 0640), 0);
  fs::create_symlink("f", path("link"));
  write_file(path("link"), "new");
  EXPECT_TRUE(fs::is_symlink(path("link")));
  EXPECT_EQ(read_file(path("f")), "new");
  struct stat status {};
  ASSERT_EQ(stat(path("f").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777u, 0640u);
  EXPECT_EQ(listing(), "f link");
}

TEST_F(File, ANewFileObeysTheUmask) {
  const mode_t old = umask(027);
  write_file(path("f"), "x");
  umask(old);
  struct stat status {};
  ASSERT_EQ(stat(path("f").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777u, 0640u);
}

TEST_F(File, WithoutCommitTheOldFileStays) {
  write_file(path("f"), "old");
  {
    AtomicFile file(path("f"));
    file.write("half of the n");
    EXPECT_EQ(read_file(path("f")), "old");
    EXPECT_NE(listing(), "f");
  }
  EXPECT_EQ(read_file(path("f")), "old");
  EXPECT_EQ(listing(), "f");
}

TEST_F(File, WritingSaysWhatIsWrong) {
  write_file(path("f"), "old");
  fs::create_directory(path("folder"));
  fs::create_symlink("nowhere", path("dangling"));
  EXPECT_EQ(write_error(path("none/f")),
            path("none/f") + ": no file can be made in its folder: No such file or directory");
  EXPECT_EQ(write_error(path("f/x")),
            path("f/x") + ": no file can be made in its folder: Not a directory");
  EXPECT_EQ(write_error(path("folder")),
            path("folder") + ": not a regular file, so it is not replaced");
  EXPECT_EQ(write_error("/dev/null"), "/dev/null: not a regular file, so it is not replaced");
  EXPECT_EQ(write_error(path("dangling")),
            path("dangling") + ": the symbolic link cannot be followed: No such file or directory");
  EXPECT_EQ(read_file(path("f")), "old");
  EXPECT_EQ(listing(), "dangling f folder");
}

TEST_F(File, AFullDiskLeavesTheOldFile) {
  write_file(path("f"), "old");
  {
    const test::FileSizeLimit limit(5000);
    AtomicFile file(path("f"));
    file.write(std::string(4000, 'x'));
    EXPECT_EQ(message_of<FileError>([&] { file.write(std::string(4000, 'y')); }),
              path("f") + ": writing failed: File too large");
  }
  EXPECT_EQ(read_file(path("f")), "old");
  EXPECT_EQ(listing(), "f");
}

TEST_F(File, ANameTooLongOnlyForTheRenameIsReported) {
  const std::string name(300, 'n');
  EXPECT_EQ(write_error(folder_ / name),
            path(name.c_str()) + ": renaming failed: File name too long");
  EXPECT_EQ(listing(), "");
}

TEST_F(File, RemovesOnlyAbandonedTemporaries) {
  for (const char* name : {".mettle-12-0.partial", "model.partial", ".mettle-notes"})
    write_file(path(name), "x");
  remove_abandoned(folder_);
  EXPECT_EQ(listing(), ".mettle-notes model.partial");
}

TEST_F(File, ListsAFolder) {
  write_file(path("a"), "");
  fs::create_directory(path("b"));
  std::vector<fs::path> paths = list_folder(folder_);
  std::sort(paths.begin(), paths.end());
  EXPECT_EQ(paths, (std::vector<fs::path>{path("a"), path("b")}));
  EXPECT_TRUE(list_folder(path("none")).empty());
  EXPECT_EQ(message_of<FileError>([&] { list_folder(path("a")); }),
            path("a") + ": the folder cannot be read: Not a directory");
}

}  // namespace
}  // namespace mettle
