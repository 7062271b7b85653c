// What a benchmark program whose rows are made by a loop gives to bench/main.cpp.
#pragma once

namespace mettle::bench {

/// Registers the program's rows with Google Benchmark.
void add_all();

}  // namespace mettle::bench
