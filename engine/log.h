// What Mettle says beside exceptions. By default warnings and errors go to the standard error
// stream (in colours on a terminal, unless NO_COLOR is set); METTLE_LOG=debug|info|warn|error|off
// sets the level of a process, set_log_sink() sends the messages into an embedding program's own
// log. Nothing else in the library prints.
#pragma once

#include <fmt/core.h>

#include <functional>
#include <string_view>
#include <utility>

namespace mettle {

enum class LogLevel { debug, info, warning, error, off };

/// "debug", "info", "warning", "error", "off".
std::string_view to_string(LogLevel level);

/// Takes one message without a line end. Called by one thread at a time; what it throws is lost.
using LogSink = std::function<void(LogLevel, std::string_view message)>;

/// Messages below the level are dropped. At the start it is that of METTLE_LOG, else warning.
/// Thread-safe, as all of this header.
void set_log_level(LogLevel level);
LogLevel log_level();
/// Sends all messages to `sink` from now on; an empty one brings the standard error stream back.
/// The sink must not log itself.
void set_log_sink(LogSink sink);

/// Logs a finished message. Never throws, so destructors may call it.
void log_message(LogLevel level, std::string_view message) noexcept;

namespace detail {
template <class... A>
void log_formatted(LogLevel level, fmt::format_string<A...> format, A&&... args) noexcept {
  if (level < log_level()) return;
  try {
    log_message(level, fmt::format(format, std::forward<A>(args)...));
  } catch (...) {
    log_message(level, "a message that could not be formatted");
  }
}
}  // namespace detail

/// `log_warning("{}: skipped, {}", path, reason)`. The arguments are formatted only when the level
/// is on. Never throws.
template <class... A> void log_debug(fmt::format_string<A...> format, A&&... args) noexcept {
  detail::log_formatted<A...>(LogLevel::debug, format, std::forward<A>(args)...);
}
template <class... A> void log_info(fmt::format_string<A...> format, A&&... args) noexcept {
  detail::log_formatted<A...>(LogLevel::info, format, std::forward<A>(args)...);
}
template <class... A> void log_warning(fmt::format_string<A...> format, A&&... args) noexcept {
  detail::log_formatted<A...>(LogLevel::warning, format, std::forward<A>(args)...);
}
template <class... A> void log_error(fmt::format_string<A...> format, A&&... args) noexcept {
  detail::log_formatted<A...>(LogLevel::error, format, std::forward<A>(args)...);
}

}  // namespace mettle
