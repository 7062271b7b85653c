// The header is read as a stream of events that refuses the first thing out of place, so neither
// depth nor size of hostile JSON costs anything; offsets are checked once all tensors are known.
#include "engine/safetensors_header.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <tuple>

#include "engine/check.h"
#include "engine/safetensors.h"

namespace mettle::detail {
namespace {

constexpr std::string_view kMetadata = "__metadata__";
constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 62;

struct DTypeName {
  DType dtype;
  std::string_view name;
};

// From the largest alignment down: the order in which the reference implementation lays tensors
// out.
constexpr std::array<DTypeName, 9> kDTypes = {{{DType::i64, "I64"},
                                               {DType::f64, "F64"},
                                               {DType::f32, "F32"},
                                               {DType::i32, "I32"},
                                               {DType::bf16, "BF16"},
                                               {DType::f16, "F16"},
                                               {DType::i8, "I8"},
                                               {DType::u8, "U8"},
                                               {DType::boolean, "BOOL"}}};

auto find_dtype(DType dtype) {
  return std::find_if(kDTypes.begin(), kDTypes.end(),
                      [&](const DTypeName& d) { return d.dtype == dtype; });
}

// Text of unknown origin in a message: printable, and not longer than a line.
std::string clipped(std::string_view text) {
  constexpr std::size_t longest = 60;
  std::string out = "'";
  for (const char c : text.substr(0, longest)) {
    const auto byte = static_cast<unsigned char>(c);
    out += byte >= 0x20 && byte < 0x7f ? std::string(1, c) : fmt::format("\\x{:02x}", byte);
  }
  return out + (text.size() > longest ? "...'" : "'");
}

// Bytes of a dense tensor; nothing when they, or strides over its extents, pass 2^62. An extent of
// 0 makes no other extent harmless: strides are products as well.
std::optional<std::uint64_t> dense_bytes(const Shape& shape, DType dtype) {
  std::uint64_t bytes = size_of(dtype);
  for (const std::int64_t extent : shape) {
    const auto factor = static_cast<std::uint64_t>(std::max<std::int64_t>(extent, 1));
    if (factor > kMaxBytes / bytes) return std::nullopt;
    bytes *= factor;
  }
  return std::find(shape.begin(), shape.end(), 0) == shape.end() ? bytes : 0;
}

class HeaderReader final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderReader(std::string_view file) : file_(file) {}

  SafetensorsHeader take() { return std::move(header_); }

  bool null() override { wrong("null"); }
  bool boolean(bool) override { wrong("true or false"); }
  bool number_integer(number_integer_t) override { wrong("a negative number"); }
  bool number_float(number_float_t, const string_t&) override {
    wrong("a fraction or a number beyond 64 bits");
  }
  bool binary(binary_t&) override { wrong("binary data"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ == Place::shape) {
      if (entry_.shape.rank() == max_rank)
        refuse("{}: more than the {} dimensions that Mettle takes", subject(), max_rank);
      if (value > kMaxBytes) refuse("{}: extent {} is above 2^62", subject(), value);
      entry_.shape.push_back(static_cast<std::int64_t>(value));
    } else if (place_ == Place::offsets) {
      if (offset_count_ == 2) refuse("{}: data_offsets are more than two", subject());
      (offset_count_ == 0 ? entry_.begin : entry_.end) = value;
      ++offset_count_;
    } else {
      wrong("a number");
    }
    return true;
  }

  bool string(string_t& value) override {
    if (place_ == Place::metadata) {
      header_.metadata[key_] = std::move(value);
    } else if (place_ == Place::entry && key_ == "dtype") {
      const auto found = std::find_if(kDTypes.begin(), kDTypes.end(),
                                      [&](const DTypeName& d) { return d.name == value; });
      if (found == kDTypes.end())
        refuse("{}: dtype {} is none of F64 F32 BF16 F16 I64 I32 I8 U8 BOOL", subject(),
               clipped(value));
      entry_.dtype = found->dtype;
    } else {
      wrong("text");
    }
    return true;
  }

  bool key(string_t& name) override {
    key_ = std::move(name);
    if (place_ == Place::metadata) {
      if (header_.metadata.contains(key_))
        refuse("{}: key {} occurs twice", kMetadata, clipped(key_));
    } else if (place_ == Place::entry) {
      note_member();
    }
    return true;
  }

