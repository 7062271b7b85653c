// Embedding and its adjoint: rows of the table of fused operations, what they refuse, and the
// sparse form of the gradient.
#include <gmock/gmock.h>

#include "tests/autograd/fused_table.h"

namespace mettle::test {
namespace {

using In = std::span<const Variable>;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

Variable ids_of(const Shape& shape, const std::vector<std::int64_t>& ids) {
  return Variable(Tensor::from(ids, shape));
}

/// (ids, V): 1 where position i holds id v, 0 for padding.
Variable one_hot(const Variable& ids, std::int64_t table_rows, std::int64_t padding, DType dtype) {
  const Variable flat = cast(reshape(ids, {-1, 1}), DType::i64);
  const Variable hit = cast(equal(flat, arange(table_rows)), dtype);
  return hit *
         cast(not_equal(flat, cast(full({}, static_cast<double>(padding)), DType::i64)), dtype);
}
Variable looked_up(const Variable& table, const Variable& ids, std::int64_t padding) {
  Shape shape = ids.shape();
  shape.push_back(table.size(1));
  return reshape(matmul(one_hot(ids, table.size(0), padding, table.dtype()), table), shape);
}

FusedRow row(const char* name, const Variable& table, const Variable& ids,
             std::int64_t padding = -1) {
  return {name,
          {table, ids},
          [=](In i) { return Variables{embedding(i[0], i[1], padding)}; },
          [=](In i) { return Variables{looked_up(i[0], i[1], padding)}; }};
}

FusedRow scatter_row(const char* name, const Variable& rows, const Variable& ids) {
  const auto expected = [](In i) {
    const Variable hot = one_hot(i[1], 4, 2, i[0].dtype());
    return Variables{matmul(transpose(hot, 0, 1), reshape(i[0], {-1, i[0].size(-1)}))};
  };
  return {
      name, {rows, ids}, [](In i) { return Variables{scatter_rows(i[0], i[1], 4, 2)}; }, expected};
}

TEST(Embedding, RefusesWithNamesAndTheRemedy) {
  const Variable table = random({3, 2}, 1), ids = ids_of({2}, {0, 2});
  EXPECT_THAT(message_of<ValueError>([&] {
                embedding(table, ids_of({3}, {0, 1, 3}));
              }),
              AllOf(HasSubstr("embedding: id 3"), HasSubstr("position 2"), HasSubstr("3 rows")));
  EXPECT_THAT(message_of<ValueError>([&] { embedding(table, ids_of({1}, {-1})); }),
              HasSubstr("id -1"));
  EXPECT_THAT(message_of<DTypeError>([&] { embedding(table, full({2}, 1)); }),
              AllOf(HasSubstr("embedding: ids"), HasSubstr("cast()")));
  EXPECT_THAT(message_of<DTypeError>([&] { embedding(arange(3), ids); }), HasSubstr("i64"));
  EXPECT_THAT(message_of<ShapeError>([&] { embedding(random({3}, 1), ids); }),
              AllOf(HasSubstr("(3,)"), HasSubstr("(V, D)")));
  EXPECT_THAT(message_of<ShapeError>([&] {
                scatter_rows(random({3, 2}, 1), ids, 4);
              }),
              AllOf(HasSubstr("scatter_rows"), HasSubstr("(3, 2)"), HasSubstr("(2,)")));
  EXPECT_THAT(message_of<ShapeError>([&] {
                sparse_rows(random({3, 2}, 1), ids, 4);
              }),
              HasSubstr("sparse_rows"));
}

TEST(Embedding, TheSparseGradientIsTheDenseOne) {
  const Variable table = random({6, 3}, 1).detach_requires_grad();
  const Variable ids = ids_of({2, 4}, {5, 1, 1, 3, 0, 5, 1, 3});  // 3 is padding
  const Variable rows = embedding(table, ids, 3);
  const Variable loss = sum(rows * rows * random({2, 4, 3}, 2));
  const SparseGradient sparse =
      sparse_rows(grad(loss, {rows}, {.retain_graph = true})[0], ids, table.size(0), 3);
  const Variable dense = grad(loss, {table})[0];
  EXPECT_THAT(sparse.ids.to_vector<std::int64_t>(), ElementsAre(0, 1, 5));
  const auto touched = embedding(dense, Variable(sparse.ids));
  EXPECT_EQ(sparse.rows.to_vector<double>(), touched.value().to_vector<double>());
  EXPECT_EQ(sum(dense).item(), sum(touched).item());
}

TEST(Embedding, NoIdsGiveAnEmptySparseGradient) {
  const SparseGradient none = sparse_rows(random({0, 3}, 1), ids_of({0}, {}), 5);
  EXPECT_EQ(none.ids.shape(), Shape({0}));
  EXPECT_EQ(none.rows.shape(), Shape({0, 3}));
}

}  // namespace

std::vector<FusedRow> embedding_rows() {
  const Variable table = random({4, 3}, 1);
  return {row("embedding", table, ids_of({2, 3}, {3, 0, 1, 1, 0, 1})),
          row("embedding_narrow_ids", table, cast(ids_of({4}, {2, 2, 2, 0}), DType::i32)),
          row("embedding_padding", table, ids_of({5}, {3, 0, 2, 0, 1}), 0),
          row("embedding_padding_outside", table, ids_of({3}, {4, 0, 4}), 4),
          row("embedding_one", table, ids_of({}, {2})),
          row("embedding_no_ids", table, ids_of({0}, {})),
          scatter_row("scatter_rows", random({2, 3, 2}, 1), ids_of({2, 3}, {3, 0, 2, 1, 3, 3})),
          scatter_row("scatter_rows_strided", transpose(random({2, 5}, 1), 0, 1),
                      slice(ids_of({10}, {0, 0, 1, 0, 2, 0, 3, 0, 1, 0}), 0, 0, to_end, 2))};
}

}  // namespace mettle::test
