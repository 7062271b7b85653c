// Element types and the bridge from a run-time DType to a compile-time type.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

#include "engine/half.h"

namespace mettle {

enum class DType : std::uint8_t { f64, f32, bf16, f16, i64, i32, i8, u8, boolean };

template <class T> struct TypeTag { using type = T; };

template <class T> constexpr DType dtype_of_impl(TypeTag<T>) = delete;
constexpr DType dtype_of_impl(TypeTag<double>) { return DType::f64; }
constexpr DType dtype_of_impl(TypeTag<float>) { return DType::f32; }
constexpr DType dtype_of_impl(TypeTag<bf16>) { return DType::bf16; }
constexpr DType dtype_of_impl(TypeTag<f16>) { return DType::f16; }
constexpr DType dtype_of_impl(TypeTag<std::int64_t>) { return DType::i64; }
constexpr DType dtype_of_impl(TypeTag<std::int32_t>) { return DType::i32; }
constexpr DType dtype_of_impl(TypeTag<std::int8_t>) { return DType::i8; }
constexpr DType dtype_of_impl(TypeTag<std::uint8_t>) { return DType::u8; }
constexpr DType dtype_of_impl(TypeTag<bool>) { return DType::boolean; }

/// The DType that stores T.
template <class T> inline constexpr DType dtype_of = dtype_of_impl(TypeTag<T>{});

/// Bytes of one element.
constexpr std::size_t size_of(DType dtype) {
  constexpr std::size_t sizes[] = {8, 4, 2, 2, 8, 4, 1, 1, 1};
  return sizes[static_cast<std::size_t>(dtype)];
}

constexpr std::string_view to_string(DType dtype) {
  constexpr std::string_view names[] = {"f64", "f32", "bf16", "f16", "i64",
                                        "i32", "i8",  "u8",   "bool"};
  return names[static_cast<std::size_t>(dtype)];
}

constexpr bool is_floating(DType dtype) { return dtype <= DType::f16; }

namespace detail {
// In dtype.cpp, so that nvcc, which cannot compile engine/check.h, can include this header.
[[noreturn]] void throw_not_floating(DType dtype, std::string_view operation);
[[noreturn]] void throw_unknown_dtype(DType dtype);
}  // namespace detail

/// The type in which sums and transcendental functions are computed: f64 for f64, else f32.
template <class T> struct Accumulate { using type = float; };
template <> struct Accumulate<double> { using type = double; };
template <class T> using accumulate_t = typename Accumulate<T>::type;

/// Calls f.template operator()<T>() with T = f64, f32, bf16 or f16. Throws DTypeError for other
/// dtypes.
template <class F>
decltype(auto) dispatch_float(DType dtype, F&& f, std::string_view operation = "operation") {
  switch (dtype) {
    case DType::f64: return f.template operator()<double>();
    case DType::f32: return f.template operator()<float>();
    case DType::bf16: return f.template operator()<bf16>();
    case DType::f16: return f.template operator()<f16>();
    default: break;
  }
  detail::throw_not_floating(dtype, operation);
}

/// Calls f.template operator()<T>() with the element type of `dtype`, whichever it is.
template <class F> decltype(auto) dispatch_any(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f64: return f.template operator()<double>();
    case DType::f32: return f.template operator()<float>();
    case DType::bf16: return f.template operator()<bf16>();
    case DType::f16: return f.template operator()<f16>();
    case DType::i64: return f.template operator()<std::int64_t>();
    case DType::i32: return f.template operator()<std::int32_t>();
    case DType::i8: return f.template operator()<std::int8_t>();
    case DType::u8: return f.template operator()<std::uint8_t>();
    case DType::boolean: return f.template operator()<bool>();
  }
  detail::throw_unknown_dtype(dtype);
}

}  // namespace mettle
