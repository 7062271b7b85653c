// Safetensors: the reference implementation's bytes both ways, and a table of hostile files with
// the reason that each is given.
#include "engine/safetensors.h"

#include <gtest/gtest.h>

#include <limits>
#include <numeric>

#include "engine/file.h"
#include "tests/autograd/message_of.h"
#include "tests/engine/file_size_limit.h"
#include "tests/engine/temporary_folder.h"

namespace mettle {
namespace {

using test::message_of;
using namespace std::string_literals;

std::string little_endian(std::uint64_t value) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(value >> (8 * i));
  return bytes;
}

std::string repeated(std::size_t times, char c) { return std::string(times, c); }

std::string file_of(const std::string& json, const std::string& data = "") {
  return little_endian(json.size()) + json + data;
}

TensorFile parse(const std::string& bytes) {
  return parse_safetensors(std::as_bytes(std::span(bytes)), "f");
}

// ---- a golden file ------------------------------------------------------------------------------

// Every dtype, an empty tensor, a scalar, a name to be escaped. These are the bytes that the
// reference implementation (the Python package safetensors 0.8.0) writes for golden().
std::string golden_bytes() {
  const std::string json =
      R"({"__metadata__":{"note":"two\nlines"},"l":{"dtype":"I64","shape":[1],)"
      R"("data_offsets":[0,8]},"b":{"dtype":"F64","shape":[2],"data_offsets":[8,24]},)"
      R"("a":{"dtype":"F32","shape":[2,3],"data_offsets":[24,48]},"empty":{"dtype":"F32",)"
      R"("shape":[0,3],"data_offsets":[48,48]},)"
      "\"\xc3\xa9\\\"\\\\\\n\x7f\""
      R"(:{"dtype":"F32","shape":[1],"data_offsets":[48,52]},"i":{"dtype":"I32","shape":[],)"
      R"("data_offsets":[52,56]},"bf":{"dtype":"BF16","shape":[3],"data_offsets":[56,62]},)"
      R"("h":{"dtype":"F16","shape":[1],"data_offsets":[62,64]},"c":{"dtype":"I8","shape":[2],)"
      R"("data_offsets":[64,66]},"u":{"dtype":"U8","shape":[1],"data_offsets":[66,67]},)"
      R"("t":{"dtype":"BOOL","shape":[3],"data_offsets":[67,70]}})";
  const std::string data =
      "\xff\xff\xff\xff\xff\xff\xff\xff"                                        // l
      "\0\0\0\0\0\0\xf8\x3f\0\0\0\0\0\0\0\xc0"                                  // b
      "\0\0\x80\x3f\0\0\0\x40\0\0\x40\x40\0\0\x80\x40\0\0\xa0\x40\0\0\xc0\x40"  // a
      "\0\0\x10\x41\x07\0\0\0\x80\x3f\x80\xbf\x40\x40\0\x38\xfb\x06\xc8\x01\0\x01"s;
  const std::string padding((8 - json.size() % 8) % 8, ' ');
  return file_of(json + padding, data);
}

TensorFile golden() {
  const bool booleans[] = {true, false, true};
  TensorFile content;
  content.metadata["note"] = "two\nlines";
  content.tensors = {
      {"a", Tensor::from(std::vector<float>{1, 2, 3, 4, 5, 6}, {2, 3})},
      {"b", Tensor::from(std::vector<double>{1.5, -2.0}, {2})},
      {"bf", Tensor::from(std::vector<bf16>{bf16(1.0f), bf16(-1.0f), bf16(3.0f)}, {3})},
      {"c", Tensor::from(std::vector<std::int8_t>{-5, 6}, {2})},
      {"empty", Tensor::empty({0, 3})},
      {"h", Tensor::from(std::vector<f16>{f16(0.5f)}, {1})},
      {"i", Tensor::from(std::vector<std::int32_t>{7}, {})},
      {"l", Tensor::from(std::vector<std::int64_t>{-1}, {1})},
      {"t", Tensor::from(std::span<const bool>(booleans), {3})},
      {"u", Tensor::from(std::vector<std::uint8_t>{200}, {1})},
      {"\xc3\xa9\"\\\n\x7f", Tensor::from(std::vector<float>{9}, {1})},
  };
  return content;
}

void expect_same(const TensorFile& got, const TensorFile& want) {
  EXPECT_EQ(got.metadata, want.metadata);
  ASSERT_EQ(got.tensors.size(), want.tensors.size());
  for (const auto& [name, tensor] : want.tensors) {
    SCOPED_TRACE(name);
    ASSERT_TRUE(got.tensors.contains(name));
    const Tensor& other = got.tensors.at(name);
    ASSERT_EQ(other.dtype(), tensor.dtype());
    ASSERT_EQ(other.shape(), tensor.shape());
    EXPECT_EQ(other.to_vector<double>(), tensor.to_vector<double>());
  }
}

class Safetensors : public test::TemporaryFolder {
 protected:
  std::filesystem::path file() const { return folder_ / "model.safetensors"; }
};

TEST_F(Safetensors, WritesTheReferenceBytes) {
  write_safetensors(file(), golden());
  EXPECT_EQ(read_file(file()), golden_bytes());
}

TEST_F(Safetensors, ReadsTheReferenceBytes) {
  expect_same(parse(golden_bytes()), golden());
  write_file(file(), golden_bytes());
  expect_same(read_safetensors(file()), golden());
}

TEST_F(Safetensors, TensorsAreReadOneAtATime) {
  write_file(file(), golden_bytes());
  const SafetensorsFile open(file());
  TensorFile content{.tensors = {}, .metadata = open.metadata()};
  for (const auto& [name, stored] : open.tensors()) {
    EXPECT_EQ(stored.dtype, golden().tensors.at(name).dtype());
    EXPECT_EQ(stored.shape, golden().tensors.at(name).shape());
    content.tensors.emplace(name, open.read(name));
  }
  expect_same(content, golden());
  EXPECT_NE(message_of<ValueError>([&] { open.read("z"); }).find("no tensor 'z'"),
            std::string::npos);
  // A file that shrinks behind its checked header.
  std::filesystem::resize_file(file(), std::filesystem::file_size(file()) - 1);
  EXPECT_NO_THROW(open.read("l"));
  EXPECT_THROW(open.read("t"), FileError);
}

TEST_F(Safetensors, StridedTensorsAreWrittenInRowMajorOrder) {
  std::vector<std::int32_t> values(2 * 3 * 70'000);  // above the writer's chunk
  std::iota(values.begin(), values.end(), 0);
  const Tensor dense = Tensor::from(values, {2, 3, 70'000});
  TensorFile content;
  content.tensors = {{"transposed", dense.transpose(0, 2)},
                     {"sliced", dense.slice(2, 1, 69'999, 7)},
                     {"offset", dense.slice(0, 1, 2)},
                     {"repeated", dense.slice(0, 0, 1).expand({4, 3, 70'000})},
                     {"empty", dense.slice(1, 2, 2)}};
  write_safetensors(file(), content);
  expect_same(read_safetensors(file()), content);
}

TEST_F(Safetensors, NoTensorsAtAll) {
  write_safetensors(file(), {});
  EXPECT_EQ(read_file(file()), file_of("{}      "));
  expect_same(read_safetensors(file()), {});
}

// ---- what the format leaves open ----------------------------------------------------------------

TEST(SafetensorsParse, AcceptsWhatTheFormatAllows) {
  const std::pair<const char*, std::string> rows[] = {
      {"blanks inside and behind", file_of("{ \"a\" : {\"shape\":[ ],\"data_offsets\":[0, 1],"
                                           "\"dtype\":\"U8\"} }  ",
                                           "\x05")},
      {"data that is not aligned",
       file_of(R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
               R"("a":{"dtype":"F64","shape":[],"data_offsets":[1,9]}})",
               "\x01\0\0\0\0\0\0\x14\x40"s)},
      {"names escaped in JSON",
       file_of(R"({"\u0061":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", "\x05")},
      {"an empty tensor between two",
       file_of(R"({"y":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},)"
               R"("e":{"dtype":"F32","shape":[3,0],"data_offsets":[1,1]},)"
               R"("a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
               "\x05\x06")},
      {"eight dimensions",
       file_of(R"({"a":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1],"data_offsets":[0,1]}})", "\x05")},
      {"empty metadata",
       file_of(R"({"__metadata__":{},"a":{"dtype":"U8","shape":[],"data_offsets":[0,1]}})",
               "\x05")},
  };
  for (const auto& [what, bytes] : rows) {
    SCOPED_TRACE(what);
    EXPECT_EQ(parse(bytes).tensors.at("a").item(), 5);
  }
}

// ---- hostile files ------------------------------------------------------------------------------

struct Hostile {
  std::string bytes;
  std::string why;
};

// A header with one tensor 'a' of the given members, before four bytes of data.
Hostile entry(const std::string& members, const std::string& why) {
  return {file_of("{\"a\":{" + members + "}}", "1234"), why};
}

Hostile entry(const char* dtype, const char* shape, const char* offsets, const std::string& why) {
  return entry(fmt::format(R"("dtype":{},"shape":{},"data_offsets":{})", dtype, shape, offsets),
               "tensor 'a': " + why);
}

std::vector<Hostile> bad_lengths() {
  constexpr auto largest = std::numeric_limits<std::uint64_t>::max();
  return {
      {"", "0 bytes are too few for a safetensors file, which begins with 8"},
      {"1234567", "7 bytes are too few for a safetensors file, which begins with 8"},
      {little_endian(0), "the header does not begin with '{'"},
      {little_endian(3) + "{}", "a header of 3 bytes, but only 2 follow"},
      {little_endian(100'000'000) + "{}", "a header of 100000000 bytes, but only 2 follow"},
      {little_endian(100'000'001) + "{}",
       "a header of 100000001 bytes, more than the 100000000 accepted"},
      {little_endian(largest) + "{}",
       "a header of 18446744073709551615 bytes, more than the 100000000 accepted"},
      {little_endian(largest - 7) + "{}",
       "a header of 18446744073709551608 bytes, more than the 100000000 accepted"},
  };
}

std::vector<Hostile> bad_json() {
  const std::string valid = R"({"dtype":"U8","shape":[4],"data_offsets":[0,4]})";
  return {
      {file_of(" {}"), "the header does not begin with '{'"},
      {file_of("\xef\xbb\xbf{}"), "the header does not begin with '{'"},
      {file_of("[]"), "the header does not begin with '{'"},
      {file_of("{"), "the header is not JSON from byte 2 on"},
      {file_of("{}x"), "the header is not JSON from byte 3 on"},
      {file_of("{}{}"), "the header is not JSON from byte 3 on"},
      {file_of("{}\0 {}"s), "the header is not JSON from byte 3 on"},
      {file_of("{/**/}"), "the header is not JSON from byte 2 on"},
      {file_of("{\"a\xff\":1}"), "the header is not JSON from byte 4 on"},
      {file_of(R"({"a":)" + valid + "},", "1234"), "the header is not JSON from byte 54 on"},
      {file_of("{\"a\":" + std::string(100'000, '[')), "'a' is a list, not an object"},
      {file_of("{\"a\":{\"shape\":" + std::string(100'000, '[')),
       "tensor 'a': shape holds a list, not a non-negative integer"},
      {file_of(R"({"a":null})"), "'a' is null, not an object"},
      {file_of(R"({"a":1})"), "'a' is a number, not an object"},
      {file_of("{\"" + std::string(100, 'n') + "\0\":true}"s),
       "the header is not JSON from byte 103 on"},
      {file_of("{\"" + std::string(100, 'n') + "\":true}"),
       "'" + std::string(60, 'n') + "...' is true or false, not an object"},
      {file_of(R"({"../\u0000\u00e9":1})"), R"('../\x00\xc3\xa9' is a number, not an object)"},
      {file_of(R"({"a":)" + valid + R"(,"a":)" + valid + "}", "1234"), "tensor 'a' occurs twice"},
      {file_of(R"({"a":)" + valid + R"(,"\u0061":)" + valid + "}", "1234"),
       "tensor 'a' occurs twice"},
      {file_of(R"({"__metadata__":1})"), "'__metadata__' is a number, not an object"},
      {file_of(R"({"__metadata__":{"k":1}})"), "__metadata__: 'k' is a number, not text"},
      {file_of(R"({"__metadata__":{"k":{}}})"), "__metadata__: 'k' is an object, not text"},
      {file_of(R"({"__metadata__":{"k":"a","k":"b"}})"), "__metadata__: key 'k' occurs twice"},
      {file_of(R"({"__metadata__":{},"__metadata__":{}})"), "__metadata__ occurs twice"},
  };
}

std::vector<Hostile> bad_entries() {
  return {
      entry("", "tensor 'a': has no dtype"),
      entry(R"("dtype":"U8")", "tensor 'a': has no shape"),
      entry(R"("dtype":"U8","shape":[4])", "tensor 'a': has no data_offsets"),
      entry(R"("dtype":"U8","dtype":"U8")", "tensor 'a': dtype occurs twice"),
      entry(R"("shape":[4],"shape":[4])", "tensor 'a': shape occurs twice"),
      entry(R"("data_offsets":[0,4],"data_offsets":[0,4])",
            "tensor 'a': data_offsets occurs twice"),
      entry(R"("dtypes":"U8")", "tensor 'a': key 'dtypes' is none of dtype, shape, data_offsets"),
      entry("7", "[4]", "[0,4]", "dtype is a number, not text"),
      entry("[]", "[4]", "[0,4]", "dtype is a list, not text"),
      entry("\"U8\"", "4", "[0,4]", "shape is a number, not a list"),
      entry("\"U8\"", "\"4\"", "[0,4]", "shape is text, not a list"),
      entry("\"U8\"", "{}", "[0,4]", "shape is an object, not a list"),
      entry("\"f32\"", "[4]", "[0,4]",
            "dtype 'f32' is none of F64 F32 BF16 F16 I64 I32 I8 U8 BOOL"),
      entry("\"F8_E4M3\"", "[4]", "[0,4]",
            "dtype 'F8_E4M3' is none of F64 F32 BF16 F16 I64 I32 I8 U8 BOOL"),
      entry("\"U8\"", "[-4]", "[0,4]", "shape holds a negative number, not a non-negative integer"),
      entry("\"U8\"", "[-0]", "[0,4]", "shape holds a negative number, not a non-negative integer"),
      entry("\"U8\"", "[4.0]", "[0,4]",
            "shape holds a fraction or a number beyond 64 bits, not a non-negative integer"),
      entry("\"U8\"", "[18446744073709551616]", "[0,4]",
            "shape holds a fraction or a number beyond 64 bits, not a non-negative integer"),
      entry("\"U8\"", "[\"4\"]", "[0,4]", "shape holds text, not a non-negative integer"),
      entry("\"U8\"", "[null]", "[0,4]", "shape holds null, not a non-negative integer"),
      entry("\"U8\"", "[[4]]", "[0,4]", "shape holds a list, not a non-negative integer"),
      entry("\"U8\"", "[1,1,1,1,1,1,1,1,4]", "[0,4]",
            "more than the 8 dimensions that Mettle takes"),
      entry("\"U8\"", "[18446744073709551615]", "[0,4]",
            "extent 18446744073709551615 is above 2^62"),
      // Products that wrap around to 0, to 4, and strides that would behind a 0.
      entry("\"U8\"", "[4294967296,4294967296]", "[0,0]",
            "shape (4294967296, 4294967296) has more than 2^62 bytes"),
      entry("\"F32\"", "[4611686018427387904]", "[0,0]",
            "shape (4611686018427387904,) has more than 2^62 bytes"),
      entry("\"U8\"", "[4611686018427387905,4]", "[0,4]",
            "extent 4611686018427387905 is above 2^62"),
      entry("\"U8\"", "[0,4611686018427387904,4611686018427387904]", "[0,0]",
            "shape (0, 4611686018427387904, 4611686018427387904) has more than 2^62 bytes"),
      entry("\"U8\"", "[4]", "[0]", "data_offsets are not two"),
      entry("\"U8\"", "[4]", "[]", "data_offsets are not two"),
      entry("\"U8\"", "[4]", "[0,4,4]", "data_offsets are more than two"),
      entry("\"U8\"", "[4]", "[0,-4]",
            "data_offsets holds a negative number, not a non-negative integer"),
      entry("\"U8\"", "[4]", "[0,4e0]",
            "data_offsets holds a fraction or a number beyond 64 bits, not a non-negative integer"),
      entry("\"U8\"", "[4]", "[4,0]", "ends at byte 0, before its begin at 4"),
      entry("\"U8\"", "[4]", "[18446744073709551612,0]",
            "ends at byte 0, before its begin at 18446744073709551612"),
      entry("\"F32\"", "[4]", "[0,4]", "f32 (4,) takes 16 bytes, its data_offsets span 4"),
      entry("\"U8\"", "[2]", "[0,4]", "u8 (2,) takes 2 bytes, its data_offsets span 4"),
      entry("\"U8\"", "[0]", "[0,4]", "u8 (0,) takes 0 bytes, its data_offsets span 4"),
      entry("\"U8\"", "[5]", "[0,5]", "ends at byte 5 of the data, which has 4"),
      entry("\"U8\"", "[4]", "[18446744073709551611,18446744073709551615]",
            "ends at byte 18446744073709551615 of the data, which has 4"),
  };
}

std::vector<Hostile> bad_places() {
  const auto two = [](const char* a, int a_size, const char* b, int b_size) {
    return file_of(fmt::format(R"({{"a":{{"dtype":"U8","shape":[{}],"data_offsets":{}}},)"
                               R"("b":{{"dtype":"U8","shape":[{}],"data_offsets":{}}}}})",
                               a_size, a, b_size, b),
                   "12345678");
  };
  return {
      {two("[0,4]", 4, "[0,4]", 4), "tensor 'b': begins at byte 0 of the data, inside of another"},
      {two("[0,5]", 5, "[4,8]", 4), "tensor 'b': begins at byte 4 of the data, inside of another"},
      {two("[0,8]", 8, "[4,4]", 0), "tensor 'b': begins at byte 4 of the data, inside of another"},
      {two("[0,3]", 3, "[4,8]", 4), "tensor 'b': 1 bytes of the data before it belong to none"},
      {two("[6,8]", 2, "[2,6]", 4), "tensor 'b': 2 bytes of the data before it belong to none"},
      {two("[0,4]", 4, "[4,7]", 3), "1 bytes behind the last tensor"},
      {two("[0,4]", 4, "[4,9]", 5), "tensor 'b': ends at byte 9 of the data, which has 8"},
      {file_of("{}", "x"), "1 bytes behind the last tensor"},
      {golden_bytes() + "\n", "1 bytes behind the last tensor"},
      {file_of(R"({"a":{"dtype":"BOOL","shape":[3],"data_offsets":[0,3]}})", "\0\x01\x02"s),
       "a BOOL tensor of shape (3,) holds a byte other than 0 and 1"},
  };
}

TEST_F(Safetensors, RefusesHostileFilesWithTheReason) {
  for (const auto& table : {bad_lengths(), bad_json(), bad_entries(), bad_places()}) {
    for (const Hostile& row : table) {
      SCOPED_TRACE(row.bytes.substr(0, 300));
      const std::string message = message_of<FileError>([&] { parse(row.bytes); });
      EXPECT_EQ(message, "f: " + row.why);
      write_file(file(), row.bytes);
      const std::string from_file = message_of<FileError>([&] { read_safetensors(file()); });
      EXPECT_EQ(from_file, file().string() + message.substr(1));
    }
  }
}

TEST_F(Safetensors, EveryTruncationIsRefused) {
  const std::string whole = golden_bytes();
  for (std::size_t size = 0; size < whole.size(); ++size)
    EXPECT_THROW(parse(whole.substr(0, size)), FileError) << size;
}

// ---- writing ------------------------------------------------------------------------------------

TEST_F(Safetensors, RefusesWhatItCannotWriteBeforeTouchingTheFile) {
  write_file(file(), "old");
  const Tensor one = Tensor::zeros({1});
  struct Row {
    TensorFile content;
    std::string why;
  };
  const Row rows[] = {
      {{{{"a", Tensor()}}, {}}, "write_safetensors: tensor 'a' is undefined"},
      {{{{"__metadata__", one}}, {}}, "write_safetensors: a tensor cannot be called __metadata__"},
      {{{{"a\xff", one}}, {}}, "write_safetensors: 'a\\xff' is not UTF-8"},
      {{{{"a", one}}, {{"k", "\xc3"}}}, "write_safetensors: '\\xc3' is not UTF-8"},
      {{{{"a", one}}, {{"k", repeated(100'000'000, 'x')}}},
       "write_safetensors: names and metadata make a header of at least 100000001 bytes, more than "
       "the 100000000 that the format allows"},
      {{{{"a", one}}, {{"k", repeated(50'000'000, '"')}}},
       "write_safetensors: names and metadata make a header of at least 100000080 bytes, more than "
       "the 100000000 that the format allows"},
      {{{{"a", one.expand({std::int64_t{1} << 61})}}, {}},
       "write_safetensors: more than 2^62 bytes with tensor 'a'"},
  };
  for (const Row& row : rows)
    EXPECT_EQ(message_of<ValueError>([&] { write_safetensors(file(), row.content); }), row.why);
  EXPECT_EQ(read_file(file()), "old");
  EXPECT_EQ(listing(), "model.safetensors");
}

TEST_F(Safetensors, AFullDiskLeavesTheOldFile) {
  write_safetensors(file(), golden());
  for (const rlim_t bytes : {0, 4, 100, 10'000}) {
    const test::FileSizeLimit limit(bytes);
    TensorFile large;
    large.tensors["a"] = Tensor::zeros({100'000});
    EXPECT_EQ(message_of<FileError>([&] { write_safetensors(file(), large); }),
              file().string() + ": writing failed: File too large");
  }
  expect_same(read_safetensors(file()), golden());
  EXPECT_EQ(listing(), "model.safetensors");
}

}  // namespace
}  // namespace mettle
