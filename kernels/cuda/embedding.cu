// Embedding look-up and its adjoint on a CUDA device.
#include "kernels/embedding.h"

#include "kernels/copy.h"
#include "kernels/cuda/embedding.cuh"
#include "kernels/cuda/indexing.h"
#include "kernels/cuda/register.h"
#include "kernels/cuda/scan.cuh"
#include "kernels/primitive_checks.h"

namespace mettle::kernels::cuda {
namespace {

void explain_id(std::int64_t position, std::int64_t id, std::int64_t table_rows) {
  throw_id_outside(id, position, table_rows);
}

/// Calls body(list of ids).
template <class Args, class Body>
void with_ids(const Stream& stream, const Args& args, Body&& body) {
  check_embedding(args.dtype, args.id_dtype);
  const FaultReporter fault = fault_reporter(stream, explain_id, args.table_rows);
  const auto with = [&]<class Id>(TypeTag<Id>) {
    body(IndexList<Id>{static_cast<const Id*>(args.ids), 0, 1, 0, args.table_rows, args.padding_id,
                       fault});
  };
  if (args.id_dtype == DType::i64)
    with(TypeTag<std::int64_t>{});
  else
    with(TypeTag<std::int32_t>{});
}

void run_forward(const Stream& stream, const EmbeddingForwardArgs& args) {
  with_ids(stream, args, [&](const auto& list) {
    gather_lines(stream, args.table, args.out, size_of(args.dtype), 1, args.n, args.width, list);
  });
}

template <bool onto, class Args>
void sum_rows(const Stream& stream, const Args& args, void* rows, const Runs& runs) {
  if (args.width == 0) return;
  dispatch_float(args.dtype, [&]<class T>() {
    sum_runs<onto>(stream, static_cast<const T*>(args.dout), static_cast<T*>(rows), 1, args.n,
                   args.width, runs);
  });
}

void run_backward(const Stream& stream, const EmbeddingBackwardArgs& args) {
  with_ids(stream, args, [&](const auto& list) {
    if (args.n == 0) return;
    LineSorter sorter(stream, 1, args.n, index_bits(args.table_rows));
    sort_indices(stream, sorter, grid3(1, args.n, 1), list);
    const Runs runs = {sorter.sorted_keys(), sorter.positions(), 0, 0, args.table_rows, nullptr};
    sum_rows<true>(stream, args, args.dtable, runs);
  });
}

void run_sparse_backward(const Stream& stream, const EmbeddingSparseBackwardArgs& args) {
  with_ids(stream, args, [&](const auto& list) {
    if (args.n == 0) return fill(stream, {args.count, DType::i64, 1, 0.0});
    LineSorter sorter(stream, 1, args.n, index_bits(args.table_rows));
    sort_indices(stream, sorter, grid3(1, args.n, 1), list);
    const std::int64_t tiles = (args.n + run_threads - 1) / run_threads;
    const auto n = static_cast<std::size_t>(args.n), count = static_cast<std::size_t>(tiles);
    Scratch scratch(stream, Scratch::sum(n * sizeof(std::uint32_t), count * sizeof(std::uint32_t)));
    auto* row_of = scratch.take<std::uint32_t>(n);
    auto* of_tile = scratch.take<std::uint32_t>(count);
    const SortedIds ids = {sorter.sorted_keys(), args.n,
                           static_cast<std::uint64_t>(args.table_rows)};
    const dev::LaunchShape shape = {{static_cast<int>(tiles)}, {run_threads}};
    dev::launch(count_runs_kernel, shape, stream, ids, of_tile);
    dev::launch(scan_chunks_kernel<std::uint32_t>, {{1}, {scan_threads}}, stream, of_tile,
                static_cast<int>(tiles), std::int64_t{1});
    dev::launch(number_runs_kernel, shape, stream, ids, of_tile, row_of, args.unique_ids,
                args.count);
    const Runs runs = {sorter.sorted_keys(), sorter.positions(), 0, 0, args.table_rows, row_of};
    sum_rows<false>(stream, args, args.rows, runs);
  });
}

}  // namespace

void register_embedding() {
  embedding_forward.add({"units", DeviceType::cuda, 0, nullptr, run_forward});
  embedding_backward.add({"runs", DeviceType::cuda, 0, nullptr, run_backward});
  embedding_sparse_backward.add({"runs", DeviceType::cuda, 0, nullptr, run_sparse_backward});
}

}  // namespace mettle::kernels::cuda
