// How a matrix product is cut into blocks that threads compute on their own. The borders depend on
// the shape alone, so the bits of a result do not depend on the number of threads, and no thread
// waits for another inside of a product.
#pragma once

#include <algorithm>
#include <cstddef>

#include "kernels/matmul.h"

namespace mettle::kernels::cpu {

/// `x` moved by `elements`; null stays null.
inline const void* moved(const void* x, DType dtype, std::int64_t elements) {
  if (!x) return nullptr;
  return static_cast<const std::byte*>(x) + elements * static_cast<std::int64_t>(size_of(dtype));
}

/// Some rows and columns of C, or of several consecutive products' C.
struct MatmulBlock {
  MatmulArgs args;                      // the block's own extents and pointers
  std::int64_t c_row = 0, c_batch = 0;  // strides of C in elements

  /// The block's part of its product number i, without a batch.
  MatmulBlock item(std::int64_t i) const {
    MatmulBlock one = *this;
    MatmulArgs& part = one.args;
    part.a = moved(args.a, args.dtype, i * args.a_batch[0]);
    part.b = moved(args.b, args.dtype, i * args.b_batch[0]);
    part.c = const_cast<void*>(moved(args.c, args.dtype, i * c_batch));
    part.epilogue.bias = moved(args.epilogue.bias, args.dtype, i * args.epilogue.bias_batch[0]);
    part.batch = part.a_batch = part.b_batch = part.epilogue.bias_batch = {};
    return one;
  }
};

class MatmulBlocks {
 public:
  /// Of a product with at most one batch axis and without empty axes. It is not copied.
  explicit MatmulBlocks(const MatmulArgs& args)
      : args_(args), items_(args.batch.empty() ? 1 : args.batch[0]) {
    const std::int64_t item_work = 2 * args.m * args.n * args.k;
    if (2 * item_work <= least_work) {
      batch_ = std::min(items_, least_work / std::max<std::int64_t>(1, item_work));
    } else {
      columns_ = std::min(args.n, most_columns);
      const std::int64_t work_rows = least_work / std::max<std::int64_t>(1, 2 * args.k * columns_);
      const std::int64_t blocks = args.m / std::max(work_rows, least_rows);
      if (blocks > 1) rows_ = cuts(cuts(args.m, blocks), row_step) * row_step;
    }
    across_ = cuts(args.n, columns_);
    down_ = cuts(args.m, rows_);
  }

  std::int64_t count() const { return cuts(items_, batch_) * down_ * across_; }

  MatmulBlock operator[](std::int64_t index) const {
    const std::int64_t column = index % across_ * columns_;
    const std::int64_t row = index / across_ % down_ * rows_;
    const std::int64_t item = index / across_ / down_ * batch_;
    MatmulBlock block{args_, args_.n, args_.m * args_.n};
    MatmulArgs& part = block.args;
    part.m = std::min(rows_, args_.m - row);
    part.n = std::min(columns_, args_.n - column);
    std::int64_t a = row * args_.a_row, b = column * args_.b_column, bias = column;
    if (!args_.batch.empty()) {
      a += item * args_.a_batch[0];
      b += item * args_.b_batch[0];
      bias += item * args_.epilogue.bias_batch[0];
      part.batch[0] = std::min(batch_, items_ - item);
    }
    part.a = moved(args_.a, args_.dtype, a);
    part.b = moved(args_.b, args_.dtype, b);
    part.epilogue.bias = moved(args_.epilogue.bias, args_.dtype, bias);
    part.c = const_cast<void*>(
        moved(args_.c, args_.dtype, item * block.c_batch + row * block.c_row + column));
    return block;
  }

 private:
  // A block of a million operations takes ten microseconds, ten times what it costs to start it.
  // Every block packs its columns of B again, which hundreds of rows make up for.
  static constexpr std::int64_t least_work = 1 << 20;
  static constexpr std::int64_t least_rows = 256, most_columns = 512, row_step = 16;

  static std::int64_t cuts(std::int64_t n, std::int64_t by) { return (n + by - 1) / by; }

  const MatmulArgs& args_;
  std::int64_t items_;
  std::int64_t batch_ = 1, rows_ = args_.m, columns_ = args_.n;  // of one block
  std::int64_t across_ = 1, down_ = 1;
};

}  // namespace mettle::kernels::cpu
