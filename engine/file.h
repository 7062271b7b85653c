// Files by the two ways that survive accidents: read from one open descriptor, whatever happens to
// the name meanwhile, and write so that a reader finds the old bytes or the new ones, never a
// mixture. POSIX.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mettle {

/// Owns a POSIX file descriptor.
class FileDescriptor {
 public:
  explicit FileDescriptor(int number = -1) : number_(number) {}
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  ~FileDescriptor() { close(); }

  int get() const { return number_; }
  /// Writes all of it. FileError, begun by `name`, with the system's reason: disk full, quota, I/O
  /// error; a part may have been written then.
  void write(std::span<const std::byte> bytes, std::string_view name) const;
  void reset(int number) noexcept {
    close();
    number_ = number;
  }
  /// False when the system reports that written bytes did not reach the file.
  bool close() noexcept;

 private:
  int number_;
};

/// A regular file open for reading.
class InputFile {
 public:
  /// FileError when it is missing, unreadable or not a regular file (a folder, a pipe, a device).
  explicit InputFile(const std::filesystem::path& path);

  const std::string& name() const { return name_; }
  /// Bytes when it was opened.
  std::uint64_t size() const { return size_; }
  /// Fills `out` with the bytes from `offset` on. FileError when the file has become shorter or
  /// cannot be read.
  void read(std::uint64_t offset, std::span<std::byte> out) const;

 private:
  std::string name_;
  FileDescriptor file_;
  std::uint64_t size_ = 0;
};

/// The bytes of a regular file. FileError as InputFile, and when there are more than `max_bytes`.
std::string read_file(const std::filesystem::path& path,
                      std::size_t max_bytes = std::numeric_limits<std::size_t>::max());

/// Replaces a file in one step. Bytes go to a temporary file in the same folder, which commit()
/// makes durable and renames. Until then, and after any failure, the old file is untouched; the
/// temporary is removed unless the process is killed (see remove_abandoned()). An existing file
/// keeps its permission bits, a symbolic link keeps pointing at the file that is replaced.
class AtomicFile {
 public:
  /// FileError when the folder is missing or not writable, or `path` exists and is not a regular
  /// file.
  explicit AtomicFile(const std::filesystem::path& path);
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile();

  /// FileError as FileDescriptor::write().
  void write(std::span<const std::byte> bytes) { file_.write(bytes, target_.native()); }
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }

  /// Call once, last. FileError as write(); should only the folder's own write fail, the new file
  /// is complete and in place, but might not outlive a power cut.
  void commit();

 private:
  [[noreturn]] void fail_with_errno(std::string_view action) const;
  void open_temporary();

  std::filesystem::path target_;
  std::filesystem::path temporary_;
  FileDescriptor file_;
  bool exists_ = true;  // whether the temporary is there to be removed
};

/// Replaces `path` by `bytes` in one step. FileError as AtomicFile.
void write_file(const std::filesystem::path& path, std::string_view bytes);

/// Makes a folder, and those that it is in, unless it is there. FileError.
void make_folder(const std::filesystem::path& folder);

/// The paths of all entries of a folder, in no order; none when there is no such folder. FileError
/// when it cannot be read.
std::vector<std::filesystem::path> list_folder(const std::filesystem::path& folder);

/// Removes the temporaries that killed processes left in `folder`; another program that is just
/// writing there would lose its file, so call it only for a folder that one process writes to.
void remove_abandoned(const std::filesystem::path& folder);

}  // namespace mettle
