// Every word of the device vocabulary that touches data, alone and on fixed inputs: what it gives
// is compared with plain host computations, and with what a GPU gave.
//
// The same sources run in the emulation, as a test, and on a GPU, as the program conformance_cuda,
// which prints a line for each word. Such a run, stored as golden_sm90.txt, is what the emulation
// is held to: exactly for words that move data, within a tolerance for words that compute.
// Plain host code that nvcc takes, too.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iosfwd>
#include <string>
#include <vector>

#include "engine/device.h"

namespace mettle::conformance {

/// Results as 32-bit words; an f64 is two of them, the low one first.
using Bits = std::vector<std::uint32_t>;

/// Where words run.
class Device {
 public:
  virtual ~Device() = default;
  virtual Stream stream() = 0;
  /// Lives as long as the device.
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void upload(void* to, const void* from, std::size_t bytes) = 0;
  /// After everything that the stream has been given.
  virtual void download(void* to, const void* from, std::size_t bytes) = 0;

  template <class T> T* send(const std::vector<T>& values) {
    T* at = static_cast<T*>(allocate(values.size() * sizeof(T)));
    upload(at, values.data(), values.size() * sizeof(T));
    return at;
  }
  template <class T> T* zeros(std::size_t count) { return send(std::vector<T>(count, T{})); }
  template <class T> Bits fetch(const T* values, std::size_t count) {
    static_assert(sizeof(T) % sizeof(std::uint32_t) == 0);
    Bits bits(count * sizeof(T) / sizeof(std::uint32_t));
    download(bits.data(), values, count * sizeof(T));
    return bits;
  }
};

/// How results are compared. f32 and f64 differ by at most tolerance * max(1, |expected|).
enum class Kind { bits, f32, f64 };

struct Word {
  std::string name;
  Kind kind;
  double tolerance;
  Bits (*run)(Device& device, int number);
  Bits (*expect)(int number);
  int number = 0;  // passed to both: which case of several
};

/// All of them; names are unique.
std::vector<Word> words();
// Those of each file.
void add_warp_words(std::vector<Word>& words);
void add_memory_words(std::vector<Word>& words);
void add_number_words(std::vector<Word>& words);
void add_matrix_words(std::vector<Word>& words);
void add_tensor_words(std::vector<Word>& words);

/// What is wrong with `found`; empty when nothing is.
std::string difference(const Word& word, const Bits& found, const Bits& expected);

/// A line of golden data. Words that are compared exactly have their first values only.
struct Record {
  std::string name;
  std::size_t count;
  std::uint64_t hash;
  Bits values;
};
Record record_of(const Word& word, const Bits& found);
void write(std::ostream& out, const Record& record);
std::vector<Record> read_records(std::istream& in);
/// What is wrong with `found` by the record; empty when nothing is.
std::string difference(const Word& word, const Bits& found, const Record& golden);

// ---- inputs -------------------------------------------------------------------------------------
/// Fixed pseudo-random numbers, the same everywhere.
std::uint64_t random_bits(int stream, std::size_t i);
/// In [-1, 1), multiples of 2^-23.
std::vector<float> random_floats(int stream, std::size_t count);
/// Integers from -`largest` to `largest`.
std::vector<float> random_integers(int stream, std::size_t count, int largest);

template <class T> Bits bits_of_values(const std::vector<T>& values) {
  static_assert(sizeof(T) % sizeof(std::uint32_t) == 0);
  Bits bits(values.size() * sizeof(T) / sizeof(std::uint32_t));
  std::memcpy(bits.data(), values.data(), values.size() * sizeof(T));
  return bits;
}

}  // namespace mettle::conformance
