// The instances of the test kernels. Compiled by the host compiler with and without
// instrumentation, and by nvcc where there is one.
#include "tests/emulation/kernels.h"

#include "tests/emulation/attention.cuh"
#include "tests/emulation/fragments.cuh"
#include "tests/emulation/gemm.cuh"
#include "tests/emulation/mistakes.cuh"
#include "tests/emulation/ordering.cuh"
#include "tests/emulation/pipeline.cuh"
#include "tests/emulation/softmax.cuh"
#include "tests/emulation/warps.cuh"
#include "tests/emulation/with_constant.h"
#include "tests/emulation/words.cuh"

namespace mettle::emulation_test {
namespace {

int tiles(int n, int tile) { return (n + tile - 1) / tile; }

}  // namespace

void softmax(SoftmaxFault fault, const Stream& stream, const float* x, float* y, float* rows_done,
             int rows, int n) {
  with_constant<SoftmaxFault::plain_add>(fault, [&](auto f) {
    dev::launch(softmax_rows<decltype(f)::value>, {{rows, 1, 1}, {256, 1, 1}, 0}, stream, x, y,
                rows_done, n);
  });
}

void gemm(GemmFault fault, const Stream& stream, const GemmArgs& args) {
  with_constant<GemmFault::unpadded>(fault, [&](auto f) {
    const dev::Dim3 grid = {tiles(args.n, GemmTile::n), tiles(args.m, GemmTile::m), 1};
    dev::launch(gemm_tiles<decltype(f)::value>,
                {grid, {GemmTile::threads, 1, 1}, GemmTile::shared_bytes}, stream, args);
  });
}

void attention(AttentionFault fault, bool causal, const Stream& stream, int heads,
               const AttentionArgs& args) {
  with_constant<AttentionFault::no_key_bound>(fault, [&](auto f) {
    constexpr AttentionFault value = decltype(f)::value;
    const dev::LaunchShape shape = {{tiles(args.n, AttentionTile::rows), heads, 1},
                                    {AttentionTile::threads, 1, 1},
                                    AttentionTile::shared_bytes};
    if (causal)
      dev::launch(attention_forward<value, true>, shape, stream, args);
    else
      dev::launch(attention_forward<value, false>, shape, stream, args);
  });
}

void pipeline(PipelineFault fault, const Stream& stream, const float* x, float* y, int count) {
  with_constant<PipelineFault::wrong_bytes>(fault, [&](auto f) {
    dev::launch(pipeline_sums<decltype(f)::value>,
                {{1, 1, 1}, {128, 1, 1}, 2 * pipeline_columns * sizeof(float)}, stream, x, y,
                count);
  });
}

void exchange(ExchangeFault fault, const Stream& stream, const float* x, float* y) {
  with_constant<ExchangeFault::no_sync_after_read>(fault, [&](auto f) {
    dev::launch(exchange_neighbours<decltype(f)::value>, {{1, 1, 1}, {64, 1, 1}, 0}, stream, x, y);
  });
}

void votes(VotesFault fault, const Stream& stream, const int* in, VotesResult* out) {
  with_constant<VotesFault::divergent_lines>(fault, [&](auto f) {
    dev::launch(votes_and_shuffles<decltype(f)::value>, {{1, 1, 1}, {32, 1, 1}, 0}, stream, in,
                out);
  });
}

void ordering(Ordering how, const Stream& stream, const float* x, float* y) {
  with_constant<Ordering::atomics_without_fence>(how, [&](auto h) {
    dev::launch(write_then_read<decltype(h)::value>, {{1, 1, 1}, {128, 1, 1}, 0}, stream, x, y);
  });
}

void ticket_sum(TicketFault fault, const Stream& stream, const float* x, float* partial,
                int* ticket, float* total, int blocks) {
  with_constant<TicketFault::no_fence_after>(fault, [&](auto f) {
    dev::launch(add_by_ticket<decltype(f)::value>, {{blocks, 1, 1}, {32, 1, 1}, 0}, stream, x,
                partial, ticket, total);
  });
}

void shared_atomics(const Stream& stream, float* y, int blocks) {
  dev::launch(write_around_shared_atomics, {{blocks, 1, 1}, {32, 1, 1}, 0}, stream, y);
}

void two_copies(TwoCopiesFault fault, const Stream& stream, const float* x, float* y) {
  with_constant<TwoCopiesFault::wrong_mbarrier>(fault, [&](auto f) {
    dev::launch(copy_two<decltype(f)::value>, {{1, 1, 1}, {64, 1, 1}, 0}, stream, x, y);
  });
}

void mistake(Mistake which, const Stream& stream, const float* x, float* y) {
  with_constant<Mistake::other_threads_local>(which, [&](auto w) {
    constexpr Mistake value = decltype(w)::value;
    const std::size_t bytes = value == Mistake::static_beyond_limit ? dev::max_shared_bytes : 256;
    dev::launch(make_mistake<value>, {{1, 1, 1}, {32, 1, 1}, bytes}, stream, x, y);
  });
}

void write_ones(const Stream& stream, float* y, int blocks, int threads, int shared_bytes) {
  dev::launch(fill_with_ones,
              {{blocks, 1, 1}, {threads, 1, 1}, static_cast<std::size_t>(shared_bytes)}, stream, y);
}

void fragments(Fragments type, const Stream& stream, const float* a, const float* b, float* d) {
  const dev::LaunchShape shape = {{1, 1, 1}, {32, 1, 1}, 0};
  switch (type) {
    case Fragments::bf16: return dev::launch(multiply_halves<bf16>, shape, stream, a, b, d);
    case Fragments::f16: return dev::launch(multiply_halves<f16>, shape, stream, a, b, d);
    case Fragments::tf32: return dev::launch(multiply_tf32, shape, stream, a, b, d);
  }
}

void load_matrices(int count, bool transposed, const Stream& stream, const std::uint16_t* in,
                   std::uint32_t* out) {
  const dev::LaunchShape shape = {{1, 1, 1}, {32, 1, 1}, 0};
  const auto run = [&](auto matrices) {
    constexpr int value = decltype(matrices)::value;
    if (transposed)
      dev::launch(load_rows<value, true>, shape, stream, in, out);
    else
      dev::launch(load_rows<value, false>, shape, stream, in, out);
  };
  if (count == 1) run(std::integral_constant<int, 1>{});
  if (count == 2) run(std::integral_constant<int, 2>{});
  if (count == 4) run(std::integral_constant<int, 4>{});
}

void atomics(const Stream& stream, AtomicsResult* out) {
  dev::launch(use_atomics, {{1, 1, 1}, {64, 1, 1}, 0}, stream, out);
}

void vote_words(const Stream& stream, VoteWords* out) {
  dev::launch(use_votes, {{1, 1, 1}, {64, 1, 1}, 0}, stream, out);
}

void copy_words(const Stream& stream, const float* x, float* y) {
  dev::launch(use_copies, {{1, 1, 1}, {32, 1, 1}, 0}, stream, x, y);
}

void number_words(const Stream& stream, const float* x, NumberWords* out) {
  dev::launch(use_numbers, {{1, 1, 1}, {32, 1, 1}, 0}, stream, x, out);
}

}  // namespace mettle::emulation_test
