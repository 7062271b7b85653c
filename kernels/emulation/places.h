// Places in kernel code as small numbers: cheap to note with every access, turned into file and
// line only when a report is written.
//
// Operations of the vocabulary pass their std::source_location. Plain loads and stores come from
// compiler instrumentation with nothing but a return address; its line is read from the debug
// information by `addr2line`, run once per address and only for a report. A library could do it
// inside the process, but libbacktrace is a private part of g++ in most distributions, libdw a
// dependency of every program that links the emulation, while addr2line comes with the binutils
// that linked the program. Without it a report names program and address instead.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <source_location>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "kernels/emulation/report.h"

namespace mettle::emulation {

/// Number of a place; 0 is "unknown".
using Place = std::uint32_t;

class Places {
 public:
  Places();
  Place of(const std::source_location& where);
  /// The instruction before this return address.
  Place of(const void* return_address);
  SourceLine line(Place place);

 private:
  struct Entry {
    const void* return_address = nullptr;  // or null: `where`
    std::source_location where;
  };
  struct Cached {
    const void* key = nullptr;
    Place place = 0;
  };

  std::vector<Entry> entries_;
  std::map<std::tuple<const char*, std::uint32_t, std::uint32_t>, Place> operations_;
  std::unordered_map<const void*, Place> addresses_;
  std::array<Cached, 1024> recent_;  // in front of addresses_, by their low bits
  std::unordered_map<Place, SourceLine> lines_;
};

}  // namespace mettle::emulation
