// Errors and checks. Every failure in Mettle is an exception that names the operation, the shapes
// and the remedy; the library never aborts, exits or prints to stdout.
#pragma once

#include <fmt/core.h>

#include <source_location>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace mettle {

/// Base of all errors thrown by Mettle. `what()` is "message [file:line]"; `message()` is without
/// the place.
class Error : public std::runtime_error {
 public:
  explicit Error(std::string message, std::source_location where = std::source_location::current());
  const std::string& message() const noexcept { return message_; }
  const std::source_location& where() const noexcept { return where_; }

 private:
  std::string message_;
  std::source_location where_;
};

/// Shapes, ranks or sizes that do not fit together.
class ShapeError : public Error {
  using Error::Error;
};
/// A dtype that the operation does not take, or two that differ.
class DTypeError : public Error {
  using Error::Error;
};
/// A missing device, or tensors on two devices.
class DeviceError : public Error {
  using Error::Error;
};
/// Not enough memory on a device, or a configured bound was reached.
class MemoryError : public Error {
  using Error::Error;
};
/// Misuse of the differentiation API: freed graph, unused input, modified saved tensor.
class AutogradError : public Error {
  using Error::Error;
};
/// A file that is missing, damaged, hostile or cannot be written. Names the path and the place in
/// it.
class FileError : public Error {
  using Error::Error;
};
/// A value given by the user (flag, configuration, argument) that is outside what is accepted.
class ValueError : public Error {
  using Error::Error;
};

/// A format string that remembers where it was written.
template <class... A> struct LocatedFormat {
  template <class S>
  // Implicit, so that a plain literal converts. NOLINTNEXTLINE(google-explicit-constructor)
  consteval LocatedFormat(const S& s, std::source_location l = std::source_location::current())
      : text(s), where(l) {}
  fmt::format_string<A...> text;
  std::source_location where;
};

/// Throws E with the formatted message and the caller's place.
template <class E = Error, class... A>
[[noreturn]] void fail(LocatedFormat<std::type_identity_t<A>...> format, A&&... args) {
  throw E(fmt::format(format.text, std::forward<A>(args)...), format.where);
}

/// Throws E unless `ok`. The arguments are formatted only on failure.
template <class E = Error, class... A>
void check(bool ok, LocatedFormat<std::type_identity_t<A>...> format, A&&... args) {
  if (!ok) [[unlikely]]
    throw E(fmt::format(format.text, std::forward<A>(args)...), format.where);
}

}  // namespace mettle

/// `METTLE_CHECK(ShapeError, a == b, "op: {} and {} differ", a, b)`: like check(), but the
/// arguments are evaluated only on failure, so that to_string() calls cost nothing on the good
/// path.
#define METTLE_CHECK(ErrorType, condition, ...) \
  do {                                          \
    if (!(condition)) [[unlikely]]              \
      ::mettle::fail<ErrorType>(__VA_ARGS__);   \
  } while (false)
