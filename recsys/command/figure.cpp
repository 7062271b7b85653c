// Writes the gnuplot script and runs it.
#include "recsys/command/figure.h"

#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cmath>

#include "engine/check.h"
#include "engine/file.h"

namespace mettle::command {
namespace {

// Okabe and Ito's colours, which people of every colour vision tell apart; greys for the classical.
constexpr std::array kColours = {"#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"};
constexpr std::array kGreys = {"#444444", "#777777", "#999999", "#BBBBBB"};
constexpr std::size_t kKeyWidth = 300;  // pixels on the right
constexpr double kDodge = 0.06;  // sideways distance of two series, so that error bars stay apart

std::string_view axis_title(Metric metric) {
  switch (metric) {
    case Metric::auc: return "AUC per user";
    case Metric::ndcg5: return "nDCG at 5";
    case Metric::log_loss: return "log loss of like";
    case Metric::mae: return "mean absolute error (stars)";
    case Metric::precision5: return "precision at 5";
    case Metric::mrr: return "mean reciprocal rank";
    case Metric::hr1: return "hit rate at 1";
  }
  return "";
}

// Position on the axis, k, then mean and half width for each panel.
std::string data_block(const EvaluationTable& table, const Figure& figure, std::size_t series) {
  const double shift =
      kDodge * (static_cast<double>(series) - 0.5 * static_cast<double>(figure.series.size() - 1));
  std::string out = fmt::format("$series{} << END\n", series);
  for (std::size_t i = 0; i < figure.k.size(); ++i) {
    const EvaluationTable::Row& row = table.row(figure.series[series].method, figure.k[i]);
    out += fmt::format("{:.3f} {}", static_cast<double>(i) + shift, figure.k[i]);
    for (const Metric metric : figure.panels) {
      const Interval interval = row.interval(metric);
      if (std::isnan(interval.mean))
        out += " NaN NaN";
      else
        out += fmt::format(" {:.5f} {:.5f}", interval.mean,
                           std::isnan(interval.half) ? 0.0 : interval.half);
    }
    out += '\n';
  }
  return out + "END\n";
}

struct Style {
  std::string line, bar;
};

Style style(const Figure& figure, std::size_t series) {
  std::size_t before = 0;  // series of the same kind
  for (std::size_t i = 0; i < series; ++i)
    before += figure.series[i].classical == figure.series[series].classical ? 1 : 0;
  const bool classical = figure.series[series].classical;
  const char* colour =
      classical ? kGreys[before % kGreys.size()] : kColours[before % kColours.size()];
  return {classical ? fmt::format("lc rgb '{}' lw 1.5 dt {} pt {} ps 0.7", colour, 2 + before % 3,
                                  4 + before)
                    : fmt::format("lc rgb '{}' lw 2.5 pt 7 ps 0.8", colour),
          fmt::format("lc rgb '{}' lw 0.7 pt -1", colour)};
}

// Bars below, lines above them.
std::string plot_command(const Figure& figure, std::size_t panel) {
  std::string bars, lines;
  for (std::size_t s = 0; s < figure.series.size(); ++s) {
    const Style look = style(figure, s);
    const std::size_t mean = 3 + 2 * panel;
    bars += fmt::format("    $series{} using 1:{}:{} with yerrorbars {} notitle, \\\n", s, mean,
                        mean + 1, look.bar);
    lines +=
        fmt::format("    $series{} using 1:{} with linespoints {} title '{}'{}", s, mean, look.line,
                    figure.series[s].method, s + 1 == figure.series.size() ? "\n" : ", \\\n");
  }
  return "  plot \\\n" + bars + lines;
}

std::string tics(const Figure& figure) {
  std::string out;
  for (std::size_t i = 0; i < figure.k.size(); ++i)
    out += fmt::format("{}'{}' {}", i == 0 ? "" : ", ", figure.k[i], i);
  return out;
}

// Runs gnuplot in `folder`. Its exit status, or -1 when there is no such program.
int run_gnuplot(const std::filesystem::path& folder, const std::string& script) {
  std::array<char*, 3> arguments = {const_cast<char*>("gnuplot"), const_cast<char*>(script.c_str()),
                                    nullptr};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addchdir_np(&actions, folder.c_str());
  pid_t child = 0;
  const int failed = posix_spawnp(&child, "gnuplot", &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed == ENOENT) return -1;
  METTLE_CHECK(Error, failed == 0, "gnuplot: cannot be started: error {}", failed);
  int status = 0;
  while (waitpid(child, &status, 0) < 0)
    METTLE_CHECK(Error, errno == EINTR, "gnuplot: cannot wait for it: error {}", errno);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

}  // namespace

std::string gnuplot_script(const EvaluationTable& table, const Figure& figure,
                           const std::string& name) {
  std::string out = fmt::format("# Draws {0}.svg and {0}.png: gnuplot {0}.gp\n", name);
  for (std::size_t s = 0; s < figure.series.size(); ++s) out += data_block(table, figure, s);
  const std::size_t width = 480 * figure.panels.size() + kKeyWidth;
  out += fmt::format(
      "do for [kind in 'svg png'] {{\n"
      "  if (kind eq 'svg') {{ set terminal svg size {0},440 dynamic font 'sans-serif,13' "
      "background "
      "rgb 'white' }}\n"
      "  else {{ set terminal pngcairo size {0},440 font 'sans,11' background rgb 'white' }}\n"
      "  set output '{1}.'.kind\n"
      "  set multiplot layout 1,{2} title '{3}' margins 0.075,{4:.3f},0.13,0.90 spacing 0.09\n"
      "  set border 3; set tics nomirror; set grid ytics lc rgb '#dddddd' lt 1; set bars 0.3\n"
      "  set xrange [-0.4:{5}.4]; set xtics ({6}); set xlabel 'ratings known of the user (k)'\n",
      width, name, figure.panels.size(), figure.title,
      1.0 - static_cast<double>(kKeyWidth) / static_cast<double>(width), figure.k.size() - 1,
      tics(figure));
  for (std::size_t p = 0; p < figure.panels.size(); ++p) {
    const bool last = p + 1 == figure.panels.size();
    out += last ? "  set key at screen 0.995,0.5 right center vertical Left reverse samplen 2.5\n"
                : "  unset key\n";
    out += fmt::format("  set ylabel '{} ({} is better)'\n", axis_title(figure.panels[p]),
                       larger_is_better(figure.panels[p]) ? "higher" : "lower");
    out += plot_command(figure, p);
  }
  return out + "  unset multiplot; unset output\n}\n";
}

bool draw(const EvaluationTable& table, const Figure& figure, const std::filesystem::path& folder,
          const std::string& name) {
  const std::string script = name + ".gp";
  write_file(folder / script, gnuplot_script(table, figure, name));
  const int status = run_gnuplot(folder, script);
  METTLE_CHECK(Error, status <= 0, "gnuplot: failed with exit status {}: cd {} && gnuplot {}",
               status, folder.string(), script);
  return status == 0;
}

}  // namespace mettle::command
