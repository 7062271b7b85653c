// The emulated test kernels as host functions, and the mistakes that each can be given. Plain host
// code: what includes this is compiled without instrumentation.
#pragma once

#include <cstdint>

#include "engine/device.h"
#include "engine/half.h"

namespace mettle::emulation_test {

// ---- softmax.cuh --------------------------------------------------------------------------------
enum class SoftmaxFault {
  none,
  missing_sync,
  divergent_barrier,
  shared_bounds,
  global_bounds,
  early_return,
  plain_add,
};
/// y (rows, n) = softmax of the rows of x; adds `rows` to *rows_done.
void softmax(SoftmaxFault fault, const Stream& stream, const float* x, float* y, float* rows_done,
             int rows, int n);

// ---- gemm.cuh -----------------------------------------------------------------------------------
enum class GemmFault {
  none,
  missing_wait,
  no_sync_after_wait,
  no_sync_at_end,
  no_row_bound,
  unpadded,  // right, but rows of a tile collide in the banks
};
struct GemmArgs {
  const bf16* a;
  const bf16* b;
  float* c;
  int m;
  int n;
  int k;
};
/// c (m, n) = a (m, k) b (k, n); n and k are multiples of 8.
void gemm(GemmFault fault, const Stream& stream, const GemmArgs& args);

// ---- attention.cuh ------------------------------------------------------------------------------
enum class AttentionFault {
  none,
  missing_wait,
  no_sync_after_wait,
  no_sync_at_end,
  no_max_over_lanes,  // mathematics: every lane its own maximum
  no_key_bound,       // mathematics: keys beyond n take part
};
struct AttentionArgs {
  const bf16* q;
  const bf16* k;
  const bf16* v;
  bf16* o;
  float* lse;
  int n;
  float scale_log2;  // scale times log2(e)
};
/// All matrices are (heads, n, 64), lse (heads, n).
void attention(AttentionFault fault, bool causal, const Stream& stream, int heads,
               const AttentionArgs& args);

// ---- pipeline.cuh -------------------------------------------------------------------------------
enum class PipelineFault {
  none,
  no_full_wait,
  no_empty_wait,
  full_for_empty,  // the producer waits for its own copies in place of the readers
  wrong_parity,
  wrong_bytes,
};
inline constexpr int pipeline_columns = 96;
/// y (96) = the sums of the columns of x (tiles, 96).
void pipeline(PipelineFault fault, const Stream& stream, const float* x, float* y, int tiles);

// ---- warps.cuh ----------------------------------------------------------------------------------
enum class ExchangeFault { none, no_sync_after_write, no_sync_after_read };
/// y[i] = 2 x[i], 64 threads that pass values to their neighbours twice.
void exchange(ExchangeFault fault, const Stream& stream, const float* x, float* y);

enum class VotesFault { none, half_warp, inactive_lane, divergent_lines };
struct VotesResult {
  std::uint32_t ballot;  // of in[i] != 0
  int any;               // whether some in[i] is 7
  int count;             // of in[i] != 0
  int sum;               // of in[i]
  int down;              // in[4], by a shuffle of 8 lanes
  int up;                // in[30], by a shuffle
};
/// One warp.
void votes(VotesFault fault, const Stream& stream, const int* in, VotesResult* out);

// ---- ordering.cuh -------------------------------------------------------------------------------
/// How a write of warp 0 reaches a reader in another warp.
enum class Ordering {
  block_barrier,
  named_barrier,
  named_arrive,        // the writer arrives, the reader waits
  named_chain,         // over a third warp
  mbarrier_each_lane,  // every lane arrives
  mbarrier_one_lane,   // sync_warp, then one lane arrives
  atomics,             // fence, atomic, atomic, fence
  release_acquire,     // store_release, load_acquire
  // From here on nothing orders them.
  nothing,
  other_warps_barrier,     // two other warps meet
  named_arrive_backwards,  // the reader arrives, the writer waits
  mbarrier_without_warp,   // one lane arrives, without sync_warp
  shuffle_only,            // readers in the same warp, after a shuffle
  atomics_without_fence,
};
inline constexpr int first_unordered = static_cast<int>(Ordering::nothing);
/// y[i] = x[i] for 32 i.
void ordering(Ordering how, const Stream& stream, const float* x, float* y);

enum class TicketFault { none, no_fence_before, no_fence_after };
/// *total = the sum of x (blocks * 32), made by the block that finishes last; *ticket is 0 before.
void ticket_sum(TicketFault fault, const Stream& stream, const float* x, float* partial,
                int* ticket, float* total, int blocks);

/// Every block writes *y, with atomics in its shared memory before and after.
void shared_atomics(const Stream& stream, float* y, int blocks);

enum class TwoCopiesFault { none, wrong_mbarrier };
/// y (32) = x (32), through a bulk copy beside another one.
void two_copies(TwoCopiesFault fault, const Stream& stream, const float* x, float* y);

// ---- mistakes.cuh -------------------------------------------------------------------------------
enum class Mistake {
  uninitialised,
  uninitialised_atomic,
  misaligned_copy,
  misaligned_row,
  unfinished_copy,
  unfinished_bulk,
  named_barrier_missing,
  named_barrier_count,
  mbarrier_uninitialised,
  mbarrier_over_arrival,
  static_beyond_limit,
  dynamic_beyond_launch,
  dynamic_overlap,
  past_the_end,
  before_the_start,
  block_copy_past_the_end,
  other_threads_local,
};
/// 32 threads; x and y have 64 floats.
void mistake(Mistake which, const Stream& stream, const float* x, float* y);
/// y[i] = 1 for 32 i.
void write_ones(const Stream& stream, float* y, int blocks, int threads, int shared_bytes);

// ---- fragments.cuh ------------------------------------------------------------------------------
enum class Fragments { bf16, f16, tf32 };
/// d (16, 8) = a (16, k) b (k, 8), k = 16 or for tf32 8, from plain loads by the PTX ISA's tables.
void fragments(Fragments type, const Stream& stream, const float* a, const float* b, float* d);
/// out (lanes, count) = what ldmatrix gives each lane of `count` matrices, 8 x 8 each, at `in`.
void load_matrices(int count, bool transposed, const Stream& stream, const std::uint16_t* in,
                   std::uint32_t* out);

// ---- words.cuh ----------------------------------------------------------------------------------
struct AtomicsResult {
  int sum_of_int;
  std::int64_t sum_of_int64;
  double sum_of_double;
  int smallest;
  std::uint32_t largest;
  int exchanged;
  int sum_of_exchanged;
  int product;
};
/// 64 threads; *out is all 0 before.
void atomics(const Stream& stream, AtomicsResult* out);

struct VoteWords {
  bool all, not_all, none, any, every, not_every;
  int bits;
  float largest;
  double in_segment;
  int down;
  float half;
};
/// What thread 13 of 64 is told.
void vote_words(const Stream& stream, VoteWords* out);

/// y (64) = x (64), but zeros in the last three.
void copy_words(const Stream& stream, const float* x, float* y);

struct NumberWords {
  float exp2, exp, log, quotient, rsqrt;
  double rsqrt_f64;
  float larger, smaller;
  double larger_f64, smaller_f64;
  int clamped;
  float bf16_rounded, f16_rounded, same;
  std::uint32_t packed;  // x and -x in f16
  float of_four;
};
/// Functions of x (32), all positive.
void number_words(const Stream& stream, const float* x, NumberWords* out);

// ---- language.cpp, for host compilers only ------------------------------------------------------
struct LanguageCounters {
  std::uint8_t of_8, last_8;
  std::uint16_t of_16, last_16;
  std::uint32_t of_32, last_32;
  std::uint64_t of_64, last_64;
};
/// 32 threads add 2 to every counter and leave 7 in every last; all 0 before.
void language_counters(const Stream& stream, LanguageCounters* out);
/// *sum = the sum of the numbers of the blocks; *counter is 0 before.
void language_ticket(bool ordered, const Stream& stream, int* numbers, int* counter, int* sum,
                     int blocks);
enum class MemoryFunction { copy, move, set };
/// All threads copy the same `bytes` from x to y, or set them.
void memory_function(MemoryFunction function, const Stream& stream, int threads, const float* x,
                     float* y, int bytes);

/// Whether the example of the documentation does what it says.
bool the_example_doubles();

}  // namespace mettle::emulation_test
