// Shape arithmetic. Every error names the operation it was asked for.
#include "engine/shape.h"

#include "engine/check.h"

namespace mettle {

void Dims::throw_rank(std::size_t rank) {
  fail<ShapeError>("shape: {} dimensions, at most {} are supported", rank, max_rank);
}

std::int64_t numel(const Shape& shape) {
  std::int64_t n = 1;
  bool overflow = false;
  for (const std::int64_t extent : shape) {
    METTLE_CHECK(ShapeError, extent >= 0, "shape {}: negative extent", to_string(shape));
    overflow = overflow || __builtin_mul_overflow(n, extent, &n);
    if (extent == 0) return 0;
  }
  METTLE_CHECK(ShapeError, !overflow && n <= (std::int64_t{1} << 62),
               "shape {}: more than 2^62 elements", to_string(shape));
  return n;
}

Strides contiguous_strides(const Shape& shape) {
  Strides strides = Strides::filled(shape.rank(), 1);
  for (int i = shape.rank() - 2; i >= 0; --i)
    strides[i] = strides[i + 1] * std::max<std::int64_t>(shape[i + 1], 1);
  return strides;
}

std::string to_string(const Dims& dims) {
  std::string text = "(";
  for (int i = 0; i < dims.rank(); ++i) text += (i ? ", " : "") + std::to_string(dims[i]);
  return text + (dims.rank() == 1 ? ",)" : ")");
}

Shape broadcast_shapes(const Shape& a, const Shape& b, std::string_view operation) {
  if (a == b) return a;
  const int rank = std::max(a.rank(), b.rank());
  Shape out = Shape::filled(rank, 1);
  for (int i = 1; i <= rank; ++i) {
    const std::int64_t x = i <= a.rank() ? a[a.rank() - i] : 1;
    const std::int64_t y = i <= b.rank() ? b[b.rank() - i] : 1;
    METTLE_CHECK(ShapeError, x == y || x == 1 || y == 1,
                 "{}: {} and {} do not broadcast: extents {} and {} differ and neither is 1",
                 operation, to_string(a), to_string(b), x, y);
    out[rank - i] = x == 1 ? y : x;
  }
  return out;
}

int normalize_axis(int axis, int rank, std::string_view operation) {
  METTLE_CHECK(ShapeError, axis >= -rank && axis < rank,
               "{}: axis {} is outside a tensor of rank {}", operation, axis, rank);
  return axis < 0 ? axis + rank : axis;
}

}  // namespace mettle
