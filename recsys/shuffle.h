// A random permutation that depends on the generator alone (std::shuffle's depends on the library).
#pragma once

#include <utility>
#include <vector>

#include "engine/random.h"

namespace mettle {

/// Fisher-Yates, from the front: entry i is final after step i.
template <class T> void shuffle(std::vector<T>& values, Generator& generator) {
  for (std::size_t i = 0; i + 1 < values.size(); ++i)
    std::swap(values[i], values[i + generator.below(values.size() - i)]);
}

}  // namespace mettle
