// Embedding lookup and its adjoint on the CPU. The adjoint sorts the positions by id (stable radix
// sort), then each touched row is summed by one thread in the order of positions: no atomics, the
// same bits for any number of threads.
#include "kernels/embedding.h"

#include "kernels/cpu/register.h"
#include "kernels/cpu/simd_targets.h"
#include "kernels/primitive_checks.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/embedding.cpp"
#include <hwy/foreach_target.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "engine/parallel.h"
#include "kernels/cpu/embedding_segments.h"
#include "kernels/cpu/row_blocks.h"
#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace mettle::kernels::cpu::HWY_NAMESPACE {
namespace {

/// out[j] = start[j] + sum over the positions of dout[position, j]; start may be null, or out
/// itself.
template <class T>
void sum_segment(const T* dout, std::int64_t width, const IdPosition* first, const IdPosition* last,
                 const T* start, T* out) {
  const hn::ScalableTag<accumulate_t<T>> d;
  for_lanes(d, static_cast<std::size_t>(width), [&](std::size_t j, auto span) METTLE_LANES {
    auto total = load_or(d, start, j, span, hn::Zero(d));
    for (const IdPosition* p = first; p != last; ++p)
      total = hn::Add(total, load(d, dout + p->position * width + j, span));
    store(d, total, out + j, span);
  });
}

/// Sums every segment into the row that row_of(segment) names.
template <class T, bool accumulate, class RowOf>
void sum_segments(const Segments& segments, const T* dout, std::int64_t width, RowOf row_of) {
  const std::int64_t count = segments.count();
  const std::int64_t elements = std::max<std::int64_t>(segments.positions() * width, 1);
  const std::int64_t grain = std::max<std::int64_t>(1, elements_per_task * count / elements);
  parallel_for(count, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t s = begin; s < end; ++s) {
      T* row = row_of(s);
      sum_segment(dout, width, segments.begin(s), segments.end(s), accumulate ? row : nullptr, row);
    }
  });
}

void dense(const EmbeddingBackwardArgs& a, const Segments& segments) {
  dispatch_float(a.dtype, [&]<class T>() {
    sum_segments<T, true>(segments, static_cast<const T*>(a.dout), a.width, [&](std::int64_t s) {
      return static_cast<T*>(a.dtable) + segments.id(s) * a.width;
    });
  });
}

void sparse(const EmbeddingSparseBackwardArgs& a, const Segments& segments) {
  dispatch_float(a.dtype, [&]<class T>() {
    sum_segments<T, false>(segments, static_cast<const T*>(a.dout), a.width,
                           [&](std::int64_t s) { return static_cast<T*>(a.rows) + s * a.width; });
  });
}

}  // namespace
}  // namespace mettle::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mettle::kernels::cpu {
namespace {
HWY_EXPORT(dense);
HWY_EXPORT(sparse);

template <class Id> void gather(const EmbeddingForwardArgs& a) {
  const std::size_t row_bytes = static_cast<std::size_t>(a.width) * size_of(a.dtype);
  const auto* ids = static_cast<const Id*>(a.ids);
  const auto* table = static_cast<const std::byte*>(a.table);
  auto* out = static_cast<std::byte*>(a.out);
  const std::int64_t grain =
      std::max<std::int64_t>(1, elements_per_task / std::max<std::int64_t>(a.width, 1));
  parallel_for(a.n, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      std::byte* row = out + static_cast<std::size_t>(i) * row_bytes;
      if (ids[i] == a.padding_id)
        std::memset(row, 0, row_bytes);
      else
        std::memcpy(row, table + static_cast<std::size_t>(ids[i]) * row_bytes, row_bytes);
    }
  });
}

template <class Args> void with_ids(const Args& a, auto&& body) {
  check_embedding(a.dtype, a.id_dtype);
  const auto checked = [&]<class Id>(TypeTag<Id>) {
    check_ids(static_cast<const Id*>(a.ids), a.n, a.table_rows, a.padding_id);
    body(TypeTag<Id>{});
  };
  a.id_dtype == DType::i64 ? checked(TypeTag<std::int64_t>{}) : checked(TypeTag<std::int32_t>{});
}

template <class Args> Segments segments_of(const Args& a) {
  Segments segments;
  with_ids(a, [&]<class Id>(TypeTag<Id>) {
    segments = Segments(static_cast<const Id*>(a.ids), a.n, a.table_rows, a.padding_id);
  });
  return segments;
}
}  // namespace

void register_embedding() {
  embedding_forward.add(
      {"rows", DeviceType::cpu, 10, nullptr, [](const Stream&, const EmbeddingForwardArgs& a) {
         with_ids(a, [&]<class Id>(TypeTag<Id>) { gather<Id>(a); });
       }});
  embedding_backward.add(
      {"sorted", DeviceType::cpu, 10, nullptr, [](const Stream&, const EmbeddingBackwardArgs& a) {
         HWY_DYNAMIC_DISPATCH(dense)(a, segments_of(a));
       }});
  embedding_sparse_backward.add({"sorted", DeviceType::cpu, 10, nullptr,
                                 [](const Stream&, const EmbeddingSparseBackwardArgs& a) {
                                   const Segments segments = segments_of(a);
                                   *a.count = segments.count();
                                   for (std::int64_t s = 0; s < segments.count(); ++s)
                                     a.unique_ids[s] = segments.id(s);
                                   HWY_DYNAMIC_DISPATCH(sparse)(a, segments);
                                 }});
}

}  // namespace mettle::kernels::cpu
#endif  // HWY_ONCE