  bool start_object(std::size_t) override {
    if (place_ == Place::outside) {
      place_ = Place::top;
    } else if (place_ == Place::top && key_ == kMetadata) {
      if (has_metadata_) refuse("{} occurs twice", kMetadata);
      has_metadata_ = true;
      place_ = Place::metadata;
    } else if (place_ == Place::top) {
      entry_ = {};
      entry_.name = key_;
      members_.fill(false);
      offset_count_ = 0;
      place_ = Place::entry;
    } else {
      wrong("an object");
    }
    return true;
  }

  bool end_object() override {
    if (place_ == Place::entry) finish_entry();
    place_ = place_ == Place::top ? Place::outside : Place::top;
    return true;
  }

  bool start_array(std::size_t) override {
    if (place_ != Place::entry || key_ == "dtype") wrong("a list");
    place_ = key_ == "shape" ? Place::shape : Place::offsets;
    return true;
  }

  bool end_array() override {
    if (place_ == Place::offsets && offset_count_ != 2)
      refuse("{}: data_offsets are not two", subject());
    place_ = Place::entry;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    refuse("the header is not JSON from byte {} on", position);
  }

 private:
  enum class Place { outside, top, metadata, entry, shape, offsets };
  static constexpr std::array<std::string_view, 3> kMembers = {"dtype", "shape", "data_offsets"};

  template <class... A>
  [[noreturn]] void refuse(fmt::format_string<const A&...> format, const A&... args) const {
    fail<FileError>("{}: {}", file_, fmt::format(format, args...));
  }

  // A value of the wrong kind, said in terms of the place where it stands.
  [[noreturn]] void wrong(std::string_view what) const {
    switch (place_) {
      case Place::outside: refuse("the header is {}, not an object", what);
      case Place::top: refuse("{} is {}, not an object", clipped(key_), what);
      case Place::metadata: refuse("{}: {} is {}, not text", kMetadata, clipped(key_), what);
      case Place::entry:
        refuse("{}: {} is {}, not {}", subject(), key_, what, key_ == "dtype" ? "text" : "a list");
      default: refuse("{}: {} holds {}, not a non-negative integer", subject(), key_, what);
    }
  }

  std::string subject() const { return "tensor " + clipped(entry_.name); }

  void note_member() {
    const auto found = std::find(kMembers.begin(), kMembers.end(), key_);
    if (found == kMembers.end())
      refuse("{}: key {} is none of dtype, shape, data_offsets", subject(), clipped(key_));
    bool& seen = members_[static_cast<std::size_t>(found - kMembers.begin())];
    if (seen) refuse("{}: {} occurs twice", subject(), key_);
    seen = true;
  }

  void finish_entry() {
    for (std::size_t i = 0; i < kMembers.size(); ++i)
      if (!members_[i]) refuse("{}: has no {}", subject(), kMembers[i]);
    if (entry_.begin > entry_.end)
      refuse("{}: ends at byte {}, before its begin at {}", subject(), entry_.end, entry_.begin);
    const auto bytes = dense_bytes(entry_.shape, entry_.dtype);
    if (!bytes) refuse("{}: shape {} has more than 2^62 bytes", subject(), to_string(entry_.shape));
    if (*bytes != entry_.end - entry_.begin)
      refuse("{}: {} {} takes {} bytes, its data_offsets span {}", subject(),
             to_string(entry_.dtype), to_string(entry_.shape), *bytes, entry_.end - entry_.begin);
    header_.entries.push_back(std::move(entry_));
  }

