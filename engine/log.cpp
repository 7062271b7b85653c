// One spdlog logger of our own, kept out of spdlog's registry, which belongs to the embedding
// program.
#include "engine/log.h"

#include <spdlog/logger.h>
#include <spdlog/sinks/ansicolor_sink.h>
#include <spdlog/sinks/base_sink.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <mutex>

namespace mettle {
namespace {

struct LevelName {
  LogLevel level;
  spdlog::level::level_enum spdlog_level;
  std::string_view name;
  std::string_view variable;  // in METTLE_LOG
};

constexpr std::array<LevelName, 5> kLevels = {
    {{LogLevel::debug, spdlog::level::debug, "debug", "debug"},
     {LogLevel::info, spdlog::level::info, "info", "info"},
     {LogLevel::warning, spdlog::level::warn, "warning", "warn"},
     {LogLevel::error, spdlog::level::err, "error", "error"},
     {LogLevel::off, spdlog::level::off, "off", "off"}}};

const LevelName& entry_of(LogLevel level) { return kLevels[static_cast<std::size_t>(level)]; }

LogLevel from_spdlog(spdlog::level::level_enum level) {
  const auto found = std::find_if(kLevels.begin(), kLevels.end(),
                                  [&](const LevelName& l) { return l.spdlog_level == level; });
  return found == kLevels.end() ? LogLevel::debug : found->level;
}

// The standard error stream, until somebody gives another sink.
class ReplaceableSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  ReplaceableSink() {
    terminal_.set_pattern("%Y-%m-%d %H:%M:%S mettle %^%l%$: %v");
    const char* no_color = std::getenv("NO_COLOR");
    if (no_color && *no_color) terminal_.set_color_mode(spdlog::color_mode::never);
  }

  void replace(LogSink wanted) {
    const std::lock_guard lock(mutex_);
    sink_ = std::move(wanted);
  }

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    if (sink_)
      sink_(from_spdlog(message.level), {message.payload.data(), message.payload.size()});
    else
      terminal_.log(message);
  }
  void flush_() override { terminal_.flush(); }

  LogSink sink_;
  spdlog::sinks::ansicolor_stderr_sink_st terminal_;
};

struct Log {
  std::shared_ptr<ReplaceableSink> sink = std::make_shared<ReplaceableSink>();
  spdlog::logger logger{"mettle", sink};

  Log() {
    logger.set_error_handler([](const std::string&) {});
    logger.flush_on(spdlog::level::warn);
    logger.set_level(spdlog::level::warn);
    const char* wanted = std::getenv("METTLE_LOG");
    if (!wanted) return;
    const auto found = std::find_if(kLevels.begin(), kLevels.end(),
                                    [&](const LevelName& l) { return l.variable == wanted; });
    if (found != kLevels.end())
      logger.set_level(found->spdlog_level);
    else
      logger.warn("METTLE_LOG={} is none of debug, info, warn, error, off; taken as warn", wanted);
  }
};

Log& the_log() {
  // Never destroyed: destructors of other static objects may still log.
  static auto* log = new Log;
  return *log;
}

}  // namespace

std::string_view to_string(LogLevel level) { return entry_of(level).name; }

void set_log_level(LogLevel level) { the_log().logger.set_level(entry_of(level).spdlog_level); }

LogLevel log_level() { return from_spdlog(the_log().logger.level()); }

void set_log_sink(LogSink sink) { the_log().sink->replace(std::move(sink)); }

void log_message(LogLevel level, std::string_view message) noexcept {
  if (level == LogLevel::off) return;
  the_log().logger.log(entry_of(level).spdlog_level,
                       spdlog::string_view_t(message.data(), message.size()));
}

}  // namespace mettle
