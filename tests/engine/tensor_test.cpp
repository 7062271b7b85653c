// Views of tensors against an oracle that moves elements by brute force: the base tensor holds
// 0, 1, 2, ..., so an element's value is its place in the storage.
#include "engine/tensor.h"

#include <gtest/gtest.h>

#include <numeric>
#include <random>

#include "engine/half.h"
#include "tests/autograd/message_of.h"

namespace mettle {
namespace {

using test::message_of;

using Places = std::vector<std::int64_t>;

/// A tensor as the list of its elements in row-major order.
struct Model {
  Shape shape;
  Places places;
};

std::vector<Places> all_indices(const Shape& shape) {
  std::vector<Places> indices;
  Places index(shape.size(), 0);
  for (std::int64_t n = numel(shape); n > 0; --n) {
    indices.push_back(index);
    for (std::size_t axis = index.size(); axis-- > 0;) {
      if (++index[axis] < shape[static_cast<int>(axis)]) break;
      index[axis] = 0;
    }
  }
  return indices;
}

std::int64_t at(const Model& m, const Places& index) {
  std::int64_t flat = 0;
  for (std::size_t axis = 0; axis < index.size(); ++axis)
    flat = flat * m.shape[static_cast<int>(axis)] + index[axis];
  return m.places[static_cast<std::size_t>(flat)];
}

/// The model of `shape` whose element `index` is m's element `source(index)`.
template <class Source> Model moved(const Model& m, const Shape& shape, Source&& source) {
  Model out{shape, {}};
  for (const Places& index : all_indices(shape)) out.places.push_back(at(m, source(index)));
  return out;
}

/// A list of places is a strided view of `shape` when the place is an affine function of the index.
bool is_affine(const Model& m) {
  const auto indices = all_indices(m.shape);
  if (indices.empty()) return true;
  Places strides(m.shape.size(), 0);
  for (std::size_t axis = 0; axis < strides.size(); ++axis) {
    if (m.shape[static_cast<int>(axis)] < 2) continue;
    Places unit(m.shape.size(), 0);
    unit[axis] = 1;
    strides[axis] = at(m, unit) - m.places[0];
  }
  for (const Places& index : indices)
    if (at(m, index) !=
        std::inner_product(index.begin(), index.end(), strides.begin(), m.places[0]))
      return false;
  return true;
}

class Chain {
 public:
  explicit Chain(unsigned seed) : random_(seed) {
    Shape shape;
    for (int axis = pick(0, 4); axis > 0; --axis) shape.push_back(pick(1, 5));
    model_ = {shape, Places(static_cast<std::size_t>(numel(shape)))};
    std::iota(model_.places.begin(), model_.places.end(), std::int64_t{0});
    tensor_ = Tensor::from(model_.places, shape);
  }

  void step() {
    switch (pick(0, 5)) {
      case 0: return permute();
      case 1: return transpose();
      case 2: return slice();
      case 3: return expand();
      case 4: return unsqueeze();
      default: return view();
    }
  }

  void check() const {
    ASSERT_EQ(tensor_.shape(), model_.shape);
    ASSERT_EQ(tensor_.numel(), static_cast<std::int64_t>(model_.places.size()));
    ASSERT_EQ(tensor_.to_vector<std::int64_t>(), model_.places);
    Places dense(model_.places.size());
    std::iota(dense.begin(), dense.end(), dense.empty() ? 0 : model_.places[0]);
    ASSERT_EQ(tensor_.is_contiguous(), model_.places == dense);
    if (tensor_.numel() > 0) {
      ASSERT_EQ(*tensor_.data<std::int64_t>(), model_.places[0]);
    }
  }

 private:
  int pick(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_); }
  // An axis, counted from either end.
  int pick_axis() { return pick(-tensor_.rank(), tensor_.rank() - 1); }
  std::size_t from_front(int axis) const {
    return static_cast<std::size_t>(axis < 0 ? axis + tensor_.rank() : axis);
  }

