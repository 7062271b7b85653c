// Both faces of Progress are made of one text: "420/1000  12.3/s  0:47 left  loss 0.5873".
#include "engine/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <ostream>

#include "engine/check.h"

namespace mettle {
namespace {

constexpr double kRedrawSeconds = 0.1;
constexpr double kLineSeconds = 10;
constexpr double kWorthALine = 1;  // seconds
constexpr int kLongestBar = 40;
constexpr int kShortestBar = 8;

constexpr std::string_view kToLineStart = "\r";
constexpr std::string_view kClearRest = "\x1b[K";
constexpr std::string_view kGreen = "\x1b[32m";
constexpr std::string_view kPlain = "\x1b[0m";

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

bool is_set(const char* variable) {
  const char* value = std::getenv(variable);
  return value && *value;
}

int columns_of(int descriptor) {
  constexpr int usual = 80;
  winsize size{};
  if (::ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  const std::string_view text = is_set("COLUMNS") ? std::getenv("COLUMNS") : "";
  int columns = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), columns);
  return error == std::errc() && columns > 0 ? columns : usual;
}

// Steps a second, or seconds a step when they are slow.
std::string rate_text(double rate) {
  if (rate >= 100) return fmt::format("{:.0f}/s", rate);
  if (rate >= 1) return fmt::format("{:.1f}/s", rate);
  return fmt::format("{:.1f} s each", 1 / rate);
}

}  // namespace

Terminal terminal_of(int descriptor) {
  const std::string_view kind = is_set("TERM") ? std::getenv("TERM") : "dumb";
  const bool redraws = ::isatty(descriptor) == 1 && kind != "dumb";
  return {.redraws = redraws,
          .colours = redraws && !is_set("NO_COLOR"),
          .columns = columns_of(descriptor)};
}

std::string clock_text(double seconds) {
  const auto whole = static_cast<std::int64_t>(std::llround(std::clamp(seconds, 0.0, 1e9)));
  const std::int64_t hours = whole / 3600, minutes = whole / 60 % 60;
  return hours ? fmt::format("{}:{:02}:{:02}", hours, minutes, whole % 60)
               : fmt::format("{}:{:02}", minutes, whole % 60);
}

Progress::Progress(std::ostream& out, const Terminal& terminal, std::string label,
                   std::int64_t total, std::int64_t done, Clock clock)
    : out_(out),
      terminal_(terminal),
      label_(std::move(label)),
      total_(total),
      begun_at_(done),
      done_(done),
      clock_(clock ? std::move(clock) : Clock(steady_seconds)) {
  METTLE_CHECK(ValueError, 0 <= done && done <= total, "Progress '{}': {} of {} steps done", label_,
               done, total);
  start_ = shown_at_ = clock_();
  if (terminal_.redraws) show(start_);
}

Progress::~Progress() {
  try {
    finish();
  } catch (...) {  // NOLINT(bugprone-empty-catch): a stream that throws has no reader to tell
  }
}

void Progress::update(std::int64_t done, std::optional<double> loss) {
  if (finished_) return;
  done_ = std::clamp<std::int64_t>(done, 0, total_);
  loss_ = loss;
  const double now = clock_();
  if (now - shown_at_ >= (terminal_.redraws ? kRedrawSeconds : kLineSeconds)) show(now);
}

void Progress::note(std::string_view line) {
  if (terminal_.redraws && !finished_) out_ << kToLineStart << kClearRest;
  out_ << line << '\n';
  if (terminal_.redraws && !finished_) show(clock_());
  out_.flush();
}

void Progress::finish() {
  if (finished_) return;
  finished_ = true;
  const double now = clock_();
  if (now - start_ >= kWorthALine) {
    show(now);
    if (terminal_.redraws) out_ << '\n';
  } else if (terminal_.redraws) {
    out_ << kToLineStart << kClearRest;
  }
  out_.flush();
}

// "420/1000  12.3/s  0:47 left  loss 0.5873"; at the end the time taken instead of the time left.
std::string Progress::state(double seconds) const {
  std::string text = fmt::format("{}/{}", done_, total_);
  const auto steps = static_cast<double>(done_ - begun_at_);
  if (steps > 0 && seconds > 0) {
    text += "  " + rate_text(steps / seconds);
    if (!finished_)
      text += fmt::format("  {} left",
                          clock_text(static_cast<double>(total_ - done_) * seconds / steps));
  }
  if (finished_) text += fmt::format("  {} taken", clock_text(seconds));
  if (loss_) text += fmt::format("  loss {:.4f}", *loss_);
  return text;
}

// As wide as the terminal but for its last column, where some of them wrap.
std::string Progress::bar_line(double seconds) const {
  const std::int64_t percent = total_ ? done_ * 100 / total_ : 100;
  const std::string head = fmt::format("{} {:3}%", label_, percent);
  const std::string tail = "  " + state(seconds);
  const int room = terminal_.columns - 1;
  const int bar = std::min(kLongestBar, room - static_cast<int>(head.size() + tail.size()) - 3);
  if (bar < kShortestBar)
    return (head + tail).substr(0, static_cast<std::size_t>(std::max(room, 1)));
  const auto filled = static_cast<std::size_t>(percent * bar / 100);
  const std::string done(filled, '='), rest(static_cast<std::size_t>(bar) - filled, ' ');
  return terminal_.colours ? fmt::format("{} [{}{}{}{}]{}", head, kGreen, done, kPlain, rest, tail)
                           : fmt::format("{} [{}{}]{}", head, done, rest, tail);
}

void Progress::show(double now) {
  shown_at_ = now;
  const double seconds = now - start_;
  if (terminal_.redraws)
    out_ << kToLineStart << bar_line(seconds) << kClearRest;
  else
    out_ << label_ << "  " << state(seconds) << '\n';
  out_.flush();
}

}  // namespace mettle
