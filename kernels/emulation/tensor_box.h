// Boxes of tensors in device memory: what a TensorMap holds in the emulation, and the rows of a box
// with the part of each that lies inside of the tensor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "kernels/cuda/device_tensor_map.h"
#include "kernels/emulation/clock.h"
#include "kernels/emulation/places.h"

namespace mettle::emulation {

/// The content of a TensorMap; dimensions beyond the rank have size and box 1.
struct TensorImage {
  std::uint64_t mark;  // what is no tensor map has another one
  std::byte* base;
  std::int64_t size[dev::max_tensor_rank];
  std::int64_t stride[dev::max_tensor_rank];  // in bytes
  std::int32_t box[dev::max_tensor_rank];
  std::int32_t rank;
  dev::TensorElement element;
  dev::Swizzle swizzle;

  int row_bytes() const { return box[0] * dev::element_bytes(element); }
  int rows() const { return box[1] * box[2] * box[3]; }
  int bytes() const { return row_bytes() * rows(); }
};

/// One box, by the map and the place of its corner.
struct TensorBox {
  TensorImage map;
  int at[dev::max_tensor_rank];

  /// Row `row` of the box: `bytes` of it lie in the tensor at `inside`, the first of them after
  /// `skipped` bytes of the row. 0 bytes: none do.
  struct Row {
    std::byte* inside;
    int skipped;
    int bytes;
  };
  Row row(int row) const;
};

/// False when the map is none, or of another rank.
bool read_tensor_map(const dev::TensorMap* map, const int* at, int rank, TensorBox* box);

/// Copies packed rows to the tile in shared memory, and back.
void swizzle_row(const TensorBox& box, int row, const std::byte* packed, std::byte* tile);
void unswizzle_row(const TensorBox& box, int row, const std::byte* tile, std::byte* packed);

/// A store of a box, or an addition, that a thread has issued.
struct PendingStore {
  TensorBox box;
  const std::byte* from;
  bool add;
  Place place;
  std::vector<std::byte> data = {};  // packed, once it is read
};
struct StoreGroup {
  Clock number;  // from 1, in the order of commits
  bool read = false;
  std::vector<PendingStore> stores;
};
/// Those of one thread: committed groups whose bytes have not all arrived, and what is to be
/// committed next.
struct StoreQueue {
  Clock committed = 0;
  std::deque<StoreGroup> groups;
  std::vector<PendingStore> open;
};

}  // namespace mettle::emulation
