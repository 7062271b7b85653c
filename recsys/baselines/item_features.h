// Numbers that describe an item, on the scale of the training ratings.
#pragma once

#include <span>
#include <vector>

#include "recsys/dataset.h"
#include "recsys/item_statistics.h"

namespace mettle {

/// z = (value - mean) / spread.
struct StandardScale {
  double mean = 0.0, spread = 1.0;
  double operator()(double value) const { return (value - mean) / spread; }
};

/// Year and popularity with mean 0 and variance 1 over the training users' ratings.
class ItemScales {
 public:
  ItemScales(const Dataset& data, const ItemSums& training);
  double year(std::int32_t item) const { return year_[static_cast<std::size_t>(item)]; }
  double log_count(double count) const;

 private:
  std::vector<double> year_;  // (items), standardised
  StandardScale log_count_;
};

}  // namespace mettle
