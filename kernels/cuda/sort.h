// Sorting lines of keys on a CUDA device: what order, indexing and embedding share.
#pragma once

#include <cstdint>

#include "kernels/cuda/scratch.h"

namespace mettle::kernels::cuda {

/// `rows` lines of n keys below 2^bits. The caller's kernels write keys(), then sort() puts every
/// line into ascending order and remembers the position of each key in its line; equal keys keep
/// their order. ValueError for lines of 2^31 keys and more.
class LineSorter {
 public:
  LineSorter(const Stream& stream, std::int64_t rows, std::int64_t n, int bits);

  std::uint64_t* keys() { return keys_; }
  void sort();
  /// Sorted, after sort().
  const std::uint64_t* sorted_keys() const { return keys_; }
  const std::uint32_t* positions() const { return positions_; }

 private:
  void sort_long_lines();

  Stream stream_;
  std::int64_t rows_, n_;
  int bits_;
  Scratch scratch_;
  std::uint64_t* keys_;
  std::uint32_t* positions_;
};

}  // namespace mettle::kernels::cuda
