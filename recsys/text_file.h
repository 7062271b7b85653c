// Whole text files in memory, gzip unpacked on the way.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "recsys/work.h"

namespace mettle {

/// A larger text is refused. MovieLens 32M's ratings have 0.9 GB.
inline constexpr std::size_t kMaxTextBytes = std::size_t{4} << 30;

/// Reads a regular file; one that starts with the gzip magic bytes is unpacked whatever its name.
/// FileError when it is missing, unreadable, too large, or its gzip data is damaged or cut short.
/// `tick` is called now and then.
std::string read_text_file(const std::filesystem::path& path, const Tick& tick = {});

/// Unpacks gzip data (RFC 1952; several members are joined). `name` begins the error messages.
/// FileError for a bad header, a wrong checksum, a cut end, bytes behind the end, or more than
/// `max_bytes` of text. `tick` as above.
std::string gunzip(std::string_view packed, std::string_view name,
                   std::size_t max_bytes = kMaxTextBytes, const Tick& tick = {});
bool is_gzip(std::string_view bytes);

}  // namespace mettle
