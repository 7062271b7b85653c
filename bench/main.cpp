// main() of the benchmark programs whose rows are made by a loop.
#include <benchmark/benchmark.h>

#include "bench/add_all.h"

int main(int argc, char** argv) {
  mettle::bench::add_all();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
