// What an error says: the tests of refusals read its message, not only its type.
#pragma once

#include <string>

namespace mettle::test {

/// The message of the error E that f throws, or that nothing was thrown.
template <class E, class F> std::string message_of(F&& f) {
  try {
    f();
  } catch (const E& e) {
    return e.message();
  }
  return "nothing was thrown";
}

}  // namespace mettle::test
