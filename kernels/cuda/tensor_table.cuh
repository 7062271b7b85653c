// One launch over a list of tensors: a table of them travels as a kernel parameter, and every block
// works on a piece of one. Nothing is copied to the device before, and a captured graph holds the
// table by value.
#pragma once

#include <cstdint>
#include <iterator>
#include <vector>

#include "kernels/cuda/device.cuh"

namespace mettle::kernels::cuda {

/// Entries are plain and carry `n`, the elements of their tensor, and `first_piece`, which
/// launch_over_tensors() fills in.
template <class Entry, int Bytes> struct TensorTable {
  static constexpr int capacity = (Bytes - 16) / static_cast<int>(sizeof(Entry));
  std::int32_t count;
  std::int64_t pieces_before;  // in earlier launches over the same list
  Entry at[capacity];
};

/// Kernel parameters take 32764 bytes together; a launch carries no more of them than it needs.
inline constexpr int small_table_bytes = 2 << 10, medium_table_bytes = 8 << 10,
                     large_table_bytes = 28 << 10;

/// The elements [begin, end) of tensor `entry` that the block works on.
struct TensorPiece {
  int entry;
  std::int64_t begin, end;
};

template <int PieceSize, class Table> METTLE_DEVICE TensorPiece tensor_piece(const Table& table) {
  const int piece = dev::block_index().x;
  int low = 0, high = table.count;  // the last entry that begins at or before the piece
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (table.at[middle].first_piece <= piece)
      low = middle;
    else
      high = middle;
  }
  const std::int64_t begin = std::int64_t{PieceSize} * (piece - table.at[low].first_piece);
  const std::int64_t left = table.at[low].n - begin;
  return {low, begin, begin + (left < PieceSize ? left : PieceSize)};
}

/// Calls body<N>(i) for the pack of N elements from i on, for all of the piece: packs as far as the
/// tensor's operands allow them, then one by one.
template <int Threads, int Pack, class Body>
METTLE_DEVICE void each_of_piece(const TensorPiece& piece, bool packs, Body&& body) {
  std::int64_t single = piece.begin;
  if (packs) {
    single = piece.begin + (piece.end - piece.begin) / Pack * Pack;
    for (std::int64_t i = piece.begin + std::int64_t{Pack} * dev::thread_rank(); i < single;
         i += Pack * Threads)
      body.template operator()<Pack>(i);
  }
  for (std::int64_t i = single + dev::thread_rank(); i < piece.end; i += Threads)
    body.template operator()<1>(i);
}

// ---- host side ----------------------------------------------------------------------------------

/// How many pieces the list has.
template <int PieceSize, class Entry> std::int64_t count_pieces(const std::vector<Entry>& entries) {
  std::int64_t pieces = 0;
  for (const Entry& e : entries) pieces += (e.n + PieceSize - 1) / PieceSize;
  return pieces;
}

template <int PieceSize, int Bytes, class Entry, class Launch>
void launch_in_tables(const std::vector<Entry>& entries, const Launch& launch) {
  using Table = TensorTable<Entry, Bytes>;
  std::int64_t before = 0;
  for (std::size_t first = 0; first < entries.size();) {
    Table table{};
    table.pieces_before = before;
    std::int64_t pieces = 0;
    // A grid has fewer than 2^31 blocks; a tensor that fills one by itself fits no memory.
    while (first < entries.size() && table.count < Table::capacity && pieces < (1 << 30)) {
      Entry& entry = table.at[table.count++] = entries[first++];
      entry.first_piece = static_cast<std::int32_t>(pieces);
      pieces += (entry.n + PieceSize - 1) / PieceSize;
    }
    launch(table, static_cast<int>(pieces));
    before += pieces;
  }
}

/// Calls launch(table, blocks) for as few tables as hold the entries; none has n = 0.
template <int PieceSize, class Entry, class Launch>
void launch_over_tensors(const std::vector<Entry>& entries, const Launch& launch) {
  const auto fit = [&](int capacity) { return std::ssize(entries) <= capacity; };
  if (fit(TensorTable<Entry, small_table_bytes>::capacity))
    launch_in_tables<PieceSize, small_table_bytes>(entries, launch);
  else if (fit(TensorTable<Entry, medium_table_bytes>::capacity))
    launch_in_tables<PieceSize, medium_table_bytes>(entries, launch);
  else
    launch_in_tables<PieceSize, large_table_bytes>(entries, launch);
}

}  // namespace mettle::kernels::cuda
