// The backward walk. Three passes over the part of the graph that matters: collect the nodes
// between outputs and inputs, mark those that lead to an input, run their rules from the newest to
// the oldest. Nothing recurses, and nothing is written into shared nodes except what free_saved()
// drops.
#include "autograd/grad.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <limits>
#include <utility>

#include "autograd/node.h"
#include "autograd/ops.h"
#include "engine/exec.h"
#include "engine/trace.h"
#include "kernels/elementwise.h"

namespace mettle {
namespace {

constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();

/// Pointer -> index, open addressing. The walk looks up every edge once: this is its hottest spot.
class NodeTable {
 public:
  NodeTable() : slots_(64) {}

  /// The index of `node`, or `fresh` after entering it with that index.
  std::uint32_t find_or_add(const Node* node, std::uint32_t fresh) {
    if ((count_ + 1) * 2 > slots_.size()) grow();
    Slot& slot = probe(node);
    if (!slot.node) {
      slot = {node, fresh};
      ++count_;
    }
    return slot.index;
  }

 private:
  struct Slot {
    const Node* node = nullptr;
    std::uint32_t index = 0;
  };

  Slot& probe(const Node* node) {
    const std::size_t mask = slots_.size() - 1;
    std::size_t at = (reinterpret_cast<std::uintptr_t>(node) * 0x9E3779B97F4A7C15ull) >> 32;
    while (slots_[at & mask].node && slots_[at & mask].node != node) ++at;
    return slots_[at & mask];
  }
  void grow() {
    std::vector<Slot> old(slots_.size() * 4);
    old.swap(slots_);
    for (const Slot& s : old)
      if (s.node) probe(s.node) = s;
  }

  std::vector<Slot> slots_;
  std::size_t count_ = 0;
};

std::string shapes_of(const Variables& dys) {
  std::string shapes;
  for (const Variable& dy : dys)
    shapes += (shapes.empty() ? "" : ", ") + (dy ? to_string(dy.shape()) : std::string("none"));
  return shapes;
}

void check_gradient(const char* name, std::size_t i, const Variable& dx, const Edge& edge) {
  const OutputMeta& want = edge.node->outputs()[edge.output];
  METTLE_CHECK(ShapeError, dx.shape() == want.shape,
               "{}: gradient {} has shape {}, its value has {}", name, i, to_string(dx.shape()),
               to_string(want.shape));
  METTLE_CHECK(DTypeError, dx.dtype() == want.dtype,
               "{}: gradient {} has dtype {}, its value has {}", name, i, to_string(dx.dtype()),
               to_string(want.dtype));
  METTLE_CHECK(DeviceError, dx.device() == want.device, "{}: gradient {} is on {}, its value on {}",
               name, i, to_string(dx.device()), to_string(want.device));
}

/// sum += x for equal shapes; `sum` is dense.
void add_in_place(const Tensor& sum, const Tensor& x) {
  kernels::binary(current_stream(sum.device()),
                  {kernels::BinaryOp::add, sum.dtype(), sum.data(), x.data(), sum.data(),
                   sum.shape(), sum.strides(), x.strides()});
  sum.note_write("grad");
}

class Walk {
 public:
  Walk(std::span<const Variable> inputs, const GradOptions& options)
      : options_(options),
        keep_(options.retain_graph.value_or(options.create_graph)),
        inputs_(inputs),
        results_(inputs.size()) {}

  Variables run(std::span<const Variable> outputs) {
    enter_inputs();
    const GradMode mode(options_.create_graph);
    seed(outputs);
    collect();
    mark_needed();
    for (std::size_t i = reached_.size(); i-- > 0;) visit(reached_[i]);
    if (!options_.allow_unused) check_unused();
    return std::move(results_);
  }

 private:
  struct Record {
    Ref<Node> node;
    std::uint32_t first_edge = 0;      // into targets_
    std::uint32_t first_gradient = 0;  // into gradients_
    std::uint32_t pending = 0;         // gradients still to arrive from needed nodes
    std::int32_t first_input = -1;     // head of the list of inputs that live at this node
    bool expanded = false;
    bool propagates = false;  // leads to an input beyond itself
    bool needed = false;      // propagates or is an input
  };
  struct InputSlot {
    std::uint32_t output = 0;
    std::int32_t next = -1;
  };

