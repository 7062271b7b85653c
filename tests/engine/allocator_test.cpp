// The CPU allocator: reuse, alignment, statistics, bounds, and many threads at once. The allocator
// is the process's own, so tests compare statistics before and after.
#include "engine/allocator.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <thread>
#include <vector>

#include "engine/check.h"
#include "engine/tensor.h"

namespace mettle {
namespace {

constexpr std::size_t no_limit = std::numeric_limits<std::size_t>::max();
constexpr std::size_t default_cache = std::size_t{512} << 20;

Allocator& cpu() { return allocator(Device::cpu()); }

/// Restores the bounds and starts from an empty cache.
class AllocatorTest : public testing::Test {
 protected:
  AllocatorTest() { cpu().trim(); }
  ~AllocatorTest() override { cpu().set_limits(no_limit, default_cache); }
};

TEST_F(AllocatorTest, AFreedBlockServesTheNextRequestOfItsSizeClass) {
  void* first = cpu().allocate(1000);
  cpu().deallocate(first, 1000);
  const AllocatorStats before = cpu().stats();
  EXPECT_GE(before.cached_bytes, 1000u);
  void* second = cpu().allocate(1001);  // the same class
  EXPECT_EQ(second, first);
  const AllocatorStats after = cpu().stats();
  EXPECT_EQ(after.allocations, before.allocations + 1);
  EXPECT_EQ(after.system_calls, before.system_calls);
  EXPECT_EQ(after.cached_bytes, 0u);
  cpu().deallocate(second, 1001);
}

TEST_F(AllocatorTest, BlocksAreAlignedLargeEnoughAndWasteAtMostAQuarter) {
  for (std::size_t bytes = 1; bytes < (1u << 20); bytes = bytes * 5 / 4 + 1) {
    const AllocatorStats before = cpu().stats();
    void* block = cpu().allocate(bytes);
    ASSERT_EQ(reinterpret_cast<std::uintptr_t>(block) % 64, 0u);
    std::memset(block, 0xA5, bytes);  // the address sanitizer sees an overrun
    const std::size_t taken = cpu().stats().live_bytes - before.live_bytes;
    EXPECT_GE(taken, bytes);
    EXPECT_LE(taken, std::max<std::size_t>((bytes + 63) / 64 * 64, bytes * 5 / 4 + 64));
    cpu().deallocate(block, bytes);
    EXPECT_EQ(cpu().stats().live_bytes, before.live_bytes);
  }
}

TEST_F(AllocatorTest, ZeroBytesAreNull) {
  const AllocatorStats before = cpu().stats();
  EXPECT_EQ(cpu().allocate(0), nullptr);
  cpu().deallocate(nullptr, 0);
  EXPECT_EQ(cpu().stats().live_blocks, before.live_blocks);
  EXPECT_EQ(cpu().stats().allocations, before.allocations);
}

TEST_F(AllocatorTest, StatisticsFollowLiveBlocksAndTheirPeak) {
  const AllocatorStats before = cpu().stats();
  const std::size_t size = before.peak_live_bytes + (1u << 20);  // a new peak for sure
  void* block = cpu().allocate(size);
  const AllocatorStats during = cpu().stats();
  EXPECT_EQ(during.live_blocks, before.live_blocks + 1);
  EXPECT_GE(during.live_bytes, before.live_bytes + size);
  EXPECT_EQ(during.peak_live_bytes, during.live_bytes);
  cpu().deallocate(block, size);
  const AllocatorStats after = cpu().stats();
  EXPECT_EQ(after.live_bytes, before.live_bytes);
  EXPECT_EQ(after.live_blocks, before.live_blocks);
  EXPECT_EQ(after.peak_live_bytes, during.peak_live_bytes);
}

TEST_F(AllocatorTest, TheCacheStaysWithinItsBoundAndTrimEmptiesIt) {
  cpu().set_limits(no_limit, 10000);
  std::vector<void*> blocks(20);
  for (void*& block : blocks) block = cpu().allocate(1024);
  for (void* block : blocks) cpu().deallocate(block, 1024);
  EXPECT_EQ(cpu().stats().cached_bytes, 9u * 1024);
  cpu().set_limits(no_limit, 5000);  // a lower bound holds at once
  EXPECT_LE(cpu().stats().cached_bytes, 5000u);
  void* block = cpu().allocate(64);
  cpu().deallocate(block, 64);
  cpu().trim();
  EXPECT_EQ(cpu().stats().cached_bytes, 0u);
}

TEST_F(AllocatorTest, AFullCacheGivesUpTheClassThatWasUnusedForLongest) {
  cpu().set_limits(no_limit, 8192);
  const auto cycle = [](std::size_t bytes) {
    const std::uint64_t before = cpu().stats().system_calls;
    cpu().deallocate(cpu().allocate(bytes), bytes);
    return cpu().stats().system_calls > before;
  };
  cycle(4096);
  cycle(1024);
  EXPECT_FALSE(cycle(4096));  // now 1024 is the one unused for longest
  EXPECT_TRUE(cycle(3072));   // fills the cache
  EXPECT_TRUE(cycle(512));    // one block too many: 1024 goes
  EXPECT_EQ(cpu().stats().cached_bytes, 4096u + 3072 + 512);
  EXPECT_FALSE(cycle(4096));
  EXPECT_FALSE(cycle(3072));
  EXPECT_TRUE(cycle(1024));   // 512 goes
  EXPECT_TRUE(cycle(10240));  // larger than the cache: never kept, and nothing goes for it
  EXPECT_FALSE(cycle(3072));
}

TEST_F(AllocatorTest, BlocksFreedByAnotherThreadAreCountedAndServeIt) {
  const AllocatorStats before = cpu().stats();
  std::vector<void*> blocks(100);
  for (void*& block : blocks) block = cpu().allocate(2048);
  EXPECT_EQ(cpu().stats().live_blocks, before.live_blocks + 100);
  std::uint64_t system_calls = 1;
  std::thread([&] {
    for (void* block : blocks) cpu().deallocate(block, 2048);
    const std::uint64_t at_first = cpu().stats().system_calls;
    for (void*& block : blocks) block = cpu().allocate(2048);
    system_calls = cpu().stats().system_calls - at_first;
    for (void* block : blocks) cpu().deallocate(block, 2048);
  }).join();
  EXPECT_EQ(system_calls, 0u);
  const AllocatorStats after = cpu().stats();
  EXPECT_EQ(after.live_blocks, before.live_blocks);
  EXPECT_EQ(after.live_bytes, before.live_bytes);
  EXPECT_EQ(after.cached_bytes, 100u * 2048);
}

TEST_F(AllocatorTest, TheLiveBoundRefusesWithTheNumbersAndLeavesEverythingUsable) {
  const Tensor kept = Tensor::from(std::vector<float>{1, 2, 3, 4}, {4});
  const std::size_t live = cpu().stats().live_bytes;
  cpu().set_limits(live + 4096, default_cache);
  const AllocatorStats before = cpu().stats();
  try {
    Tensor::zeros({1 << 20});
    FAIL() << "the bound did not hold";
  } catch (const MemoryError& error) {
    EXPECT_EQ(error.message(),
              fmt::format("allocate: 4194304 bytes would pass the limit of {} with {} live; use "
                          "smaller batches or raise it with set_limits()",
                          live + 4096, live));
  }
  const AllocatorStats after = cpu().stats();
  EXPECT_EQ(after.live_bytes, before.live_bytes);
  EXPECT_EQ(after.live_blocks, before.live_blocks);
  EXPECT_EQ(after.allocations, before.allocations);
  EXPECT_EQ(kept.to_vector<float>(), (std::vector<float>{1, 2, 3, 4}));
  const Tensor small = Tensor::zeros({512});  // fits: 2 KB
  EXPECT_EQ(small.numel(), 512);
  cpu().set_limits(0, default_cache);  // below what is live already: nothing more, no wrap-around
  EXPECT_THROW(Tensor::zeros({1}), MemoryError);
  cpu().set_limits(no_limit, default_cache);
  EXPECT_EQ(Tensor::zeros({1 << 20}).numel(), 1 << 20);
}

TEST_F(AllocatorTest, SizesBeyondAnyMachineAreRefusedBeforeRounding) {
  for (const std::size_t bytes : {no_limit, no_limit - 63, std::size_t{1} << 62})
    EXPECT_THROW(cpu().allocate(bytes), MemoryError);
}

TEST_F(AllocatorTest, ManyThreadsGetDisjointBlocks) {
  const AllocatorStats before = cpu().stats();
  std::vector<std::thread> team;
  std::vector<int> spoiled(4, 0);
  for (unsigned t = 0; t < 4; ++t)
    team.emplace_back([t, &spoiled] {
      std::mt19937 random(t);
      std::vector<std::pair<std::uint32_t*, std::size_t>> mine;
      for (std::uint32_t round = 0; round < 4000; ++round) {
        if (mine.size() < 20) {
          const std::size_t words = 1 + random() % 600;
          auto* block = static_cast<std::uint32_t*>(cpu().allocate(words * 4));
          std::fill_n(block, words, t);
          mine.emplace_back(block, words);
        }
        if (random() % 3 == 0 && !mine.empty()) {
          std::swap(mine[random() % mine.size()], mine.back());
          const auto [block, words] = mine.back();
          for (std::size_t i = 0; i < words; ++i) spoiled[t] += block[i] != t;
          cpu().deallocate(block, words * 4);
          mine.pop_back();
        }
      }
      for (const auto& [block, words] : mine) cpu().deallocate(block, words * 4);
    });
  for (std::thread& member : team) member.join();
  EXPECT_EQ(spoiled, std::vector<int>(4, 0));
  EXPECT_EQ(cpu().stats().live_bytes, before.live_bytes);
  EXPECT_EQ(cpu().stats().live_blocks, before.live_blocks);
}

TEST(AllocatorOfDevice, CudaIsRefusedWithTheRemedy) {
  EXPECT_THROW(allocator(Device::cuda()), DeviceError);
  EXPECT_THROW(Tensor::empty({1}, DType::f32, Device::cuda()), DeviceError);
}

}  // namespace
}  // namespace mettle
