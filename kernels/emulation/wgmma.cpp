// wgmma: the threads of a warpgroup meet to issue a multiply, and get its accumulators when they
// wait for the group that it was committed to, the latest moment that the hardware allows. Only
// then are the operands read: what has changed them since shows in the result.
//
// For the race detector a multiply reads its operands from the issue to the wait, ordered after
// what the threads knew at the issue: for B that of all threads, for 16 rows of A that of the warp
// that they belong to. Whoever learns of the wait of one warp knows that the multiply is done.
#include <fmt/format.h>

#include "kernels/emulation/block.h"

namespace mettle::emulation {
namespace {

constexpr int size = dev::warpgroup_size;

bool same_instruction(const Multiply& a, const Multiply& b) {
  return a.type == b.type && a.n == b.n && a.major_a == b.major_a && a.major_b == b.major_b &&
         a.add == b.add && a.a == b.a && a.b == b.b && !a.a_registers == !b.a_registers;
}

Operand operand_a(const Multiply& m) { return {m.a, m.major_a, m.type, 64}; }
Operand operand_b(const Multiply& m) { return {m.b, m.major_b, m.type, m.n}; }

// A as all threads together hold it: registers 2 j and 2 j + 1 of a lane are of rows l / 4 and l /
// 4
// + 8, in columns that start at 8 j for 16-bit types, at 4 j for tf32.
void gather_fragments(const IssuedMultiply& m, float (&a)[64][16]) {
  const bool wide = m.what.type == MatrixType::tf32;
  for (int thread = 0; thread < size; ++thread) {
    const int row = thread / 32 * 16 + thread % 32 / 4, t = thread % 4;
    for (int i = 0; i < 4; ++i) {
      const std::uint32_t bits = m.a[thread][i];
      float* at = a[row + i % 2 * 8] + i / 2 * (wide ? 4 : 8);
      if (wide) {
        at[t] = matrix_value(m.what.type, bits);
      } else {
        at[2 * t] = matrix_value(m.what.type, bits & 0xffffu);
        at[2 * t + 1] = matrix_value(m.what.type, bits >> 16);
      }
    }
  }
}

}  // namespace

void perform(const IssuedMultiply& m) {
  float a[64][16], b[16][256];
  const Operand left = operand_a(m.what), right = operand_b(m.what);
  const int depth = right.depth();
  if (m.what.a_registers) {
    gather_fragments(m, a);
  } else {
    for (int i = 0; i < 64; ++i)
      for (int k = 0; k < depth; ++k) a[i][k] = left.value(i, k);
  }
  for (int j = 0; j < m.what.n; ++j)
    for (int k = 0; k < depth; ++k) b[k][j] = right.value(j, k);
  for (int thread = 0; thread < size; ++thread)
    for (int i = 0; i < m.what.n / 2; ++i) {
      const int row = thread / 32 * 16 + thread % 32 / 4 + i / 2 % 2 * 8;
      const int column = i / 4 * 8 + thread % 4 * 2 + i % 2;
      float& d = m.d[thread]->value[static_cast<std::size_t>(i)];
      float sum = m.what.add ? d : 0.0f;
      for (int k = 0; k < depth; ++k) sum += a[row][k] * b[k][column];
      d = sum;
    }
}

void Block::multiply_async(Thread& thread, const Multiply& multiply, Place place) {
  const int first = thread.rank / size * size;
  if (first + size > threads())
    stop(Finding::inactive_lane, {place},
         "{} multiplies at {{0}} as one of a warpgroup of {} threads; the block ends before its "
         "last one",
         name_of(thread), size);
  thread.waiting = {.in = Waiting::In::warpgroup_operation, .place = place, .input = &multiply};
  for (int i = first; i < first + size; ++i) {
    const Thread& other = thread_[static_cast<std::size_t>(i)];
    if (other.waiting.in == Waiting::In::exited)
      stop(Finding::inactive_lane, {place},
           "{} multiplies at {{0}} with the rest of its warpgroup, of which {} has left the kernel",
           name_of(thread), name_of(other));
    if (other.waiting.in != Waiting::In::warpgroup_operation || other.waiting.place != place) {
      thread.fiber.suspend();  // until the last thread has issued the multiply
      return;
    }
  }
  issue(first / size, place);
  for (int i = first; i < first + size; ++i)
    if (i != thread.rank) wake(thread_[static_cast<std::size_t>(i)]);
  thread.waiting = {};
  maybe_yield(thread);
}

void Block::issue(int group, Place place) {
  Warpgroup& state = warpgroups_[static_cast<std::size_t>(group)];
  Thread* const lanes = thread_.data() + static_cast<std::ptrdiff_t>(group) * size;
  const auto of = [&](int i) -> const Multiply& {
    return *static_cast<const Multiply*>(lanes[i].waiting.input);
  };
  const Multiply& first = of(0);
  for (int i = 0; i < size; ++i) {
    if (!same_instruction(first, of(i)))
      stop(Finding::divergent_warp, {place},
           "{} and {} are of one warpgroup and give the multiply at {{0}} different operands",
           name_of(lanes[0]), name_of(lanes[i]));
    check_registers(lanes[i], of(i), place);
  }
  const std::int64_t number = ++state.issued;
  if (!first.a_registers) check_operand(lanes[0], operand_a(first), 'A', place);
  check_operand(lanes[0], operand_b(first), 'B', place);
  check_operand_reads(group, first, static_cast<Clock>(number), place);

  IssuedMultiply& issued = state.pending.emplace_back();
  issued.what = first;
  issued.number = number;
  for (int i = 0; i < size; ++i) {
    issued.a[i] = of(i).a_registers;
    issued.d[i] = lanes[i].registers.start(of(i).d, first.n / 2, number, place);
    if (first.a_registers) lanes[i].registers.start_fragment(issued.a[i], number, place);
  }
}

// Registers that somebody wrote are the multiply's after a fence.
void Block::check_registers(const Thread& thread, const Multiply& multiply, Place place) {
  const RegisterFile& registers = thread.registers;
  const auto d_bytes = static_cast<std::size_t>(multiply.n / 2) * sizeof(float);
  if (registers.entangled(multiply.d, multiply.n / 2))
    stop(Finding::bad_operand, {place, registers.under_way()},
         "{} multiplies at {{0}} into some of the accumulators of the multiply at {{1}}, which is "
         "under way: it takes all of them or none",
         name_of(thread));
  const bool d_fenced = registers.under_way(multiply.d) || registers.fenced({multiply.d, d_bytes});
  const auto* a = multiply.a_registers;
  const bool a_fenced = !a || registers.fenced({const_cast<std::uint32_t*>(a), 16});
  if ((d_fenced && a_fenced) || !machine_.is_new(Finding::missing_fence, place, 0)) return;
  machine_.note({Finding::missing_fence,
                 fmt::format("{} multiplies at {{0}} with {} that no fence_multiplies() has named, "
                             "or that have changed since",
                             name_of(thread), d_fenced ? "fragments" : "accumulators"),
                 {place}});
}

void Block::check_operand(const Thread& thread, const Operand& operand, char name, Place place) {
  if (const char* fault = operand.fault())
    stop(Finding::bad_operand, {place},
         "{} multiplies at {{0}} with a matrix {} in shared memory: {}", name_of(thread), name,
         fault);
}

void Block::check_operand_reads(int group, const Multiply& multiply, Clock now, Place place) {
  const int first = group * size;
  const Thread* lanes = thread_.data() + first;
  const auto read = [&](const Operand& operand, int row, int rows, const Thread& thread,
                        const ThreadClock& clock) {
    operand.for_each_unit(row, rows,
                          [&](const std::byte* at) { async_read(thread, clock, at, 16, place); });
  };
  if (!multiply.a_registers)
    for (int warp = 0; warp < Warpgroup::warps; ++warp) {
      const int lane = warp * dev::warp_size;
      read(operand_a(multiply), warp * 16, 16, lanes[lane],
           joint_clock(first + lane, dev::warp_size, warpgroup_actor(group), now));
    }
  read(operand_b(multiply), 0, multiply.n, lanes[0],
       joint_clock(first, size, warpgroup_actor(group), now));
}

void Block::commit_multiplies(const Thread& lane) {
  if (lane.rank / size >= static_cast<int>(warpgroups_.size())) return;
  Warpgroup& group = warpgroups_[static_cast<std::size_t>(lane.rank / size)];
  group.groups[lane.warp() % Warpgroup::warps].push_back(group.issued);
}

void Block::wait_multiplies(const Thread& lane, int groups_left) {
  const int number = lane.rank / size;
  if (number >= static_cast<int>(warpgroups_.size())) return;
  Warpgroup& group = warpgroups_[static_cast<std::size_t>(number)];
  auto& groups = group.groups[lane.warp() % Warpgroup::warps];
  const auto left = static_cast<std::size_t>(groups_left);
  if (groups.size() <= left) return;
  const auto end = groups.end() - static_cast<std::ptrdiff_t>(left);
  const std::int64_t done = *std::prev(end);
  groups.erase(groups.begin(), end);
  while (!group.pending.empty() && group.pending.front().number <= done) {
    perform(group.pending.front());
    group.pending.pop_front();
  }
  const int first = lane.warp() * dev::warp_size;
  for (int i = first; i < first + dev::warp_size; ++i) {
    Thread& thread = thread_[static_cast<std::size_t>(i)];
    thread.registers.land(done);
    learn(thread, warpgroup_actor(number), static_cast<Clock>(done));
  }
}

void Block::check_landed(const Thread& thread, const Registers& registers, Place place) {
  const Place issue = thread.registers.user(registers.at, registers.bytes, false);
  if (issue != 0)
    stop(Finding::in_flight, {place, issue},
         "{} waits at {{0}} for accumulators that the multiply issued at {{1}} still uses: commit "
         "it, and leave fewer groups",
         name_of(thread));
}

// ---- what the vocabulary calls ------------------------------------------------------------------
namespace {

void meet_to_fence(Block&, const Lanes&) {}

void commit_lanes(Block& block, const Lanes& lanes) { block.commit_multiplies(*lanes.thread[0]); }

void wait_lanes(Block& block, const Lanes& lanes) {
  block.wait_multiplies(*lanes.thread[0], *static_cast<const int*>(lanes.in[0]));
}

// Of all lanes of the warp.
void warp_does(Thread& thread, WarpFunction function, const void* input, Place place) {
  thread.block->warp_operation(thread, function, dev::full_warp, input, nullptr, place);
}

}  // namespace

void fence_multiplies(std::initializer_list<Registers> registers, Where where) {
  Thread& thread = self();
  for (const Registers& r : registers) thread.registers.fence(r);
  warp_does(thread, meet_to_fence, nullptr, thread.block->places().of(where));
}

void multiply_async(const Multiply& multiply, Where where) {
  Thread& thread = self();
  thread.block->multiply_async(thread, multiply, thread.block->places().of(where));
}

void commit_multiplies(Where where) {
  Thread& thread = self();
  warp_does(thread, commit_lanes, nullptr, thread.block->places().of(where));
}

void wait_multiplies(int groups_left, std::initializer_list<Registers> registers, Where where) {
  Thread& thread = self();
  Block& block = *thread.block;
  const Place place = block.places().of(where);
  warp_does(thread, wait_lanes, &groups_left, place);
  for (const Registers& r : registers) block.check_landed(thread, r, place);
}

}  // namespace mettle::emulation