  std::uint32_t record_of(const Ref<Node>& node) {
    const auto fresh = static_cast<std::uint32_t>(records_.size());
    const std::uint32_t index = table_.find_or_add(node.get(), fresh);
    if (index == fresh) {
      Record& r = records_.emplace_back();
      r.node = node;
      r.first_gradient = static_cast<std::uint32_t>(gradients_.size());
      gradients_.resize(gradients_.size() + node->outputs().size());
    }
    return index;
  }

  void enter_inputs() {
    input_slots_.resize(inputs_.size());
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      METTLE_CHECK(AutogradError, inputs_[i].requires_grad() || options_.allow_unused,
                   "grad: input {} does not require a gradient; make it with requires_grad, or set "
                   "allow_unused",
                   i);
      const Edge edge = inputs_[i].edge();
      if (!edge.node) continue;
      Record& r = records_[record_of(edge.node)];
      input_slots_[i] = {edge.output, r.first_input};
      r.first_input = static_cast<std::int32_t>(i);
      oldest_input_ = std::min(oldest_input_, edge.node->id());
    }
  }

  void seed(std::span<const Variable> outputs) {
    const Variables& dys = options_.grad_outputs;
    METTLE_CHECK(AutogradError, dys.empty() || dys.size() == outputs.size(),
                 "grad: {} outputs but {} grad_outputs", outputs.size(), dys.size());
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      const Variable& y = outputs[i];
      if (!dys.empty() && !dys[i]) continue;
      METTLE_CHECK(AutogradError, y.requires_grad() || options_.allow_unused,
                   "grad: output {} depends on nothing that requires a gradient", i);
      if (!y.requires_grad()) continue;
      METTLE_CHECK(AutogradError, !dys.empty() || y.numel() == 1,
                   "grad: output {} has shape {}; pass its cotangent in grad_outputs or reduce it "
                   "to one element",
                   i, to_string(y.shape()));
      const Edge edge = y.edge();
      const Variable dy = dys.empty() ? full_like(y, 1.0) : dys[i];
      check_gradient("grad_outputs", i, dy, edge);
      roots_.push_back(record_of(edge.node));
      accumulate(roots_.back(), edge.output, dy);
    }
  }

  // Depth first from the outputs. A node older than every input cannot lead to one: it is left out.
  void collect() {
    std::vector<std::uint32_t> stack(roots_);
    while (!stack.empty()) {
      const std::uint32_t r = stack.back();
      stack.pop_back();
      if (records_[r].expanded) continue;
      records_[r].expanded = true;
      records_[r].first_edge = static_cast<std::uint32_t>(targets_.size());
      reached_.push_back(r);
      const Ref<Node> node = records_[r].node;
      for (const Edge& edge : node->edges()) {
        const bool relevant = edge.node && edge.node->id() >= oldest_input_;
        const std::uint32_t t = relevant ? record_of(edge.node) : none;
        targets_.push_back(t);
        if (relevant && !records_[t].expanded) stack.push_back(t);
      }
    }
    // By time; nodes of two threads that have the same, in the order in which the walk met them.
    std::sort(reached_.begin(), reached_.end(), [&](std::uint32_t a, std::uint32_t b) {
      return std::pair(records_[a].node->id(), a) < std::pair(records_[b].node->id(), b);
    });
  }

  std::span<const std::uint32_t> targets(const Record& r) const {
    return std::span(targets_).subspan(r.first_edge, r.node->edges().size());
  }
  bool leads(std::uint32_t target) const { return target != none && records_[target].needed; }

  void mark_needed() {
    for (const std::uint32_t index : reached_) {
      Record& r = records_[index];
      for (const std::uint32_t t : targets(r)) {
        if (!leads(t)) continue;
        r.propagates = true;
        ++records_[t].pending;
      }
      r.needed = r.propagates || r.first_input >= 0;
    }
  }