  void permute() {
    std::vector<int> order(model_.shape.size());
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), random_);
    Shape shape;
    for (const int axis : order) shape.push_back(model_.shape[axis]);
    model_ = moved(model_, shape, [&](const Places& index) {
      Places source(index.size());
      for (std::size_t i = 0; i < index.size(); ++i)
        source[static_cast<std::size_t>(order[i])] = index[i];
      return source;
    });
    for (int& axis : order) axis -= pick(0, 1) * tensor_.rank();
    tensor_ = tensor_.permute(order);
  }

  void transpose() {
    if (tensor_.rank() == 0) return;
    const int a = pick_axis(), b = pick_axis();
    Shape shape = model_.shape;
    std::swap(shape[static_cast<int>(from_front(a))], shape[static_cast<int>(from_front(b))]);
    model_ = moved(model_, shape, [&](Places index) {
      std::swap(index[from_front(a)], index[from_front(b)]);
      return index;
    });
    tensor_ = tensor_.transpose(a, b);
  }

  void slice() {
    if (tensor_.rank() == 0) return;
    const int axis = pick_axis();
    const int size = static_cast<int>(model_.shape[static_cast<int>(from_front(axis))]);
    const int start = pick(0, size), stop = pick(start, size), step = pick(1, 3);
    if (start == stop && pick(0, 9) > 0) return;  // empty tensors end most chains: seldom
    Shape shape = model_.shape;
    std::int64_t count = 0;
    for (int i = start; i < stop; i += step) ++count;
    shape[static_cast<int>(from_front(axis))] = count;
    model_ = moved(model_, shape, [&](Places index) {
      index[from_front(axis)] = start + index[from_front(axis)] * step;
      return index;
    });
    tensor_ = tensor_.slice(axis, start, stop, step);
  }

  void expand() {
    Shape shape = model_.shape;
    for (int axis = 0; axis < shape.rank(); ++axis)
      if (shape[axis] == 1) shape[axis] = pick(1, 3);
    const int extra = shape.rank() < 6 ? pick(0, 1) : 0;
    if (extra) shape.insert(0, pick(1, 3));
    if (numel(shape) > 2000) return;
    const Model before = model_;
    model_ = moved(before, shape, [&](Places index) {
      if (extra) index.erase(index.begin());
      for (std::size_t axis = 0; axis < index.size(); ++axis)
        if (before.shape[static_cast<int>(axis)] == 1) index[axis] = 0;
      return index;
    });
    tensor_ = tensor_.expand(shape);
  }

  void unsqueeze() {
    if (tensor_.rank() >= 6) return;
    const int axis = pick(0, tensor_.rank());
    model_.shape.insert(axis, 1);
    tensor_ = tensor_.unsqueeze(axis);
  }

  // Any factorisation of the elements: seen as a view exactly when the oracle finds strides for it.
  void view() {
    std::int64_t rest = tensor_.numel();
    Shape shape;
    while (rest > 1 && shape.rank() < 5) {
      std::vector<std::int64_t> factors;
      for (std::int64_t f = 1; f <= rest; ++f)
        if (rest % f == 0) factors.push_back(f);
      shape.push_back(
          factors[static_cast<std::size_t>(pick(0, static_cast<int>(factors.size()) - 1))]);
      rest /= shape.at(-1);
    }
    if (rest != 1) shape.push_back(rest);
    const Model seen{shape, model_.places};
    ASSERT_EQ(tensor_.can_view(shape), is_affine(seen))
        << to_string(tensor_.shape()) << " strides " << to_string(tensor_.strides()) << " as "
        << to_string(shape);
    if (!tensor_.can_view(shape)) {
      EXPECT_THROW(tensor_.view(shape), ShapeError);
      return;
    }
    model_ = seen;
    tensor_ = tensor_.view(shape);
  }

  std::mt19937 random_;
  Model model_;
  Tensor tensor_;
};

TEST(TensorViews, RandomChainsAgreeWithMovingElements) {
  for (unsigned seed = 0; seed < 2000; ++seed) {
    Chain chain(seed);
    for (int step = 0; step < 6; ++step) {
      chain.step();
      chain.check();
      if (testing::Test::HasFatalFailure()) FAIL() << "seed " << seed << ", step " << step;
    }
  }
}

TEST(TensorViews, RefusalsNameWhatDoesNotFit) {
  const Tensor t = Tensor::zeros({2, 3});
  const std::vector<int> twice{0, 0}, few{0};
  EXPECT_EQ(message_of<Error>([&] { t.permute(twice); }), "permute: axis 0 is given twice");
  EXPECT_EQ(message_of<Error>([&] { t.permute(few); }), "permute: 1 axes given for shape (2, 3)");
  EXPECT_EQ(message_of<Error>([&] { t.slice(1, 2, 4); }),
            "slice: 2:4:1 does not fit axis 1 of shape (2, 3)");
  EXPECT_THROW(t.slice(1, 0, 3, 0), ShapeError);
  EXPECT_THROW(t.slice(1, -1, 2), ShapeError);
  EXPECT_THROW(t.transpose(0, 2), ShapeError);
  EXPECT_THROW(t.expand({3, 3}), ShapeError);
  EXPECT_THROW(t.expand({3}), ShapeError);
  EXPECT_EQ(message_of<Error>([&] { t.view({7}); }), "view: (2, 3) has 6 elements, (7,) has 7");
  EXPECT_EQ(message_of<Error>([&] { t.transpose(0, 1).view({6}); }),
            "view: shape (3, 2) with strides (1, 3) cannot be seen as (6,) without a copy; use "
            "reshape");
}

TEST(Tensor, AViewSharesBytesAndVersionWithItsBase) {
  const Tensor base = Tensor::zeros({4, 4});
  const Tensor view = base.slice(0, 1, 3).transpose(0, 1);
  *view.data<float>() = 7;
  EXPECT_EQ(base.to_vector<float>()[4], 7);
  view.note_write("test");
  EXPECT_EQ(base.version(), 1u);
  EXPECT_STREQ(base.storage()->last_writer(), "test");
}

TEST(Tensor, ConvertsAndRefusesWrongReads) {
  EXPECT_EQ(Tensor::from(std::vector<f16>{f16(1.5f)}, {}).item(), 1.5);
  EXPECT_EQ(Tensor::from(std::vector<std::int32_t>{-3}, {1, 1}).item(), -3);
  const Tensor t = Tensor::from(std::vector<float>{1, 2, 3}, {3});
  EXPECT_EQ(t.to_vector<double>(), (std::vector<double>{1, 2, 3}));
  EXPECT_EQ(message_of<Error>([&] { t.item(); }),
            "item: the tensor has shape (3,), not one element");
  EXPECT_EQ(message_of<Error>([&] { t.data<double>(); }), "tensor of dtype f32 read as f64");
  EXPECT_EQ(message_of<Error>([] { Tensor::from(std::vector<float>{1}, {2}); }),
            "Tensor::from: 1 values do not fill shape (2,)");
  EXPECT_EQ(describe(Tensor()), "undefined");
  EXPECT_EQ(describe(t), "f32 (3,) cpu");
}

TEST(Tensor, AnEmptyTensorHasNoElementsAndIsContiguous) {
  const Tensor t = Tensor::zeros({3, 0, 2});
  EXPECT_EQ(t.numel(), 0);
  EXPECT_TRUE(t.is_contiguous());
  EXPECT_TRUE(t.to_vector<float>().empty());
  EXPECT_TRUE(t.transpose(0, 2).can_view({0, 5}));
}

}  // namespace
}  // namespace mettle