  std::string_view file_;
  SafetensorsHeader header_;
  Place place_ = Place::outside;
  std::string key_;
  TensorEntry entry_;
  std::array<bool, 3> members_{};
  int offset_count_ = 0;
  bool has_metadata_ = false;
};

void check_names(std::vector<TensorEntry>& entries, std::string_view file) {
  std::sort(entries.begin(), entries.end(),
            [](const TensorEntry& a, const TensorEntry& b) { return a.name < b.name; });
  const auto twice = std::adjacent_find(
      entries.begin(), entries.end(),
      [](const TensorEntry& a, const TensorEntry& b) { return a.name == b.name; });
  METTLE_CHECK(FileError, twice == entries.end(), "{}: tensor {} occurs twice", file,
               clipped(twice->name));
}

// Leaves the entries in the order of the data.
void check_places(std::vector<TensorEntry>& entries, std::uint64_t data_bytes,
                  std::string_view file) {
  std::sort(entries.begin(), entries.end(), [](const TensorEntry& a, const TensorEntry& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  std::uint64_t covered = 0;
  for (const TensorEntry& entry : entries) {
    METTLE_CHECK(FileError, entry.end <= data_bytes,
                 "{}: tensor {}: ends at byte {} of the data, which has {}", file,
                 clipped(entry.name), entry.end, data_bytes);
    METTLE_CHECK(FileError, entry.begin >= covered,
                 "{}: tensor {}: begins at byte {} of the data, inside of another", file,
                 clipped(entry.name), entry.begin);
    METTLE_CHECK(FileError, entry.begin <= covered,
                 "{}: tensor {}: {} bytes of the data before it belong to none", file,
                 clipped(entry.name), entry.begin - covered);
    covered = entry.end;
  }
  METTLE_CHECK(FileError, covered == data_bytes, "{}: {} bytes behind the last tensor", file,
               data_bytes - covered);
}

void check_header_size(std::size_t bytes) {
  METTLE_CHECK(
      ValueError, bytes <= kMaxSafetensorsHeader,
      "write_safetensors: names and metadata make a header of at least {} bytes, more than "
      "the {} that the format allows",
      bytes, kMaxSafetensorsHeader);
}

std::string json_text(const std::string& text) {
  try {
    return nlohmann::json(text).dump();
  } catch (const nlohmann::json::type_error&) {
    fail<ValueError>("write_safetensors: {} is not UTF-8", clipped(text));
  }
}

std::string entry_text(const TensorEntry& entry) {
  return fmt::format(R"({}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                     json_text(entry.name), find_dtype(entry.dtype)->name,
                     fmt::join(entry.shape, ","), entry.begin, entry.end);
}

}  // namespace

SafetensorsHeader parse_safetensors_header(std::string_view json, std::uint64_t data_bytes,
                                           std::string_view name) {
  METTLE_CHECK(FileError, json.starts_with('{'), "{}: the header does not begin with '{{'", name);
  // The JSON reader takes a NUL for the end of its input, whatever stands behind.
  METTLE_CHECK(FileError, json.find('\0') == json.npos,
               "{}: the header is not JSON from byte {} on", name, json.find('\0') + 1);
  HeaderReader reader(name);
  nlohmann::json::sax_parse(json.begin(), json.end(), &reader);
  SafetensorsHeader header = reader.take();
  check_names(header.entries, name);
  check_places(header.entries, data_bytes, name);
  return header;
}

std::string layout_safetensors(SafetensorsHeader& header) {
  std::sort(header.entries.begin(), header.entries.end(),
            [](const TensorEntry& a, const TensorEntry& b) {
              return std::tuple(find_dtype(a.dtype), std::string_view(a.name)) <
                     std::tuple(find_dtype(b.dtype), std::string_view(b.name));
            });
  std::vector<std::string> members;
  if (!header.metadata.empty()) {
    std::size_t bytes = 0;  // before text without end is escaped
    for (const auto& [key, value] : header.metadata) bytes += key.size() + value.size();
    check_header_size(bytes);
    std::vector<std::string> pairs;
    for (const auto& [key, value] : header.metadata)
      pairs.push_back(json_text(key) + ":" + json_text(value));
    members.push_back(fmt::format("\"{}\":{{{}}}", kMetadata, fmt::join(pairs, ",")));
  }
  std::uint64_t at = 0;
  for (TensorEntry& entry : header.entries) {
    const auto bytes = dense_bytes(entry.shape, entry.dtype);
    METTLE_CHECK(ValueError, entry.name != kMetadata,
                 "write_safetensors: a tensor cannot be called {}", kMetadata);
    METTLE_CHECK(ValueError, bytes && *bytes <= kMaxBytes - at,
                 "write_safetensors: more than 2^62 bytes with tensor {}", clipped(entry.name));
    entry.begin = at;
    entry.end = at += *bytes;
    members.push_back(entry_text(entry));
  }
  std::string json = fmt::format("{{{}}}", fmt::join(members, ","));
  json.append((8 - json.size() % 8) % 8, ' ');
  check_header_size(json.size());
  return json;
}

}  // namespace mettle::detail
