// Copies of boxes of tensors: which byte goes where, for every swizzle and rank, with corners
// outside of the tensor; layouts that are refused; a diagnosis for every mistake.
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <vector>

#include "engine/check.h"
#include "tests/emulation/hopper.h"
#include "tests/emulation/planted.h"

namespace mettle::emulation_test {
namespace {

using dev::Swizzle;
using dev::TensorElement;
using dev::TensorLayout;
using emulation::Finding;
using emulation::Machine;

// The places of the first rows of 128 bytes, as the figures of the CUDA programming guide show
// them ("Shared-memory bank swizzling"): unit u of row r is where unit u xor r would be; rows of 64
// and 32 bytes change at every second and fourth one.
TEST(Tma, SwizzlesMoveUnitsWithinTheirRow) {
  constexpr int count = 2048;
  Machine machine;
  int* of[4];
  for (int*& offsets : of) offsets = machine.allocate<int>(count);
  swizzle_offsets(machine.stream(), of[0], of[1], of[2], of[3], count);
  for (int i = 0; i < count; ++i) {
    EXPECT_EQ(of[0][i], i);
    EXPECT_EQ(of[1][i], i / 32 * 32 + ((i % 32 / 16) ^ (i / 32 / 4 % 2)) * 16 + i % 16);
    EXPECT_EQ(of[2][i], i / 64 * 64 + ((i % 64 / 16) ^ (i / 64 / 2 % 4)) * 16 + i % 16);
    EXPECT_EQ(of[3][i], i / 128 * 128 + ((i % 128 / 16) ^ (i / 128 % 8)) * 16 + i % 16);
  }
}

int place_of(Swizzle swizzle, int row, int byte, int row_bytes) {
  const int at = row * row_bytes + byte, width = dev::swizzle_width(swizzle);
  if (swizzle == Swizzle::none) return at;
  const int unit = byte / 16 ^ (row * width / 128) % (width / 16);
  return row * row_bytes + unit * 16 + byte % 16;
}

// A box in a tensor of pitched rows, whose values are its offsets.
struct Boxed {
  TensorLayout layout;
  int at[4];
};

template <class T> class Tensor {
 public:
  Tensor(Machine& machine, const Boxed& boxed) : boxed_(boxed) {
    std::int64_t bytes = boxed.layout.size[0] * dev::element_bytes(boxed.layout.element);
    for (int i = 1; i < boxed.layout.rank; ++i)
      bytes += (boxed.layout.size[i] - 1) * boxed.layout.stride_bytes[i - 1];
    count_ = static_cast<std::size_t>(bytes) / sizeof(T);
    data_ = machine.allocate<T>(count_);
    boxed_.layout.base = data_;
  }
  const TensorLayout& layout() const { return boxed_.layout; }
  T* data() const { return data_; }
  std::size_t count() const { return count_; }

  // Calls f(row of the box, element in the row, element of the tensor or null).
  template <class F> void for_each(F&& f) const {
    const TensorLayout& l = boxed_.layout;
    int box[4] = {1, 1, 1, 1};
    for (int i = 0; i < l.rank; ++i) box[i] = l.box[i];
    int i[4];
    for (i[3] = 0; i[3] < box[3]; ++i[3])
      for (i[2] = 0; i[2] < box[2]; ++i[2])
        for (i[1] = 0; i[1] < box[1]; ++i[1])
          for (i[0] = 0; i[0] < box[0]; ++i[0]) {
            bool inside = true;
            std::int64_t byte = 0;
            for (int j = 0; j < l.rank; ++j) {
              const std::int64_t c = boxed_.at[j] + i[j];
              inside = inside && c >= 0 && c < l.size[j];
              byte += c * (j == 0 ? std::int64_t{sizeof(T)} : l.stride_bytes[j - 1]);
            }
            f((i[3] * box[2] + i[2]) * box[1] + i[1], i[0],
              inside ? data_ + byte / std::int64_t{sizeof(T)} : nullptr);
          }
  }

 private:
  Boxed boxed_;
  T* data_;
  std::size_t count_;
};

constexpr auto f32 = TensorElement::f32, half = TensorElement::bf16;
const Boxed boxes[] = {
    {{f32, nullptr, 2, {40, 20}, {176}, {8, 5}, Swizzle::none}, {4, 3}},
    {{f32, nullptr, 2, {37, 20}, {160}, {32, 16}, Swizzle::bytes_128}, {16, 9}},
    {{f32, nullptr, 2, {37, 20}, {160}, {16, 16}, Swizzle::bytes_64}, {-5, -7}},
    {{f32, nullptr, 2, {37, 20}, {160}, {8, 32}, Swizzle::bytes_32}, {33, 1}},
    {{half, nullptr, 2, {72, 20}, {160}, {64, 16}, Swizzle::bytes_128}, {16, 9}},
    {{half, nullptr, 2, {72, 20}, {160}, {64, 16}, Swizzle::bytes_128}, {80, 9}},
    {{TensorElement::f16, nullptr, 3, {50, 7, 5}, {112, 800}, {32, 4, 3}, Swizzle::bytes_64},
     {3, -1, 3}},
    {{half, nullptr, 4, {64, 6, 5, 3}, {128, 768, 3840}, {64, 3, 2, 2}, Swizzle::bytes_128},
     {0, 4, 4, 2}},
    {{f32, nullptr, 4, {12, 3, 4, 5}, {48, 144, 576}, {12, 2, 3, 4}, Swizzle::none},
     {-1, 2, -2, 0}},
};

template <class T> void expect_tile(const Boxed& boxed) {
  Machine machine;
  const Tensor<T> tensor(machine, boxed);
  for (std::size_t i = 0; i < tensor.count(); ++i) tensor.data()[i] = static_cast<T>(1 + i);
  const int bytes = dev::box_bytes(boxed.layout);
  auto* tile = machine.allocate<std::uint32_t>(static_cast<std::size_t>(bytes) / 4);
  const auto reports = reports_of([&] {
    tensor_tile(boxed.layout.rank, machine.stream(), tensor_map(tensor.layout()), boxed.at, bytes,
                tile);
  });
  for (const auto& report : reports) FAIL() << report.text;
  tensor.for_each([&](int row, int i, const T* element) {
    const int size = static_cast<int>(sizeof(T));
    T found;
    std::memcpy(&found,
                reinterpret_cast<std::byte*>(tile) +
                    place_of(boxed.layout.swizzle, row, i * size, boxed.layout.box[0] * size),
                sizeof(T));
    ASSERT_EQ(found, element ? *element : T{0}) << "row " << row << ", element " << i;
  });
}

TEST(Tma, CopiesPutEveryElementInItsPlace) {
  for (const Boxed& boxed : boxes) {
    if (boxed.layout.element == f32)
      expect_tile<std::uint32_t>(boxed);
    else
      expect_tile<std::uint16_t>(boxed);
  }
}

template <class T> void expect_stored(const Boxed& boxed) {
  Machine machine;
  const Tensor<T> tensor(machine, boxed);
  std::vector<T> expected(tensor.count(), T{7});
  std::copy(expected.begin(), expected.end(), tensor.data());
  const int bytes = dev::box_bytes(boxed.layout), size = static_cast<int>(sizeof(T));
  auto* tile = machine.allocate<std::uint32_t>(static_cast<std::size_t>(bytes) / 4);
  int number = 0;
  tensor.for_each([&](int row, int i, T* element) {
    const auto value = static_cast<T>(1000 + number++);
    std::memcpy(reinterpret_cast<std::byte*>(tile) +
                    place_of(boxed.layout.swizzle, row, i * size, boxed.layout.box[0] * size),
                &value, sizeof(T));
    if (element) expected[static_cast<std::size_t>(element - tensor.data())] = value;
  });
  const auto reports = reports_of([&] {
    tensor_store(boxed.layout.rank, false, machine.stream(), tensor_map(tensor.layout()), boxed.at,
                 bytes, tile, 1);
  });
  for (const auto& report : reports) FAIL() << report.text;
  for (std::size_t i = 0; i < expected.size(); ++i) ASSERT_EQ(tensor.data()[i], expected[i]) << i;
}

TEST(Tma, StoresWriteWhatLiesInTheTensor) {
  for (const Boxed& boxed : boxes) {
    if (boxed.layout.element == f32)
      expect_stored<std::uint32_t>(boxed);
    else
      expect_stored<std::uint16_t>(boxed);
  }
}

TEST(Tma, AdditionsAddUp) {
  constexpr int blocks = 5;
  for (const Boxed& boxed : boxes) {
    if (boxed.layout.element != f32) continue;
    Machine machine;
    const Tensor<float> tensor(machine, boxed);
    std::vector<float> expected(tensor.count(), 0.5f);
    std::copy(expected.begin(), expected.end(), tensor.data());
    const int bytes = dev::box_bytes(boxed.layout);
    auto* tile = machine.allocate<float>(static_cast<std::size_t>(bytes) / 4);
    int number = 0;
    tensor.for_each([&](int row, int i, const float* element) {
      const auto value = static_cast<float>(++number);
      tile[place_of(boxed.layout.swizzle, row, i * 4, boxed.layout.box[0] * 4) / 4] = value;
      if (element) expected[static_cast<std::size_t>(element - tensor.data())] += blocks * value;
    });
    const auto reports = reports_of([&] {
      tensor_store(boxed.layout.rank, true, machine.stream(), tensor_map(tensor.layout()), boxed.at,
                   bytes, reinterpret_cast<std::uint32_t*>(tile), blocks);
    });
    for (const auto& report : reports) FAIL() << report.text;
    for (std::size_t i = 0; i < expected.size(); ++i) ASSERT_EQ(tensor.data()[i], expected[i]) << i;
  }
}

TEST(Tma, LayoutsAreChecked) {
  alignas(16) static float base[4];
  const TensorLayout good = {f32, base, 2, {40, 20}, {160}, {32, 8}, Swizzle::bytes_128};
  EXPECT_NO_THROW(tensor_map(good));
  struct Row {
    std::function<void(TensorLayout&)> spoil;
    const char* message;
  };
  const Row rows[] = {
      {[](TensorLayout& l) { l.rank = 1; }, "1 dimensions; there are 2 to 4"},
      {[](TensorLayout& l) { l.rank = 5; }, "5 dimensions"},
      {[](TensorLayout& l) { l.base = base + 1; }, "no multiple of 16 bytes"},
      {[](TensorLayout& l) { l.base = nullptr; }, "of no tensor"},
      {[](TensorLayout& l) { l.size[1] = 0; }, "0 elements in dimension 1"},
      {[](TensorLayout& l) { l.size[0] = (std::int64_t{1} << 32) + 1; }, "elements in dimension 0"},
      {[](TensorLayout& l) { l.stride_bytes[0] = 168; }, "a stride of 168 bytes"},
      {[](TensorLayout& l) { l.stride_bytes[0] = std::int64_t{1} << 40; }, "below 2^40"},
      {[](TensorLayout& l) { l.box[1] = 257; }, "a box of 257 elements in dimension 1"},
      {[](TensorLayout& l) { l.box[1] = 0; }, "a box of 0 elements"},
      {[](TensorLayout& l) {
         l.swizzle = Swizzle::none;
         l.box[0] = 6;
       },
       "rows of the box have 24 bytes"},
      {[](TensorLayout& l) { l.box[0] = 64; }, "the swizzle of 128 takes just that many"},
      {[](TensorLayout& l) {
         l.swizzle = Swizzle::none;
         l.box[0] = l.box[1] = 256;
       },
       "a box of 262144 bytes"},
  };
  for (const Row& row : rows) {
    TensorLayout layout = good;
    row.spoil(layout);
    try {
      tensor_map(layout);
      ADD_FAILURE() << "taken: " << row.message;
    } catch (const ValueError& error) {
      EXPECT_NE(error.message().find(row.message), std::string::npos) << error.message();
    }
  }
}

void run_mistake(Machine& machine, TmaFault fault) {
  auto *x = machine.allocate<float>(64 * 32), *y = machine.allocate<float>(8 * 32);
  for (int i = 0; i < 64 * 32; ++i) x[i] = static_cast<float>(i);
  const TensorLayout floats = {f32, x, 2, {32, 64}, {128}, {32, 8}, Swizzle::none};
  const TensorLayout halves = {half, x, 2, {64, 64}, {128}, {32, 16}, Swizzle::none};
  tma_mistake(fault, machine.stream(),
              tensor_map(fault == TmaFault::added_halves ? halves : floats), x, y);
}

TEST(Tma, RightWaysAreNotReported) {
  for (const TmaFault way : {TmaFault::none, TmaFault::read_before_store})
    for (int seed = 0; seed < seeds; ++seed) {
      Machine machine({.seed = static_cast<std::uint64_t>(seed)});
      for (const auto& report : reports_of([&] { run_mistake(machine, way); }))
        FAIL() << report.text;
    }
}

TEST(Tma, MistakesAreDiagnosed) {
  using enum TmaFault;
  struct Row {
    const char* name;
    TmaFault fault;
    std::vector<Finding> findings;
    const char* marker;
    bool plain;
  };
  const Row rows[] = {
      {"no wait", not_waited, {Finding::in_flight, Finding::race}, "read", false},
      {"wrong number of bytes", wrong_bytes, {Finding::deadlock}, "full wait", true},
      {"misaligned tile", misaligned_tile, {Finding::misaligned}, "copy", true},
      {"wrong rank", wrong_rank, {Finding::bad_operand}, "wrong_rank", true},
      {"no tensor map", no_map, {Finding::bad_operand}, "copy", true},
      {"mbarrier not fenced", barrier_not_fenced, {Finding::missing_fence}, "init", false},
      {"tile not fenced", tile_not_fenced, {Finding::missing_fence}, "zero", false},
      {"store not fenced", store_not_fenced, {Finding::missing_fence}, "write", false},
      {"store without a barrier", store_without_barrier, {Finding::race}, "write", false},
      {"tile overwritten", overwritten_tile, {Finding::race}, "overwritten_tile", false},
      {"store never waited for", never_waited, {Finding::unfinished_copy}, "store", true},
      {"store not committed", not_committed, {Finding::unfinished_copy}, "store", true},
      {"tensor read too early", read_too_early, {Finding::race}, "early", false},
      {"stores of two blocks", unordered_stores, {Finding::race}, "store", false},
      {"addition to halves", added_halves, {Finding::bad_operand}, "added_halves", true},
  };
  for (const Row& row : rows)
    expect_diagnosed({row.name, [fault = row.fault](Machine& m) { run_mistake(m, fault); },
                      row.findings, "tma.cuh", row.marker, row.plain});
}

// The map promises more rows than the allocation has.
TEST(Tma, CopiesStayInsideOfAllocations) {
  Machine machine;
  auto* x = machine.allocate<float>(10 * 32);
  auto* out = machine.allocate<std::uint32_t>(8 * 32);
  const auto map = tensor_map({f32, x, 2, {32, 11}, {128}, {32, 8}, Swizzle::none});
  const auto reports = reports_of([&] {
    tensor_tile(2, machine.stream(), map, {0, 8}, 8 * 32 * 4, out);
  });
  ASSERT_EQ(reports.size(), 1u);
  EXPECT_EQ(reports[0].finding, Finding::out_of_bounds);
}

}  // namespace
}  // namespace mettle::emulation_test
