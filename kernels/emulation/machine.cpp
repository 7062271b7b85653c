// Launches: checking their shape, running their blocks one after another in a drawn order, throwing
// what was found.
#include "kernels/emulation/machine.h"

#include <fmt/args.h>
#include <fmt/format.h>

#include <utility>

#include "kernels/emulation/block.h"

namespace mettle::emulation {
namespace {

// The text with its {0}, {1}, ... filled in.
Report located(const UnlocatedReport& report, Places& places) {
  fmt::dynamic_format_arg_store<fmt::format_context> lines;
  std::vector<SourceLine> found;
  for (const Place place : report.places) {
    found.push_back(places.line(place));
    lines.push_back(to_string(found.back()));
  }
  found.resize(std::max<std::size_t>(found.size(), 2));
  return {report.finding, fmt::vformat(report.text, lines), found[0], found[1]};
}

[[noreturn]] void refuse(std::string text) {
  throw EmulationError({Report{Finding::bad_launch, std::move(text), {}, {}}});
}

void check_shape(const dev::LaunchShape& shape) {
  const auto [grid, block, bytes] = shape;
  if (grid.x < 1 || grid.y < 1 || grid.z < 1 || grid.y > 65535 || grid.z > 65535)
    refuse(fmt::format("a grid of {} x {} x {} blocks; each at least 1, y and z at most 65535",
                       grid.x, grid.y, grid.z));
  if (block.x < 1 || block.y < 1 || block.z < 1 || block.x > dev::max_block_threads ||
      block.y > dev::max_block_threads || block.z > 64 ||
      std::int64_t{block.x} * block.y * block.z > dev::max_block_threads)
    refuse(
        fmt::format("a block of {} x {} x {} threads; at least 1, z at most 64, at most {} in all",
                    block.x, block.y, block.z, dev::max_block_threads));
  if (bytes > dev::max_shared_bytes)
    throw EmulationError({Report{
        Finding::shared_memory,
        fmt::format("a launch with {} bytes of dynamic shared memory; a block has at most {}",
                    bytes, dev::max_shared_bytes),
        {},
        {}}});
}

}  // namespace

MachineState::MachineState(const Options& o) : options(o), random(o.seed) {}
MachineState::~MachineState() = default;

void MachineState::note(UnlocatedReport report) {
  const auto place = [&](std::size_t i) { return i < report.places.size() ? report.places[i] : 0; };
  if (!reported.insert({report.finding, place(0), place(1)}).second) return;
  reports.push_back(std::move(report));
  if (static_cast<int>(reports.size()) >= options.max_reports) stopped = true;
}

void MachineState::throw_findings() {
  reported.clear();
  if (thrown) {
    reports.clear();
    std::rethrow_exception(std::exchange(thrown, nullptr));
  }
  if (reports.empty()) return;
  std::vector<Report> found;
  for (const UnlocatedReport& report : reports) found.push_back(located(report, places));
  reports.clear();
  throw EmulationError(std::move(found));
}

void MachineState::launch(const KernelCall& call) {
  const Launch launch{call.shape, call.instrumented, call.kernel, call.arguments.get(), next_block};
  const dev::Dim3 grid = launch.shape.grid;
  order.clear();
  for (int z = 0; z < grid.z; ++z)
    for (int y = 0; y < grid.y; ++y)
      for (int x = 0; x < grid.x; ++x) order.push_back({x, y, z});
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  const int count = launch.threads();
  if (!stacks || stacks->count() < count) stacks = std::make_unique<FiberStacks>(count);
  if (static_cast<int>(threads.size()) != count)
    threads = std::vector<Thread>(static_cast<std::size_t>(count));
  stopped = false;
  published.clear();
  detector.begin_launch(launch.first_block);
  for (const dev::Dim3& index : order) {
    Block(*this, launch, next_block++, index).run();
    if (stopped) break;
  }
  throw_findings();
}

Machine::Machine(Options options) : state_(std::make_unique<MachineState>(options)) {}
Machine::~Machine() = default;

Stream Machine::stream() { return {Device::cuda(0), static_cast<LaunchQueue*>(state_.get())}; }
void* Machine::allocate_bytes(std::size_t bytes) { return state_->heap.allocate(bytes); }
void Machine::release(void* pointer) { state_->heap.release(pointer); }
void Machine::reseed(std::uint64_t seed) { state_->random = Random(seed); }
const Counts& Machine::counts() const { return state_->counts; }

void launch(const Stream& stream, const KernelCall& call) {
  METTLE_CHECK(DeviceError, stream.device.type == DeviceType::cuda && stream.handle,
               "emulation: kernels run on the streams of an emulated device, not on {}",
               to_string(stream.device));
  METTLE_CHECK(DeviceError, !current_thread(), "emulation: a kernel launches a kernel");
  check_shape(call.shape);
  static_cast<LaunchQueue*>(stream.handle)->launch(call);
}

}  // namespace mettle::emulation
