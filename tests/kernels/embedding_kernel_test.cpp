// Embedding kernels: against plain loops, padding, refusals that write nothing, and the same bits
// for any number of threads.
#include "kernels/embedding.h"

#include <gmock/gmock.h>

#include "tests/kernels/kernel_test_util.h"
#include "tests/thread_counts.h"

namespace mettle::test {
namespace {

using namespace kernels;

struct Size {
  std::int64_t ids, rows, width, padding;
};
const Size sizes[] = {{0, 3, 2, -1},      {7, 3, 1, -1},        {40, 5, 7, 2},
                      {3000, 700, 33, 0}, {500, 70000, 16, -1}, {20000, 3, 8, 1}};

std::vector<std::int64_t> random_ids(const Size& s) {
  std::mt19937_64 engine(3);
  std::vector<std::int64_t> ids(static_cast<std::size_t>(s.ids));
  for (auto& id : ids)
    id = static_cast<std::int64_t>(engine() % static_cast<std::uint64_t>(s.rows));
  return ids;
}

class Problem {
 public:
  Problem(const Size& s, DType t)
      : size(s),
        dtype(t),
        ids(random_ids(s)),
        table(t, random_vec(s.rows * s.width, 1)),
        dout(t, random_vec(s.ids * s.width, 2)),
        out(t, s.ids * s.width),
        dtable(t, Vec(static_cast<std::size_t>(s.rows * s.width), 0.5)),
        rows(t, s.ids * s.width),
        unique(static_cast<std::size_t>(s.ids), -7) {}

  void run() {
    embedding_forward({}, {dtype, DType::i64, size.ids, size.rows, size.width, size.padding,
                           table.data(), ids.data(), out.data()});
    embedding_backward({}, {dtype, DType::i64, size.ids, size.rows, size.width, size.padding,
                            dout.data(), ids.data(), dtable.data()});
    embedding_sparse_backward({}, {dtype, DType::i64, size.ids, size.rows, size.width, size.padding,
                                   dout.data(), ids.data(), unique.data(), rows.data(), &count});
  }

  Size size;
  DType dtype;
  std::vector<std::int64_t> ids;
  Buffer table, dout, out, dtable, rows;
  std::vector<std::int64_t> unique;
  std::int64_t count = -1;
};

TEST(EmbeddingKernel, EqualsPlainLoops) {
  for (const DType dtype : float_dtypes)
    for (const Size& s : sizes) {
      Problem p(s, dtype);
      p.run();
      const Vec table = p.table.values(), dout = p.dout.values();
      const auto width = static_cast<std::size_t>(s.width);
      Vec out(dout.size()), sums(table.size());
      std::vector<bool> touched(static_cast<std::size_t>(s.rows));
      for (std::size_t i = 0; i < p.ids.size(); ++i) {
        if (p.ids[i] == s.padding) continue;
        const auto id = static_cast<std::size_t>(p.ids[i]);
        touched[id] = true;
        for (std::size_t j = 0; j < width; ++j) {
          out[i * width + j] = table[id * width + j];
          sums[id * width + j] += dout[i * width + j];
        }
      }
      EXPECT_EQ(p.out.values(), out);
      Vec dense = sums;
      for (double& x : dense) x += 0.5;  // what dtable held before
      const double most = static_cast<double>(s.ids);
      expect_close("dtable", p.dtable, Buffer(DType::f64, dense), most);
      std::size_t at = 0;
      const Vec rows = p.rows.values();
      for (std::size_t id = 0; id < touched.size(); ++id) {
        if (!touched[id]) continue;
        ASSERT_LT(at, p.unique.size());
        EXPECT_EQ(p.unique[at], static_cast<std::int64_t>(id));
        const Vec got(rows.begin() + static_cast<std::ptrdiff_t>(at * width),
                      rows.begin() + static_cast<std::ptrdiff_t>((at + 1) * width));
        const Vec want(sums.begin() + static_cast<std::ptrdiff_t>(id * width),
                       sums.begin() + static_cast<std::ptrdiff_t>((id + 1) * width));
        expect_close("row", Buffer(dtype, got), Buffer(DType::f64, want), most);
        ++at;
      }
      EXPECT_EQ(p.count, static_cast<std::int64_t>(at));
    }
}

TEST(EmbeddingKernel, SameBitsForAnyNumberOfThreads) {
  Problem once(sizes[3], DType::f32);
  once.run();
  for (const int count : kThreadCounts) {
    const Threads threads(count);
    Problem again(sizes[3], DType::f32);
    again.run();
    EXPECT_EQ(once.dtable, again.dtable);
    EXPECT_EQ(once.unique, again.unique);
    EXPECT_EQ(once.out, again.out);
  }
}

TEST(EmbeddingKernel, RefusesBeforeAnythingIsWritten) {
  Problem p(sizes[2], DType::f32);
  const Buffer out = p.out, dtable = p.dtable;
  for (const std::int64_t bad : {std::int64_t{5}, std::int64_t{-1}, std::int64_t{1} << 40}) {
    p.ids[39] = bad;
    EXPECT_THROW(p.run(), ValueError);
    EXPECT_THROW(embedding_backward({}, {DType::f32, DType::i64, 40, 5, 7, 2, p.dout.data(),
                                         p.ids.data(), p.dtable.data()}),
                 ValueError);
  }
  EXPECT_EQ(p.out, out);
  EXPECT_EQ(p.dtable, dtable);
  EXPECT_THROW(
      embedding_forward({}, {DType::i32, DType::i64, 0, 5, 7, -1, nullptr, nullptr, nullptr}),
      DTypeError);
  EXPECT_THROW(
      embedding_forward({}, {DType::f32, DType::f32, 0, 5, 7, -1, nullptr, nullptr, nullptr}),
      DTypeError);
}

}  // namespace
}  // namespace mettle::test
