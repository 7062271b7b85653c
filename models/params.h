// Params: the weights of a model as an ordered list of named variables. Layers hold no weights;
// they are given Params, so adapted weights are just another Params and nothing is ever cloned into
// a module.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "autograd/variable.h"

namespace mettle {

/// A value: copies share the names and the variables. Names are paths such as
/// "encoder.layer.0.feed_forward.up.weight" and keep the order in which they were added.
class Params {
 public:
  Params();

  /// ValueError for a name that is there already and for a null variable.
  void add(std::string name, Variable value);
  /// ValueError, naming what there is instead, for an unknown name.
  const Variable& operator[](std::string_view name) const { return values_[position(name)]; }
  std::size_t position(std::string_view name) const;
  bool contains(std::string_view name) const;

  std::size_t size() const { return values_.size(); }
  const std::vector<std::string>& names() const { return index_->names; }
  const Variables& values() const { return values_; }
  /// The number of scalars in all variables.
  std::int64_t numel() const;

  /// The same names with other values: gradients, adapted weights, moments of an optimizer. A value
  /// may be null. ShapeError when the count differs.
  Params with_values(Variables values) const;
  /// The variables whose names satisfy `wanted`, in order.
  Params select(const std::function<bool(std::string_view)>& wanted) const;
  /// The same, with the variables of `part` in place of those of the same names. ValueError when
  /// `part` has a name that is not here.
  Params replaced_by(const Params& part) const;

  /// Copies of the values in memory of their own, as leaves that require gradients.
  Params trainable_copy() const;
  /// The values on a device, as leaves that require gradients where these do; a value that is there
  /// already is shared.
  Params to(Device device) const;
  /// The same values (and memory), cut from their history.
  Params detached() const;

 private:
  struct Index {
    std::vector<std::string> names;
    std::map<std::string, std::size_t, std::less<>> position;
  };

  std::shared_ptr<const Index> index_;  // shared by all Params with these names
  Variables values_;
};

}  // namespace mettle
