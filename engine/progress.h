// How far a run is: a bar that redraws itself on a terminal, plain lines now and then elsewhere.
// The stream is given by the program; the library opens none.
#pragma once

#include <cstdint>
#include <functional>
#include <iosfwd>
#include <optional>
#include <string>
#include <string_view>

namespace mettle {

/// What a stream can show.
struct Terminal {
  bool redraws = false;  // a terminal that can overwrite its line; otherwise a file or pipe
  bool colours = false;
  int columns = 80;
};

/// The terminal behind a file descriptor: isatty, TERM, NO_COLOR (https://no-color.org), the
/// window's width, or COLUMNS where there is none.
Terminal terminal_of(int descriptor);

class Progress {
 public:
  /// Seconds since any moment, never going back. The default is the steady clock.
  using Clock = std::function<double()>;

  /// `total` steps named by `label`, of which `done` were done in an earlier run. `out` must live
  /// longer. ValueError unless 0 <= done <= total.
  Progress(std::ostream& out, const Terminal& terminal, std::string label, std::int64_t total,
           std::int64_t done = 0, Clock clock = {});
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  /// finish(), but never throws.
  ~Progress();

  /// Tells the steps done so far, and the loss where there is one. On a terminal it shows at most
  /// ten times a second, elsewhere once in ten seconds: cheap enough for every step.
  void update(std::int64_t done, std::optional<double> loss = {});
  /// There turned out to be so many steps.
  void expect(std::int64_t total) { total_ = total; }
  /// Shows a line of its own above the bar.
  void note(std::string_view line);
  /// Shows the last state and the time taken, and ends the line; what took less than a second
  /// leaves no line. Later calls do nothing.
  void finish();

 private:
  std::string state(double seconds) const;
  std::string bar_line(double seconds) const;
  void show(double seconds);

  std::ostream& out_;
  Terminal terminal_;
  std::string label_;
  std::int64_t total_;
  std::int64_t begun_at_;
  std::int64_t done_;
  std::optional<double> loss_;
  Clock clock_;
  double start_;
  double shown_at_;
  bool finished_ = false;
};

/// "0:07", "12:05", "3:04:05".
std::string clock_text(double seconds);

}  // namespace mettle
