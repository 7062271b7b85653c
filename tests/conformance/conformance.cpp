// Comparing, recording, and the inputs.
#include "tests/conformance/conformance.h"

#include <cmath>
#include <istream>
#include <ostream>
#include <sstream>

namespace mettle::conformance {
namespace {

constexpr std::size_t values_of_exact_words = 8;

double value_at(Kind kind, const Bits& bits, std::size_t i) {
  if (kind == Kind::f64) {
    double value;
    std::memcpy(&value, bits.data() + 2 * i, sizeof(value));
    return value;
  }
  float value;
  std::memcpy(&value, bits.data() + i, sizeof(value));
  return value;
}

bool near(double found, double expected, double tolerance) {
  if (std::isnan(expected)) return std::isnan(found);
  if (std::isinf(expected)) return found == expected;
  return std::fabs(found - expected) <= tolerance * std::fmax(1.0, std::fabs(expected));
}

// FNV-1a.
std::uint64_t hash_of(const Bits& bits) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const std::uint32_t word : bits)
    for (int shift = 0; shift < 32; shift += 8)
      hash = (hash ^ ((word >> shift) & 0xffu)) * 0x100000001b3u;
  return hash;
}

}  // namespace

std::vector<Word> words() {
  std::vector<Word> all;
  add_warp_words(all);
  add_memory_words(all);
  add_number_words(all);
  add_matrix_words(all);
  add_tensor_words(all);
  return all;
}

std::string difference(const Word& word, const Bits& found, const Bits& expected) {
  std::ostringstream text;
  if (found.size() != expected.size()) {
    text << found.size() << " words of results in place of " << expected.size();
    return text.str();
  }
  const std::size_t count = word.kind == Kind::f64 ? found.size() / 2 : found.size();
  for (std::size_t i = 0; i < count; ++i) {
    if (word.kind == Kind::bits) {
      if (found[i] == expected[i]) continue;
      text << "result " << i << " is " << std::hex << "0x" << found[i] << ", expected 0x"
           << expected[i];
    } else {
      const double f = value_at(word.kind, found, i), e = value_at(word.kind, expected, i);
      if (near(f, e, word.tolerance)) continue;
      text.precision(17);
      text << "result " << i << " is " << f << ", expected " << e;
    }
    return text.str();
  }
  return {};
}

Record record_of(const Word& word, const Bits& found) {
  Record record{word.name, found.size(), hash_of(found), found};
  if (word.kind == Kind::bits && found.size() > values_of_exact_words)
    record.values.resize(values_of_exact_words);
  return record;
}

void write(std::ostream& out, const Record& record) {
  out << record.name << ' ' << std::dec << record.count << std::hex << ' ' << record.hash;
  for (const std::uint32_t value : record.values) out << ' ' << value;
  out << std::dec << '\n';
}

// Lines that start with # are comments.
std::vector<Record> read_records(std::istream& in) {
  std::vector<Record> records;
  for (std::string line; std::getline(in, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream words(line);
    Record record{};
    words >> record.name >> record.count >> std::hex >> record.hash;
    for (std::uint32_t value; words >> value;) record.values.push_back(value);
    records.push_back(std::move(record));
  }
  return records;
}

std::string difference(const Word& word, const Bits& found, const Record& golden) {
  if (word.kind != Kind::bits) return difference(word, found, golden.values);
  const Record own = record_of(word, found);
  if (own.count != golden.count) return "another number of results";
  if (own.hash == golden.hash) return {};
  const std::string first = difference(word, own.values, golden.values);
  return first.empty() ? "another hash, in results behind the first" : first;
}

// splitmix64
std::uint64_t random_bits(int stream, std::size_t i) {
  std::uint64_t z =
      (static_cast<std::uint64_t>(stream) << 32) + (std::uint64_t{i} + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

std::vector<float> random_floats(int stream, std::size_t count) {
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i)
    values[i] = static_cast<float>(random_bits(stream, i) >> 40) * 0x1p-23f - 1.0f;
  return values;
}

std::vector<float> random_integers(int stream, std::size_t count, int largest) {
  std::vector<float> values(count);
  const std::uint64_t range = 2 * static_cast<std::uint64_t>(largest) + 1;
  for (std::size_t i = 0; i < count; ++i)
    values[i] = static_cast<float>(static_cast<int>(random_bits(stream, i) % range) - largest);
  return values;
}

}  // namespace mettle::conformance
