// The few-shot curve as a picture, drawn by gnuplot.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "recsys/evaluation.h"

namespace mettle::command {

/// One curve. Our own methods are drawn in colour over the grey of the classical ones.
struct Series {
  std::string method;
  bool classical = false;
};

struct Figure {
  std::string title;
  std::vector<Metric> panels;  // side by side
  std::vector<int> k;          // ascending
  std::vector<Series> series;
};

/// A gnuplot script, data included, that draws `name`.svg and `name`.png into the working folder.
std::string gnuplot_script(const EvaluationTable& table, const Figure& figure,
                           const std::string& name);

/// Writes `folder`/`name`.gp and runs gnuplot on it there. False when gnuplot is not installed;
/// Error when it fails.
bool draw(const EvaluationTable& table, const Figure& figure, const std::filesystem::path& folder,
          const std::string& name);

}  // namespace mettle::command
