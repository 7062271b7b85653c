// gather and scatter_add along an axis against plain loops, with lists that lines share and lists
// of their own; the sums in the order of the list.
#include "kernels/indexing.h"

#include "tests/kernels/operand.h"

namespace mettle::test {
namespace {

using namespace kernels;

enum class Lists : std::uint8_t { shared, of_outer, of_elements };

struct IndexCase {
  std::int64_t outer, size, n, inner;
  Lists lists;
};

const IndexCase cases[] = {
    {0, 3, 4, 2, Lists::shared},         {2, 3, 0, 5, Lists::shared},
    {1, 5, 7, 1, Lists::shared},         {3, 6, 40, 16, Lists::shared},
    {2, 70, 33, 7, Lists::shared},       {1, 4, 3000, 6, Lists::shared},
    {1, 1, 300, 24, Lists::shared},      {1, 100000, 200, 3, Lists::shared},
    {40, 12, 1, 1, Lists::of_outer},     {30, 9, 20, 8, Lists::of_outer},
    {2, 50, 2500, 1, Lists::of_outer},   {3, 8, 10, 5, Lists::of_elements},
    {4, 11, 60, 13, Lists::of_elements}, {300, 3, 17, 30, Lists::of_elements},
    {1, 7, 3000, 2, Lists::of_elements},
};

std::int64_t index_count(const IndexCase& c) {
  switch (c.lists) {
    case Lists::shared: return c.n;
    case Lists::of_outer: return c.outer * c.n;
    default: return c.outer * c.n * c.inner;
  }
}

LineIndex line_index(const IndexCase& c, const std::int64_t* index, const char* operation) {
  switch (c.lists) {
    case Lists::shared: return {operation, index, 0, 1, 0};
    case Lists::of_outer: return {operation, index, c.n, 1, 0};
    default: return {operation, index, c.n * c.inner, c.inner, 1};
  }
}

std::vector<std::int64_t> random_indices(const IndexCase& c) {
  std::mt19937_64 random(5);
  std::vector<std::int64_t> index(static_cast<std::size_t>(index_count(c)));
  for (auto& i : index)
    i = static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(c.size));
  return index;
}

/// Calls visit(place of (o, i, j), place of (o, index, j)).
template <class Visit>
void for_each_pair(const IndexCase& c, const std::vector<std::int64_t>& index, Visit&& visit) {
  const LineIndex at = line_index(c, index.data(), "");
  for (std::int64_t o = 0; o < c.outer; ++o)
    for (std::int64_t i = 0; i < c.n; ++i)
      for (std::int64_t j = 0; j < c.inner; ++j) {
        const std::int64_t k = index[static_cast<std::size_t>(
            o * at.outer_stride + i * at.axis_stride + j * at.inner_stride)];
        visit(static_cast<std::size_t>((o * c.n + i) * c.inner + j),
              static_cast<std::size_t>((o * c.size + k) * c.inner + j));
      }
}

std::string describe(const IndexCase& c, DType dtype) {
  return fmt::format("{}: ({}, {}, {}), {} indices, lists {}", to_string(dtype), c.outer, c.size,
                     c.inner, c.n, static_cast<int>(c.lists));
}

TEST(Indexing, GatherMovesElements) {
  for (const DType dtype : all_dtypes)
    for (const IndexCase& c : cases)
      for (const std::int64_t misaligned : {0, 1}) {
        const std::vector<std::int64_t> index = random_indices(c);
        const Array<std::int64_t> at(index);
        const Buffer x(dtype, random_vec(c.outer * c.size * c.inner, 1, 0, 99), misaligned);
        const Buffer y(dtype, c.outer * c.n * c.inner);
        gather(stream_under_test(), {dtype, c.outer, c.size, c.n, c.inner,
                                     line_index(c, at.data(), "gather"), x.data(), y.data()});
        const Vec from = x.values(), got = y.values();
        for_each_pair(c, index, [&](std::size_t to, std::size_t looked_up) {
          ASSERT_EQ(got[to], from[looked_up]) << describe(c, dtype) << ", element " << to;
        });
      }
}

// In the order of the list and in the dtype itself: the very bits of the loops.
TEST(Indexing, ScatterAddsInOrder) {
  for (const DType dtype : {DType::f64, DType::f32, DType::i64, DType::i32})
    for (const IndexCase& c : cases) {
      const std::vector<std::int64_t> index = random_indices(c);
      const Array<std::int64_t> at(index);
      const Buffer x(dtype, random_vec(c.outer * c.n * c.inner, 2, -50, 50));
      const Buffer y(dtype, Vec(static_cast<std::size_t>(c.outer * c.size * c.inner), 7.0));
      scatter_add(stream_under_test(),
                  {dtype, c.outer, c.size, c.n, c.inner, line_index(c, at.data(), "scatter_add"),
                   x.data(), y.data()});
      const Vec from = x.values();
      Vec want(static_cast<std::size_t>(c.outer * c.size * c.inner));
      for_each_pair(c, index, [&](std::size_t i, std::size_t to) {
        want[to] += from[i];
        if (dtype == DType::f32) want[to] = static_cast<float>(want[to]);
      });
      ASSERT_EQ(y.values(), want) << describe(c, dtype);
    }
}

TEST(Indexing, IndicesOutsideAreErrors) {
  for (const IndexCase& c : {cases[3], cases[5], cases[8], cases[12], cases[13]})
    for (const std::int64_t bad : {std::int64_t{-1}, c.size, std::int64_t{1} << 40}) {
      std::vector<std::int64_t> index = random_indices(c);
      index.back() = bad;
      const Array<std::int64_t> at(index);
      const Buffer wide(DType::f32, Vec(static_cast<std::size_t>(c.outer * c.size * c.inner)));
      const Buffer narrow(DType::f32, Vec(static_cast<std::size_t>(c.outer * c.n * c.inner)));
      const auto message = [&](const char* operation) {
        return fmt::format(
            "{}: index {} at position {} of its axis is outside an axis of {} "
            "elements",
            operation, bad, c.n - 1, c.size);
      };
      expect_refused(message("index_select"), [&] {
        gather(stream_under_test(),
               {DType::f32, c.outer, c.size, c.n, c.inner, line_index(c, at.data(), "index_select"),
                wide.data(), narrow.data()});
      });
      expect_refused(message("one_hot"), [&] {
        scatter_add(stream_under_test(),
                    {DType::f32, c.outer, c.size, c.n, c.inner, line_index(c, at.data(), "one_hot"),
                     narrow.data(), wide.data()});
      });
    }
}

TEST(Indexing, RefusesSumsInSixteenBits) {
  EXPECT_THROW(
      scatter_add(stream_under_test(),
                  {DType::bf16, 0, 1, 0, 1, {"scatter_add", nullptr, 0, 1, 0}, nullptr, nullptr}),
      DTypeError);
}

}  // namespace
}  // namespace mettle::test
