// Embedding kernels: against plain loops, padding, refusals, and the same bits for any number of
// threads.
#include "kernels/embedding.h"

#include <gmock/gmock.h>

#include "tests/kernels/operand.h"
#include "tests/thread_counts.h"

namespace mettle::test {
namespace {

using namespace kernels;

struct Size {
  std::int64_t ids, rows, width, padding;
};
const Size sizes[] = {{0, 3, 2, -1},       {7, 3, 1, -1},   {40, 5, 7, 2},    {2100, 700, 33, 0},
                      {500, 70000, 3, -1}, {2500, 3, 8, 1}, {60, 9, 24, -100}};

template <class Id> std::vector<Id> random_ids(const Size& s) {
  std::mt19937_64 engine(3);
  std::vector<Id> ids(static_cast<std::size_t>(s.ids));
  for (auto& id : ids) id = static_cast<Id>(engine() % static_cast<std::uint64_t>(s.rows));
  // A padding id need not be in the table.
  if (s.padding < -1) ids[ids.size() / 2] = static_cast<Id>(s.padding);
  return ids;
}

template <class Id = std::int64_t> class Problem {
 public:
  Problem(const Size& s, DType t) : Problem(s, t, random_ids<Id>(s)) {}
  Problem(const Size& s, DType t, std::vector<Id> given)
      : size(s),
        dtype(t),
        ids(std::move(given)),
        id_array(ids),
        table(t, random_vec(s.rows * s.width, 1)),
        dout(t, random_vec(s.ids * s.width, 2)),
        out(t, s.ids * s.width),
        dtable(t, Vec(static_cast<std::size_t>(s.rows * s.width), 0.5)),
        rows(t, s.ids * s.width),
        unique(std::vector<std::int64_t>(static_cast<std::size_t>(s.ids), -7)),
        count(std::vector<std::int64_t>{-1}) {}

  void forward() {
    embedding_forward(stream_under_test(),
                      {dtype, dtype_of<Id>, size.ids, size.rows, size.width, size.padding,
                       table.data(), id_array.data(), out.data()});
  }
  void backward() {
    embedding_backward(stream_under_test(),
                       {dtype, dtype_of<Id>, size.ids, size.rows, size.width, size.padding,
                        dout.data(), id_array.data(), dtable.data()});
  }
  void sparse_backward() {
    embedding_sparse_backward(
        stream_under_test(),
        {dtype, dtype_of<Id>, size.ids, size.rows, size.width, size.padding, dout.data(),
         id_array.data(), unique.data(), rows.data(), count.data()});
  }
  void run() {
    forward();
    backward();
    sparse_backward();
  }

  Size size;
  DType dtype;
  std::vector<Id> ids;
  Array<Id> id_array;
  Buffer table, dout, out, dtable, rows;
  Array<std::int64_t> unique, count;
};

template <class Id> void check_against_loops(const Size& s, DType dtype) {
  Problem<Id> p(s, dtype);
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
  const std::vector<std::int64_t> unique = p.unique.values();
  for (std::size_t id = 0; id < touched.size(); ++id) {
    if (!touched[id]) continue;
    ASSERT_LT(at, unique.size());
    EXPECT_EQ(unique[at], static_cast<std::int64_t>(id));
    const Vec got(rows.begin() + static_cast<std::ptrdiff_t>(at * width),
                  rows.begin() + static_cast<std::ptrdiff_t>((at + 1) * width));
    const Vec want(sums.begin() + static_cast<std::ptrdiff_t>(id * width),
                   sums.begin() + static_cast<std::ptrdiff_t>((id + 1) * width));
    expect_close("row", dtype, got, want, most);
    ++at;
  }
  EXPECT_EQ(p.count.values()[0], static_cast<std::int64_t>(at));
}

TEST(EmbeddingKernel, EqualsPlainLoops) {
  for (const DType dtype : float_dtypes)
    for (const Size& s : sizes) {
      check_against_loops<std::int64_t>(s, dtype);
      if (s.ids <= 100) check_against_loops<std::int32_t>(s, dtype);
    }
}

// The sums are made in the order of the positions, in f32, and rounded once: whoever makes them.
TEST(EmbeddingKernel, GradientHasTheBitsOfTheLoop) {
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const Size& s : {sizes[2], sizes[3], sizes[5]}) {
      Problem<> p(s, dtype);
      std::vector<float> sums(static_cast<std::size_t>(s.rows * s.width), 0.5f);
      const Vec dout = p.dout.values();
      const auto width = static_cast<std::size_t>(s.width);
      for (std::size_t i = 0; i < p.ids.size(); ++i)
        for (std::size_t j = 0; j < width && p.ids[i] != s.padding; ++j)
          sums[static_cast<std::size_t>(p.ids[i]) * width + j] +=
              static_cast<float>(dout[i * width + j]);
      p.backward();
      EXPECT_EQ(p.dtable, Buffer(dtype, Vec(sums.begin(), sums.end())));
    }
}

TEST(EmbeddingKernel, SameBitsForAnyNumberOfThreads) {
  Problem<> once(sizes[3], DType::f32);
  once.run();
  for (const int count : kThreadCounts) {
    const Threads threads(count);
    Problem<> again(sizes[3], DType::f32);
    again.run();
    EXPECT_EQ(once.dtable, again.dtable);
    EXPECT_EQ(once.unique.values(), again.unique.values());
    EXPECT_EQ(once.out, again.out);
  }
}

TEST(EmbeddingKernel, IdsOutsideOfTheTableAreErrors) {
  for (const Size& s : {sizes[2], sizes[3]})
    for (const std::int64_t bad : {s.rows, std::int64_t{-1}, std::int64_t{1} << 40}) {
      std::vector<std::int64_t> ids = random_ids<std::int64_t>(s);
      ids[39] = bad;
      Problem<> p(s, DType::f32, ids);
      const std::string message =
          fmt::format("embedding: id {} at position 39 is outside a table of {} rows", bad, s.rows);
      expect_refused(message, [&] { p.forward(); });
      expect_refused(message, [&] { p.backward(); });
      expect_refused(message, [&] { p.sparse_backward(); });
    }
}

TEST(EmbeddingKernel, RefusesOtherDtypes) {
  EXPECT_THROW(embedding_forward(stream_under_test(),
                                 {DType::i32, DType::i64, 0, 5, 7, -1, nullptr, nullptr, nullptr}),
               DTypeError);
  EXPECT_THROW(embedding_forward(stream_under_test(),
                                 {DType::f32, DType::f32, 0, 5, 7, -1, nullptr, nullptr, nullptr}),
               DTypeError);
}

}  // namespace
}  // namespace mettle::test