  // All consumers of this node are newer and were visited: its gradients are complete.
  void visit(std::uint32_t index) {
    finish_inputs(index);
    if (!records_[index].propagates) return;
    const Ref<Node> node = records_[index].node;
    const auto first = gradients_.begin() + records_[index].first_gradient;
    const Variables dys(
        std::make_move_iterator(first),
        std::make_move_iterator(first + static_cast<std::ptrdiff_t>(node->outputs().size())));
    const bool any =
        std::any_of(dys.begin(), dys.end(), [](const Variable& v) { return v.defined(); });
    settle_edges(index, *node, any ? run_rule(index, node, dys) : Variables(node->edges().size()));
  }

  Variables run_rule(std::uint32_t index, const Ref<Node>& node, const Variables& dys) {
    METTLE_CHECK(AutogradError, !node->freed(),
                 "{}: its saved tensors were freed by an earlier grad(); pass retain_graph or "
                 "create_graph to that call",
                 node->name());
    needed_edges_.clear();
    for (const std::uint32_t t : targets(records_[index])) needed_edges_.push_back(leads(t));
    const TraceRange range(node->name(), "rule", [&] { return shapes_of(dys); });
    Variables dxs = node->backward(Backward(node, dys, needed_edges_));
    METTLE_CHECK(AutogradError, dxs.size() == node->edges().size(),
                 "{}: the gradient rule returned {} gradients for {} inputs", node->name(),
                 dxs.size(), node->edges().size());
    if (!keep_) node->free_saved();
    return dxs;
  }

  // Hands the gradients to the nodes below; a leaf that has all of its own is finished at once.
  void settle_edges(std::uint32_t index, const Node& node, const Variables& dxs) {
    for (std::size_t e = 0; e < dxs.size(); ++e) {
      const std::uint32_t t = targets_[records_[index].first_edge + e];
      if (!leads(t)) continue;
      const Edge& edge = node.edges()[e];
      if (dxs[e]) {
        check_gradient(node.name(), e, dxs[e], edge);
        accumulate(t, edge.output, dxs[e]);
      }
      if (--records_[t].pending == 0 && edge.node->edges().empty()) finish_inputs(t);
    }
  }

  void accumulate(std::uint32_t record, std::uint32_t output, const Variable& dx) {
    Variable& sum = gradients_[records_[record].first_gradient + output];
    if (!sum) {
      sum = dx;
    } else if (!options_.create_graph && sum.unshared() && sum.value().is_contiguous()) {
      add_in_place(sum.value(), dx.value());
    } else {
      sum = add(sum, dx);
    }
  }

  void finish_inputs(std::uint32_t index) {
    for (std::int32_t i = std::exchange(records_[index].first_input, -1); i >= 0;) {
      const auto at = static_cast<std::size_t>(i);
      results_[at] = gradients_[records_[index].first_gradient + input_slots_[at].output];
      if (options_.on_ready && results_[at]) options_.on_ready(at, results_[at]);
      i = input_slots_[at].next;
    }
  }

  void check_unused() const {
    for (std::size_t i = 0; i < results_.size(); ++i)
      METTLE_CHECK(AutogradError, results_[i].defined(),
                   "grad: the outputs do not depend on input {} of shape {}; leave it out, or set "
                   "allow_unused for a null gradient",
                   i, to_string(inputs_[i].shape()));
  }

  const GradOptions& options_;
  const bool keep_;
  std::span<const Variable> inputs_;
  Variables results_;
  std::uint64_t oldest_input_ = std::numeric_limits<std::uint64_t>::max();
  NodeTable table_;
  std::vector<Record> records_;
  std::vector<InputSlot> input_slots_;
  Variables gradients_;                 // of every output of every record
  std::vector<std::uint32_t> targets_;  // record of every edge of every expanded record
  std::vector<std::uint32_t> roots_;
  std::vector<std::uint32_t> reached_;  // oldest first
  std::vector<std::uint8_t> needed_edges_;
};

}  // namespace

Variables grad(std::span<const Variable> outputs, std::span<const Variable> inputs,
               const GradOptions& options) {
  const TraceRange range("grad", "grad", [&] {
    return fmt::format("{} outputs, {} inputs{}", outputs.size(), inputs.size(),
                       options.create_graph ? ", to be differentiated again" : "");
  });
  return Walk(inputs, options).run(outputs);
}

}  // namespace mettle
