// POSIX files. Every call that a signal may interrupt is repeated, every short read or write goes
// on.
#include "engine/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <system_error>

#include "engine/check.h"

namespace mettle {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kTemporaryPrefix = ".mettle-";
constexpr std::string_view kTemporarySuffix = ".partial";
constexpr std::size_t kMaxTransfer = std::size_t{1} << 30;  // one call's share; Linux stops at 2 GB

std::string errno_text() { return std::generic_category().message(errno); }

// Repeats a system call that a signal interrupted.
template <class Call> auto uninterrupted(Call&& call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

int open_file(const fs::path& path, int flags, mode_t mode = 0) {
  return uninterrupted([&] { return ::open(path.c_str(), flags | O_CLOEXEC, mode); });
}

// The file that a symbolic link stands for, so that the link stays one.
fs::path resolve(const fs::path& path) {
  std::error_code error;
  if (!fs::is_symlink(path, error)) return path;
  fs::path file = fs::canonical(path, error);
  METTLE_CHECK(FileError, !error, "{}: the symbolic link cannot be followed: {}", path.string(),
               error.message());
  return file;
}

fs::path folder_of(const fs::path& path) {
  const fs::path folder = path.parent_path();
  return folder.empty() ? "." : folder;
}

}  // namespace

void FileDescriptor::write(std::span<const std::byte> bytes, std::string_view name) const {
  while (!bytes.empty()) {
    const auto put = uninterrupted(
        [&] { return ::write(number_, bytes.data(), std::min(bytes.size(), kMaxTransfer)); });
    METTLE_CHECK(FileError, put >= 0, "{}: writing failed: {}", name, errno_text());
    bytes = bytes.subspan(static_cast<std::size_t>(put));
  }
}

bool FileDescriptor::close() noexcept {
  if (number_ < 0) return true;
  // Not repeated after EINTR: Linux has freed the number by then.
  const bool ok = ::close(number_) == 0 || errno == EINTR;
  number_ = -1;
  return ok;
}

// O_NONBLOCK: opening a pipe that nobody writes to would wait for ever. Regular files ignore it.
InputFile::InputFile(const fs::path& path)
    : name_(path.string()), file_(open_file(path, O_RDONLY | O_NONBLOCK)) {
  METTLE_CHECK(FileError, file_.get() >= 0 || errno != ENOENT, "{}: no such file", name_);
  METTLE_CHECK(FileError, file_.get() >= 0, "{}: cannot be opened: {}", name_, errno_text());
  struct stat status {};
  METTLE_CHECK(FileError, ::fstat(file_.get(), &status) == 0, "{}: {}", name_, errno_text());
  METTLE_CHECK(FileError, S_ISREG(status.st_mode), "{}: not a regular file", name_);
  size_ = static_cast<std::uint64_t>(status.st_size);
}

void InputFile::read(std::uint64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const auto got = uninterrupted([&] {
      return ::pread(file_.get(), out.data(), std::min(out.size(), kMaxTransfer),
                     static_cast<off_t>(offset));
    });
    METTLE_CHECK(FileError, got >= 0, "{}: reading failed at byte {}: {}", name_, offset,
                 errno_text());
    METTLE_CHECK(FileError, got > 0, "{}: ends at byte {}, {} bytes too early", name_, offset,
                 out.size());
    offset += static_cast<std::uint64_t>(got);
    out = out.subspan(static_cast<std::size_t>(got));
  }
}

std::string read_file(const fs::path& path, std::size_t max_bytes) {
  const InputFile file(path);
  METTLE_CHECK(FileError, file.size() <= max_bytes, "{}: {} bytes, more than the {} accepted",
               file.name(), file.size(), max_bytes);
  std::string bytes(static_cast<std::size_t>(file.size()), '\0');
  file.read(0, std::as_writable_bytes(std::span(bytes)));
  return bytes;
}

AtomicFile::AtomicFile(const fs::path& path) : target_(resolve(path)) {
  struct stat status {};
  const bool replaces = ::stat(target_.c_str(), &status) == 0;
  METTLE_CHECK(FileError, !replaces || S_ISREG(status.st_mode),
               "{}: not a regular file, so it is not replaced", target_.string());
  open_temporary();
  if (replaces && ::fchmod(file_.get(), status.st_mode & 07777) != 0) {
    const int reason = errno;
    ::unlink(temporary_.c_str());  // the destructor does not run
    errno = reason;
    fail_with_errno("permissions cannot be kept");
  }
}

void AtomicFile::open_temporary() {
  static std::atomic<unsigned> count{0};
  int number = -1;
  do {
    temporary_ = folder_of(target_) / fmt::format("{}{}-{}{}", kTemporaryPrefix, ::getpid(),
                                                  count.fetch_add(1), kTemporarySuffix);
    number = open_file(temporary_, O_WRONLY | O_CREAT | O_EXCL, 0666);
  } while (number < 0 && errno == EEXIST);
  if (number < 0) fail_with_errno("no file can be made in its folder");
  file_.reset(number);
}

AtomicFile::~AtomicFile() {
  if (exists_) ::unlink(temporary_.c_str());
}

void AtomicFile::fail_with_errno(std::string_view action) const {
  fail<FileError>("{}: {}: {}", target_.string(), action, errno_text());
}

void AtomicFile::commit() {
  if (uninterrupted([&] { return ::fsync(file_.get()); }) != 0) fail_with_errno("writing failed");
  if (!file_.close()) fail_with_errno("writing failed");
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) fail_with_errno("renaming failed");
  exists_ = false;
  const FileDescriptor folder(open_file(folder_of(target_), O_RDONLY | O_DIRECTORY));
  // A file system that knows no such request (EINVAL) orders its own writes.
  if (folder.get() < 0 ||
      (uninterrupted([&] { return ::fsync(folder.get()); }) != 0 && errno != EINVAL))
    fail_with_errno("written, but its folder could not be made durable");
}

void write_file(const fs::path& path, std::string_view bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

void make_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  METTLE_CHECK(FileError, !error, "{}: the folder cannot be made: {}", folder.string(),
               error.message());
}

std::vector<fs::path> list_folder(const fs::path& folder) {
  std::vector<fs::path> paths;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error); !error && entry != fs::directory_iterator();
       entry.increment(error))
    paths.push_back(entry->path());
  METTLE_CHECK(FileError, !error || error == std::errc::no_such_file_or_directory,
               "{}: the folder cannot be read: {}", folder.string(), error.message());
  return paths;
}

void remove_abandoned(const fs::path& folder) {
  for (const fs::path& path : list_folder(folder)) {
    const std::string name = path.filename().string();
    std::error_code error;  // what cannot be removed costs room, nothing else
    if (name.starts_with(kTemporaryPrefix) && name.ends_with(kTemporarySuffix))
      fs::remove(path, error);
  }
}

}  // namespace mettle
