// Gzip through zlib's inflate, which unlike gzread reports a cut file.
#include "recsys/text_file.h"

#include <zlib.h>

#include <algorithm>
#include <memory>
#include <span>

#include "engine/check.h"
#include "engine/file.h"

namespace mettle {
namespace {

constexpr int kGzipWindow = 15 + 16;  // largest window, gzip wrapper only
constexpr std::size_t kChunk = std::size_t{1} << 18;
constexpr std::size_t kReadAtOnce = std::size_t{1} << 24;

struct InflateEnd {
  void operator()(z_stream* stream) const { inflateEnd(stream); }
};

}  // namespace

bool is_gzip(std::string_view bytes) { return bytes.starts_with("\x1f\x8b"); }

std::string gunzip(std::string_view packed, std::string_view name, std::size_t max_bytes,
                   const Tick& tick) {
  z_stream stream{};
  METTLE_CHECK(MemoryError, inflateInit2(&stream, kGzipWindow) == Z_OK,
               "{}: no memory to unpack gzip", name);
  const std::unique_ptr<z_stream, InflateEnd> guard(&stream);
  std::string text;
  std::string buffer(std::min(kChunk, max_bytes + 1), '\0');
  while (!packed.empty()) {  // one turn per member
    METTLE_CHECK(FileError, is_gzip(packed), "{}: {} bytes behind the end of the gzip data", name,
                 packed.size());
    int state = Z_OK;
    while (state != Z_STREAM_END) {
      const std::size_t given = std::min<std::size_t>(packed.size(), kChunk);
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
      stream.avail_in = static_cast<uInt>(given);
      stream.next_out = reinterpret_cast<Bytef*>(buffer.data());
      stream.avail_out = static_cast<uInt>(buffer.size());
      state = inflate(&stream, Z_NO_FLUSH);
      const std::size_t made = buffer.size() - stream.avail_out;
      packed.remove_prefix(given - stream.avail_in);
      METTLE_CHECK(FileError, state == Z_OK || state == Z_STREAM_END || state == Z_BUF_ERROR,
                   "{}: damaged gzip data after {} bytes of text ({})", name, text.size() + made,
                   stream.msg ? stream.msg : zError(state));
      METTLE_CHECK(FileError, state != Z_BUF_ERROR,
                   "{}: the gzip data is cut short after {} bytes of text", name,
                   text.size() + made);
      METTLE_CHECK(FileError, text.size() + made <= max_bytes,
                   "{}: unpacks to more than the {} bytes accepted", name, max_bytes);
      text.append(buffer, 0, made);
      if (tick) tick();
    }
    inflateReset(&stream);
  }
  return text;
}

std::string read_text_file(const std::filesystem::path& path, const Tick& tick) {
  const InputFile file(path);
  const std::string& name = file.name();
  METTLE_CHECK(FileError, file.size() <= kMaxTextBytes, "{}: {} bytes, more than the {} accepted",
               name, file.size(), kMaxTextBytes);
  std::string bytes(static_cast<std::size_t>(file.size()), '\0');
  const std::span<std::byte> all = std::as_writable_bytes(std::span(bytes));
  for (std::size_t at = 0; at < all.size(); at += kReadAtOnce) {
    file.read(at, all.subspan(at, std::min(kReadAtOnce, all.size() - at)));
    if (tick) tick();
  }
  if (is_gzip(bytes)) return gunzip(bytes, name, kMaxTextBytes, tick);
  METTLE_CHECK(FileError, path.extension() != ".gz", "{}: named .gz, but not gzip data", name);
  return bytes;
}

}  // namespace mettle
