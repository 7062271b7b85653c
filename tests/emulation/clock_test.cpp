// The parts of the race detector by themselves: clocks at barriers, and what the memory of accesses
// remembers.
#include "kernels/emulation/clock.h"

#include <gtest/gtest.h>

#include "kernels/emulation/shadow.h"

namespace mettle::emulation_test {
namespace {

using namespace mettle::emulation;

ThreadClock fresh(int actor, int actors = 8) {
  return {actor, 1, std::make_shared<const Clocks>(static_cast<std::size_t>(actors)), nullptr};
}

TEST(Clock, ABarrierOrdersThoseWhoMeet) {
  ThreadClock a = fresh(0), b = fresh(1), c = fresh(2);
  const Clock before = a.now;
  EXPECT_FALSE(b.sees(0, before));
  Gathering barrier(8);
  barrier.release(a);
  barrier.release(b);
  meet(a, barrier);
  meet(b, barrier);
  EXPECT_TRUE(b.sees(0, before));
  EXPECT_TRUE(a.sees(1, before));
  EXPECT_FALSE(c.sees(0, before));
  // What comes after is not ordered.
  EXPECT_FALSE(b.sees(0, a.now));
  // Equal clocks and one shared past after the barrier.
  EXPECT_EQ(a.now, b.now);
  EXPECT_EQ(a.seen, b.seen);
}

TEST(Clock, OrderGoesThroughThirds) {
  ThreadClock a = fresh(0), b = fresh(1), c = fresh(2);
  const Clock before = a.now;
  Gathering first(8), second(8);
  first.release(a);
  acquire(b, first.knowledge());
  second.release(b);
  acquire(c, second.knowledge());
  EXPECT_TRUE(c.sees(0, before));
  EXPECT_FALSE(a.sees(1, 1)) << "whoever only hands over learns nothing";
}

TEST(Clock, ThePastTravelsBetweenBlocks) {
  ThreadClock a = fresh(3);
  const Clock before = a.now;
  const auto past = exported(a, 5);
  ++a.now;
  ThreadClock b = fresh(0), same_block = fresh(1);
  acquire(b, 6, past);
  EXPECT_TRUE(b.sees(5, 3, before));
  EXPECT_FALSE(b.sees(5, 3, a.now));
  EXPECT_FALSE(b.sees(4, 3, before));
  acquire(same_block, 5, past);
  EXPECT_TRUE(same_block.sees(3, before));
}

TEST(Detector, RemembersEveryReaderSinceTheLastWrite) {
  Detector detector;
  detector.begin_launch(1);
  Shadow memory(64, false);
  std::vector<ThreadClock> readers;
  for (int i = 0; i < 100; ++i) readers.push_back(fresh(i, 128));
  ThreadClock writer = fresh(100, 128);
  const auto read = [&](const ThreadClock& who) {
    return detector.touch(memory, 8, 4, {1, &who, true, false, false, 1});
  };
  for (const ThreadClock& reader : readers) EXPECT_FALSE(read(reader));
  // The writer is told of all readers but one, whichever that is.
  for (const int missing : {0, 1, 31, 32, 63, 99}) {
    ThreadClock told = writer;
    Gathering barrier(128);
    for (ThreadClock reader : readers)
      if (reader.actor != missing) barrier.release(reader);
    acquire(told, barrier.knowledge());
    Shadow copy(64, false);
    for (const ThreadClock& reader : readers)
      detector.touch(copy, 8, 4, {1, &reader, true, false, false, 1});
    const auto conflict = detector.touch(copy, 8, 4, {1, &told, false, true, false, 2});
    ASSERT_TRUE(conflict) << missing;
    EXPECT_EQ(conflict->earlier.actor, missing);
    EXPECT_FALSE(conflict->earlier_write);
  }
}

TEST(Detector, TellsBytesApart) {
  Detector detector;
  detector.begin_launch(1);
  Shadow memory(64, false);
  const ThreadClock a = fresh(0), b = fresh(1);
  EXPECT_FALSE(detector.touch(memory, 0, 3, {1, &a, false, true, false, 1}));
  EXPECT_FALSE(detector.touch(memory, 3, 4, {1, &b, false, true, false, 2}));
  const auto conflict = detector.touch(memory, 0, 8, {1, &a, false, true, false, 3});
  ASSERT_TRUE(conflict);
  EXPECT_EQ(conflict->byte, 3u);
  EXPECT_EQ(conflict->earlier.place, 2u);
}

TEST(Detector, AtomicsAreNoRaceAmongThemselves) {
  Detector detector;
  detector.begin_launch(1);
  Shadow memory(64, false);
  const ThreadClock a = fresh(0), b = fresh(1);
  EXPECT_FALSE(detector.touch(memory, 0, 4, {1, &a, true, true, true, 1}));
  EXPECT_FALSE(detector.touch(memory, 0, 4, {2, &b, true, true, true, 2}));
  EXPECT_TRUE(detector.touch(memory, 0, 4, {1, &a, true, false, false, 3}));
}

TEST(Detector, LaunchesAreOrdered) {
  Detector detector;
  Shadow memory(64, false);
  const ThreadClock a = fresh(0);
  detector.begin_launch(1);
  EXPECT_FALSE(detector.touch(memory, 0, 4, {1, &a, false, true, false, 1}));
  EXPECT_TRUE(detector.touch(memory, 0, 4, {2, &a, true, false, false, 1}));
  detector.begin_launch(3);
  EXPECT_FALSE(detector.touch(memory, 0, 4, {3, &a, false, true, false, 1}));
}

TEST(Detector, AnotherBlocksReadCollidesWithAWrite) {
  Detector detector;
  detector.begin_launch(1);
  Shadow memory(64, false);
  const ThreadClock a = fresh(0);
  for (BlockId block = 1; block < 5; ++block)
    EXPECT_FALSE(detector.touch(memory, 0, 4, {block, &a, true, false, false, 1}));
  const auto conflict = detector.touch(memory, 0, 4, {5, &a, false, true, false, 2});
  ASSERT_TRUE(conflict);
  EXPECT_EQ(conflict->earlier.block, 4u);
}

}  // namespace
}  // namespace mettle::emulation_test
