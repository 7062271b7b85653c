// Copies of boxes of tensors: the raw bytes that a load leaves in shared memory, and the tensor
// after a store and an addition.
#include <string>

#include "tests/conformance/conformance.h"
#include "tests/emulation/hopper.h"

namespace mettle::conformance {
namespace {

using dev::Swizzle;
using dev::TensorElement;
using dev::TensorLayout;

struct BoxCase {
  const char* name;
  TensorLayout layout;
  int at[4];
};

constexpr auto f32 = TensorElement::f32, b16 = TensorElement::bf16, h16 = TensorElement::f16;
constexpr BoxCase boxes[] = {
    {"2d_f32", {f32, nullptr, 2, {40, 20}, {176}, {8, 5}, Swizzle::none}, {4, 3}},
    {"2d_f32_128", {f32, nullptr, 2, {37, 20}, {160}, {32, 16}, Swizzle::bytes_128}, {16, 9}},
    {"2d_f32_64", {f32, nullptr, 2, {37, 20}, {160}, {16, 16}, Swizzle::bytes_64}, {-5, -7}},
    {"2d_f32_32", {f32, nullptr, 2, {37, 20}, {160}, {8, 32}, Swizzle::bytes_32}, {33, 1}},
    {"2d_bf16_128", {b16, nullptr, 2, {72, 20}, {160}, {64, 16}, Swizzle::bytes_128}, {16, 9}},
    {"2d_bf16_outside", {b16, nullptr, 2, {72, 20}, {160}, {64, 16}, Swizzle::bytes_128}, {80, 9}},
    {"3d_f16_64",
     {h16, nullptr, 3, {50, 7, 5}, {112, 800}, {32, 4, 3}, Swizzle::bytes_64},
     {3, -1, 3}},
    {"4d_bf16_128",
     {b16, nullptr, 4, {64, 6, 5, 3}, {128, 768, 3840}, {64, 3, 2, 2}, Swizzle::bytes_128},
     {0, 4, 4, 2}},
    {"4d_f32",
     {f32, nullptr, 4, {12, 3, 4, 5}, {48, 144, 576}, {12, 2, 3, 4}, Swizzle::none},
     {-1, 2, -2, 0}},
};

std::size_t tensor_bytes(const TensorLayout& layout) {
  std::int64_t bytes = layout.size[0] * dev::element_bytes(layout.element);
  for (int i = 1; i < layout.rank; ++i) bytes += (layout.size[i] - 1) * layout.stride_bytes[i - 1];
  return static_cast<std::size_t>(bytes);
}

// Integers as bits of the element's type: for f32 as numbers, so that additions are exact.
std::vector<std::uint8_t> content(TensorElement element, int stream, std::size_t bytes) {
  std::vector<std::uint8_t> out(bytes);
  const std::vector<float> numbers = random_integers(stream, bytes / 4 + 1, 1000);
  for (std::size_t i = 0; i < bytes; ++i)
    out[i] = static_cast<std::uint8_t>(random_bits(stream, i));
  if (element == f32) std::memcpy(out.data(), numbers.data(), bytes / 4 * 4);
  return out;
}

// Calls f(byte of the tile, byte of the tensor or -1) for every element of the box.
template <class F> void for_each_element(const BoxCase& box, F&& f) {
  const TensorLayout& l = box.layout;
  const int size = dev::element_bytes(l.element), row_bytes = l.box[0] * size;
  const int width = 16 << static_cast<int>(l.swizzle);
  const int elements = dev::box_bytes(l) / size;
  for (int i = 0; i < elements; ++i) {
    const int row = i / l.box[0], byte = i % l.box[0] * size;
    int unit = byte / 16;
    if (l.swizzle != Swizzle::none) unit ^= row * width / 128 % (width / 16);
    std::int64_t from = 0;
    bool inside = true;
    for (int dimension = 0, rest = i; dimension < l.rank; ++dimension) {
      const std::int64_t c = box.at[dimension] + rest % l.box[dimension];
      rest /= l.box[dimension];
      inside = inside && c >= 0 && c < l.size[dimension];
      from += c * (dimension == 0 ? size : l.stride_bytes[dimension - 1]);
    }
    f(row * row_bytes + unit * 16 + byte % 16, inside ? from : -1);
  }
}

Bits as_bits(const std::vector<std::uint8_t>& bytes) {
  Bits bits((bytes.size() + 3) / 4);
  std::memcpy(bits.data(), bytes.data(), bytes.size());
  return bits;
}

// A tensor in device memory, and the map of it.
std::uint8_t* tensor_of(Device& device, TensorLayout& layout) {
  auto* tensor = device.send(content(layout.element, 30, tensor_bytes(layout)));
  layout.base = tensor;
  return tensor;
}

Bits run_load(Device& device, int number) {
  BoxCase box = boxes[number];
  tensor_of(device, box.layout);
  const int bytes = dev::box_bytes(box.layout);
  auto* out = device.zeros<std::uint32_t>(static_cast<std::size_t>(bytes) / 4);
  emulation_test::tensor_tile(box.layout.rank, device.stream(),
                              emulation_test::tensor_map(box.layout), box.at, bytes, out);
  return device.fetch(out, static_cast<std::size_t>(bytes) / 4);
}

Bits expect_load(int number) {
  const BoxCase& box = boxes[number];
  const auto size = static_cast<std::size_t>(dev::element_bytes(box.layout.element));
  const auto tensor = content(box.layout.element, 30, tensor_bytes(box.layout));
  std::vector<std::uint8_t> tile(static_cast<std::size_t>(dev::box_bytes(box.layout)));
  for_each_element(box, [&](int to, std::int64_t from) {
    if (from >= 0) std::memcpy(tile.data() + to, tensor.data() + from, size);
  });
  return as_bits(tile);
}

// Three blocks add, one stores.
template <bool add> Bits run_store(Device& device, int number) {
  BoxCase box = boxes[number];
  auto* tensor = tensor_of(device, box.layout);
  const int bytes = dev::box_bytes(box.layout);
  const auto tile = as_bits(content(box.layout.element, 31, static_cast<std::size_t>(bytes)));
  emulation_test::tensor_store(box.layout.rank, add, device.stream(),
                               emulation_test::tensor_map(box.layout), box.at, bytes,
                               device.send(tile), add ? 3 : 1);
  const std::size_t count = tensor_bytes(box.layout);
  std::vector<std::uint8_t> out(count);
  device.download(out.data(), tensor, count);
  return as_bits(out);
}

template <bool add> Bits expect_store(int number) {
  const BoxCase& box = boxes[number];
  const auto size = static_cast<std::size_t>(dev::element_bytes(box.layout.element));
  auto tensor = content(box.layout.element, 30, tensor_bytes(box.layout));
  const auto tile =
      content(box.layout.element, 31, static_cast<std::size_t>(dev::box_bytes(box.layout)));
  for_each_element(box, [&](int from, std::int64_t to) {
    if (to < 0) return;
    if (!add) {
      std::memcpy(tensor.data() + to, tile.data() + from, size);
      return;
    }
    float sum, term;
    std::memcpy(&sum, tensor.data() + to, sizeof(sum));
    std::memcpy(&term, tile.data() + from, sizeof(term));
    sum += 3 * term;
    std::memcpy(tensor.data() + to, &sum, sizeof(sum));
  });
  return as_bits(tensor);
}

}  // namespace

void add_tensor_words(std::vector<Word>& words) {
  for (int i = 0; i < static_cast<int>(sizeof(boxes) / sizeof(boxes[0])); ++i) {
    const std::string name = boxes[i].name;
    words.push_back({"copy_tensor_" + name, Kind::bits, 0, run_load, expect_load, i});
    words.push_back(
        {"store_tensor_" + name, Kind::bits, 0, run_store<false>, expect_store<false>, i});
    if (boxes[i].layout.element == f32)
      words.push_back(
          {"add_tensor_" + name, Kind::bits, 0, run_store<true>, expect_store<true>, i});
  }
}

}  // namespace mettle::conformance
