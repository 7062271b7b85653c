// Turning an enumerator that is known at run time into a template argument.
#pragma once

#include <type_traits>
#include <utility>

namespace mettle::emulation_test {

template <class E, class F, int... I>
void with_constant_of(E value, F&& f, std::integer_sequence<int, I...>) {
  ((static_cast<int>(value) == I ? f(std::integral_constant<E, static_cast<E>(I)>{}) : void()),
   ...);
}

// Calls f with the enumerator as a type, E{0} to `last`.
template <auto last, class F> void with_constant(decltype(last) value, F&& f) {
  with_constant_of(value, f, std::make_integer_sequence<int, static_cast<int>(last) + 1>{});
}

}  // namespace mettle::emulation_test
