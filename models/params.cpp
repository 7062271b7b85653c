// The list of named parameters and what its errors say.
#include "models/params.h"

#include "engine/check.h"
#include "engine/exec.h"
#include "kernels/copy.h"

namespace mettle {
namespace {

/// A few names to show beside an unknown one: those that share its last part, else the first ones.
std::string alternatives(const std::vector<std::string>& names, std::string_view unknown) {
  constexpr int shown = 5;
  const std::size_t dot = unknown.rfind('.');
  const std::string_view last = dot == std::string_view::npos ? unknown : unknown.substr(dot + 1);
  std::string text;
  int count = 0;
  for (const bool related : {true, false}) {
    for (const std::string& name : names) {
      if (count == shown) return text + ", ...";
      if (name.ends_with(last) != related) continue;
      text += (count++ ? ", " : "") + name;
    }
    if (count) return text;
  }
  return "no parameters at all";
}

}  // namespace

Params::Params() : index_(std::make_shared<const Index>()) {}

void Params::add(std::string name, Variable value) {
  METTLE_CHECK(ValueError, !contains(name), "params: there is a parameter '{}' already", name);
  METTLE_CHECK(ValueError, value.defined(), "params: the value of '{}' is null", name);
  auto index = std::make_shared<Index>(*index_);
  index->position.emplace(name, values_.size());
  index->names.push_back(std::move(name));
  index_ = std::move(index);
  values_.push_back(std::move(value));
}

bool Params::contains(std::string_view name) const { return index_->position.contains(name); }

std::size_t Params::position(std::string_view name) const {
  const auto found = index_->position.find(name);
  METTLE_CHECK(ValueError, found != index_->position.end(),
               "params: no parameter '{}'; there are: {}", name, alternatives(index_->names, name));
  return found->second;
}

std::int64_t Params::numel() const {
  std::int64_t total = 0;
  for (const Variable& v : values_) total += v ? v.numel() : 0;
  return total;
}

Params Params::with_values(Variables values) const {
  METTLE_CHECK(ShapeError, values.size() == size(), "params: {} values for {} names", values.size(),
               size());
  Params result = *this;
  result.values_ = std::move(values);
  return result;
}

Params Params::select(const std::function<bool(std::string_view)>& wanted) const {
  Params result;
  for (std::size_t i = 0; i < size(); ++i)
    if (wanted(names()[i])) result.add(names()[i], values_[i]);
  return result;
}

Params Params::replaced_by(const Params& part) const {
  Params result = *this;
  for (std::size_t i = 0; i < part.size(); ++i)
    result.values_[position(part.names()[i])] = part.values_[i];
  return result;
}

Params Params::trainable_copy() const {
  Variables copies;
  for (const Variable& v : values_) {
    const Tensor copy = Tensor::empty(v.shape(), v.dtype(), v.device());
    kernels::copy(current_stream(v.device()), {v.value().data(), copy.data(), v.dtype(), v.dtype(),
                                               v.shape(), v.value().strides(), copy.strides()});
    copies.emplace_back(copy, true);
  }
  return with_values(std::move(copies));
}

Params Params::to(Device device) const {
  Variables values;
  for (const Variable& v : values_)
    values.push_back(v ? Variable(v.value().to(device), v.requires_grad()) : v);
  return with_values(std::move(values));
}

Params Params::detached() const {
  Variables values;
  for (const Variable& v : values_) values.push_back(v.detach());
  return with_values(std::move(values));
}

}  // namespace mettle
