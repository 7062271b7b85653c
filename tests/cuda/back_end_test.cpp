// The engine's CUDA back end on the emulated device: memory, order, events, graphs, faults, and
// what happens when something fails.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "engine/check.h"
#include "engine/cuda_device.h"
#include "engine/cuda_graph.h"
#include "engine/exec.h"
#include "engine/file.h"
#include "engine/tensor.h"
#include "engine/trace.h"
#include "kernels/emulation/driver.h"
#include "kernels/emulation/report.h"
#include "tests/autograd/message_of.h"
#include "tests/cuda/kernels.h"

namespace mettle::test {
namespace {

using emulation::DriverOptions;
using emulation::EmulatedDriver;

const Device gpu = Device::cuda(0);

/// A fresh device for each test.
class BackEnd : public testing::Test {
 protected:
  void SetUp() override { use({}); }
  void TearDown() override { set_cuda_driver(nullptr); }

  void use(const DriverOptions& options) {
    driver = std::make_shared<EmulatedDriver>(options);
    set_cuda_driver(driver);
  }
  static Tensor on_device(const std::vector<float>& values) {
    return Tensor::from(values, {static_cast<std::int64_t>(values.size())}).to(gpu);
  }
  static AllocatorStats stats() { return allocator(gpu).stats(); }

  std::shared_ptr<EmulatedDriver> driver;
};

using Values = std::vector<float>;

TEST_F(BackEnd, ValuesGoToTheDeviceAndComeBack) {
  const Tensor x = on_device({1, 2, 3});
  EXPECT_EQ(x.device(), gpu);
  affine(current_stream(gpu), x.data<float>(), 3, 2, 1);
  EXPECT_EQ(x.to_vector<float>(), (Values{3, 5, 7}));
  EXPECT_EQ(x.slice(0, 1, 2).item(), 5);
  EXPECT_EQ(Tensor::zeros({2}, DType::f32, gpu).to_vector<float>(), (Values{0, 0}));
}

TEST_F(BackEnd, ViewsKeepTheirStridesOnTheWay) {
  const Tensor x = Tensor::from(Values{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, {3, 4});
  const Tensor view = x.slice(1, 1, 4, 2).transpose(0, 1);
  const Tensor moved = view.to(gpu);
  EXPECT_EQ(moved.strides(), view.strides());
  EXPECT_EQ(moved.to_vector<float>(), (Values{1, 5, 9, 3, 7, 11}));
  EXPECT_EQ(x.slice(0, 1, 2).expand({5, 4}).to(gpu).to_vector<float>(),
            x.slice(0, 1, 2).expand({5, 4}).to_vector<float>());
  EXPECT_EQ(Tensor::zeros({0, 3}).to(gpu).to_vector<float>(), Values{});
}

TEST_F(BackEnd, LargeCopiesPassThroughTheStagingMemory) {
  Values values(3'000'001);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 1013);
  const Tensor x = Tensor::from(values, {static_cast<std::int64_t>(values.size())});
  const Tensor moved = x.to(gpu);
  const Tensor again = x.to(gpu);  // reuses the staging memory while the first may be under way
  EXPECT_EQ(moved.to_vector<float>(), values);
  EXPECT_EQ(again.to_vector<float>(), values);
}

TEST_F(BackEnd, NothingRunsBeforeSomebodyWaits) {
  const Tensor x = on_device({1});
  synchronize(gpu);
  const auto before = driver->counts().switches;
  affine(current_stream(gpu), x.data<float>(), 1, 1, 1);
  EXPECT_EQ(driver->counts().switches, before);
  EXPECT_EQ(x.item(), 2);
  EXPECT_GT(driver->counts().switches, before);
}

// ---- memory -------------------------------------------------------------------------------------
TEST_F(BackEnd, FreedBlocksAreReusedByTheStream) {
  void* first = nullptr;
  {
    const Tensor x = Tensor::empty({1000}, DType::f32, gpu);
    first = x.data();
  }
  EXPECT_GT(stats().cached_bytes, 0u);
  const Tensor y = Tensor::empty({990}, DType::f32, gpu);
  EXPECT_EQ(y.data(), first);
  EXPECT_EQ(stats().cached_bytes, 0u);
  EXPECT_EQ(stats().allocations, 2u);
  EXPECT_EQ(stats().system_calls, 1u);
  EXPECT_EQ(stats().live_blocks, 1u);
}

TEST_F(BackEnd, AnotherStreamGetsABlockOfItsOwn) {
  void* first = nullptr;
  {
    const Tensor x = Tensor::empty({1000}, DType::f32, gpu);
    first = x.data();
  }
  const StreamScope scope(communication_stream(gpu));
  EXPECT_NE(Tensor::empty({1000}, DType::f32, gpu).data(), first);
}

TEST_F(BackEnd, TheCacheHasABound) {
  allocator(gpu).set_limits(std::size_t{1} << 30, 8192);
  {
    std::vector<Tensor> many;
    for (int i = 0; i < 20; ++i) many.push_back(Tensor::empty({1024}, DType::f32, gpu));
  }
  EXPECT_EQ(stats().cached_bytes, 8192u);
  allocator(gpu).trim();
  EXPECT_EQ(stats().cached_bytes, 0u);
}

TEST_F(BackEnd, OutOfMemoryTellsWhoHasItAndLeavesTheProcessUsable) {
  DriverOptions small;
  small.memory_bytes = 1 << 20;
  use(small);
  {
    const Tensor held = Tensor::empty({100'000}, DType::f32, gpu);
    const std::string message =
        message_of<MemoryError>([] { Tensor::empty({200'000}, DType::f32, gpu); });
    EXPECT_THAT(message, testing::HasSubstr("no 800000 bytes left on the device"));
    EXPECT_THAT(message, testing::HasSubstr("live in 1 blocks"));
    EXPECT_THAT(message, testing::HasSubstr("largest live tensors"));
  }
  // What was freed waits in the cache and is given back when a larger block is wanted.
  const Tensor fits = Tensor::zeros({200'000}, DType::f32, gpu);
  EXPECT_EQ(fits.slice(0, 0, 1).item(), 0);
}

TEST_F(BackEnd, ALimitOnLiveBytesIsKept) {
  allocator(gpu).set_limits(4096, 0);
  const Tensor x = Tensor::empty({512}, DType::f32, gpu);
  EXPECT_THAT(message_of<MemoryError>([] { Tensor::empty({1024}, DType::f32, gpu); }),
              testing::HasSubstr("would pass the limit of 4096"));
}

TEST_F(BackEnd, AnAllocationThatFailsOnceSucceedsAfterTheCacheIsGivenBack) {
  { const Tensor cached = Tensor::empty({4096}, DType::f32, gpu); }
  driver->fail_allocation_after(0);
  const Tensor x = Tensor::zeros({100'000}, DType::f32, gpu);
  EXPECT_EQ(x.slice(0, 5, 6).item(), 0);
  EXPECT_EQ(stats().cached_bytes, 0u);
}

TEST_F(BackEnd, HostCodeCannotTouchDeviceMemory) {
  const Tensor x = on_device({1, 2});
  synchronize(gpu);
  EXPECT_DEATH(*x.data<float>() = 3, "");
}

// ---- order --------------------------------------------------------------------------------------
// A kernel on the compute stream, then one on the other that needs its result.
double two_streams(bool waits) {
  const Tensor x = Tensor::zeros({1}, DType::f32, gpu);
  synchronize(gpu);
  Event done(gpu);
  affine(compute_stream(gpu), x.data<float>(), 1, 1, 3);
  done.record(compute_stream(gpu));
  if (waits) done.wait(communication_stream(gpu));
  affine(communication_stream(gpu), x.data<float>(), 1, 10, 0);
  synchronize(gpu);
  return x.item();
}

TEST_F(BackEnd, EventsOrderStreamsAndTheirAbsenceShows) {
  bool seen_wrong = false;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    driver->reseed(seed);
    EXPECT_EQ(two_streams(true), 30);
    seen_wrong = seen_wrong || two_streams(false) != 30;
  }
  EXPECT_TRUE(seen_wrong);
}

// Freed while another stream still reads it, then overwritten.
double freed_in_use(bool told) {
  Tensor result = Tensor::zeros({1}, DType::f32, gpu);
  {
    const Tensor x = Tensor::from(Values{5}, {1}).to(gpu);
    synchronize(gpu);
    add_to(communication_stream(gpu), x.data<float>(), result.data<float>(), 1);
    if (told) cuda_device(gpu).allocator().used_on(x.storage()->data(), communication_stream(gpu));
  }
  const Tensor y = Tensor::zeros({1}, DType::f32, gpu);  // the same block
  synchronize(gpu);
  return result.item();
}

TEST_F(BackEnd, ABlockWaitsForTheStreamsThatUseIt) {
  bool seen_wrong = false;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    driver->reseed(seed);
    EXPECT_EQ(freed_in_use(true), 5);
    seen_wrong = seen_wrong || freed_in_use(false) != 5;
  }
  EXPECT_TRUE(seen_wrong);
}

// ---- graphs -------------------------------------------------------------------------------------
TEST_F(BackEnd, AGraphRepeatsItsWork) {
  const Tensor x = on_device({1, 2});
  Tensor y;
  CudaGraph graph = CudaGraph::capture(gpu, [&] {
    y = Tensor::zeros({2}, DType::f32, gpu);
    const Tensor temporary = Tensor::zeros({2}, DType::f32, gpu);
    add_to(current_stream(gpu), x.data<float>(), temporary.data<float>(), 2);
    affine(current_stream(gpu), temporary.data<float>(), 2, 2, 0);
    add_to(current_stream(gpu), temporary.data<float>(), y.data<float>(), 2);
  });
  EXPECT_EQ(x.to_vector<float>(), (Values{1, 2}));  // nothing ran
  graph.launch();
  EXPECT_EQ(y.to_vector<float>(), (Values{2, 4}));
  x.copy_from(Tensor::from(Values{10, 20}, {2}));
  // Tensors made in between do not get the memory of the graph's temporaries.
  std::vector<Tensor> others;
  for (int i = 0; i < 8; ++i) others.push_back(Tensor::zeros({2}, DType::f32, gpu));
  graph.launch();
  EXPECT_EQ(y.to_vector<float>(), (Values{20, 40}));
  for (const Tensor& other : others) EXPECT_EQ(other.to_vector<float>(), (Values{0, 0}));
}

TEST_F(BackEnd, TheMemoryOfAGraphGoesWithIt) {
  const Tensor x = on_device({1, 2});
  std::optional<CudaGraph> graph(CudaGraph::capture(gpu, [&] {
    const Tensor temporary = Tensor::zeros({20'000}, DType::f32, gpu);
    add_to(current_stream(gpu), x.data<float>(), temporary.data<float>(), 2);
  }));
  EXPECT_GE(stats().cached_bytes, 80'000u);
  graph->launch();
  graph.reset();
  EXPECT_EQ(stats().cached_bytes, 0u);
}

TEST_F(BackEnd, ACaptureSpansStreamsThatJoin) {
  const Tensor x = on_device({1});
  Event fork(gpu), join(gpu);
  const auto work = [&](bool joins) {
    fork.record(compute_stream(gpu));
    fork.wait(communication_stream(gpu));
    affine(communication_stream(gpu), x.data<float>(), 1, 1, 1);
    join.record(communication_stream(gpu));
    if (joins) join.wait(compute_stream(gpu));
  };
  CudaGraph graph = CudaGraph::capture(gpu, [&] { work(true); });
  graph.launch();
  graph.launch();
  EXPECT_EQ(x.item(), 3);
  EXPECT_THROW(CudaGraph::capture(gpu, [&] { work(false); }), DeviceError);
}

TEST_F(BackEnd, ReadingValuesEndsACaptureWithAnError) {
  const Tensor x = on_device({1});
  EXPECT_THAT(message_of<DeviceError>([&] { CudaGraph::capture(gpu, [&] { (void)x.item(); }); }),
              testing::HasSubstr("not possible while a graph is captured"));
  EXPECT_THAT(
      message_of<DeviceError>([&] { CudaGraph::capture(gpu, [&] {
                                      on_device({1, 2});
                                    }); }),
      testing::HasSubstr("copying from the host is not possible while a graph is captured"));
  EXPECT_EQ(x.item(), 1);  // and the device goes on
  EXPECT_THROW(CudaGraph::capture(Device::cpu(), [] {}), DeviceError);
}

// ---- what goes wrong ----------------------------------------------------------------------------
TEST_F(BackEnd, ATraceHasTheTimesOfTheDevice) {
  const auto path = std::filesystem::path(testing::TempDir()) / "mettle_device_trace.json";
  {
    const Trace trace(path);
    const Tensor x = on_device({1, 2, 3});
    const StreamScope scope(communication_stream(gpu));
    const CudaGraph graph = CudaGraph::capture(gpu, [&] {
      const TraceRange captured(
          "captured", "kernel", [] { return std::string("mine"); }, current_stream(gpu));
      affine(current_stream(gpu), x.data<float>(), 3, 2, 1);
    });
    for (int i = 0; i < 5000; ++i)  // more than are kept waiting
      const TraceRange range(
          "work", "kernel", [] { return std::string("mine"); }, current_stream(gpu));
    synchronize(gpu);
  }
  std::map<std::string, int> on_host, on_gpu;
  for (const nlohmann::json& event : nlohmann::json::parse(read_file(path))) {
    if (event.at("ph") != "X") continue;
    EXPECT_GE(event.at("dur").get<double>(), 0);
    ++(event.at("pid") == 1 ? on_host : on_gpu)[event.at("name")];
  }
  // The capture queues no work of its own: only the host's time is known.
  EXPECT_EQ(on_host, (std::map<std::string, int>{{"captured", 1}, {"upload", 1}, {"work", 5000}}));
  EXPECT_EQ(on_gpu, (std::map<std::string, int>{{"upload", 1}, {"work", 5000}}));
  std::filesystem::remove(path);
}

TEST_F(BackEnd, ProfilersGetTheRangesThatTheyAskFor) {
  setenv("METTLE_NVTX", "1", 1);
  Trace::start_from_environment();
  {
    const TraceRange step("step");
    on_device({1});
    EXPECT_EQ(driver->open_ranges(), 1);
  }
  setenv("METTLE_NVTX", "0", 1);
  Trace::start_from_environment();
  { const TraceRange step("another step"); }
  EXPECT_EQ(driver->ranges(), (std::vector<std::string>{"step", "upload"}));
  EXPECT_EQ(driver->open_ranges(), 0);
}

TEST_F(BackEnd, ABadValueIsTheErrorOfTheNextWait) {
  const Tensor x = on_device({1, 2, -3, 4});
  check_not_negative(current_stream(gpu), x.data<float>(), 4);
  EXPECT_THAT(message_of<ValueError>([&] { (void)x.to_vector<float>(); }),
              testing::HasSubstr("a value is negative"));
  EXPECT_EQ(x.to_vector<float>(), (Values{1, 2, -3, 4}));  // told once
}

TEST_F(BackEnd, AnErrorOfTheDeviceComesWithTheNextWait) {
  const Tensor x = on_device({1, 2});
  synchronize(gpu);
  driver->fail_work_after(0);
  affine(current_stream(gpu), x.data<float>(), 2, 1, 1);
  EXPECT_THAT(message_of<DeviceError>([&] { synchronize(gpu); }),
              testing::HasSubstr("illegal memory access"));
}

#if defined(METTLE_EMULATION_RACE)
TEST_F(BackEnd, AKernelThatLeavesItsMemoryIsReported) {
  const Tensor x = Tensor::zeros({64}, DType::f32, gpu);
  write_past(current_stream(gpu), x.data<float>(), 64);
  EXPECT_THROW(synchronize(gpu), emulation::EmulationError);
}
#endif

TEST_F(BackEnd, AMissingDeviceIsAnErrorThatSaysWhatThereIs) {
  EXPECT_THAT(message_of<DeviceError>([] { Tensor::zeros({1}, DType::f32, Device::cuda(3)); }),
              testing::HasSubstr("cuda:3: there is 1 CUDA device, cuda:0 to cuda:0"));
  DriverOptions none;
  none.devices = 0;
  use(none);
  EXPECT_THAT(message_of<DeviceError>([] { Tensor::zeros({1}, DType::f32, gpu); }),
              testing::HasSubstr("was given no device"));
}

TEST_F(BackEnd, TheDriverStaysWhileTensorsLive) {
  const Tensor x = on_device({1});
  EXPECT_THROW(set_cuda_driver(nullptr), DeviceError);
}

TEST_F(BackEnd, TensorsMoveBetweenDevices) {
  DriverOptions two;
  two.devices = 2;
  use(two);
  const Tensor x = on_device({1, 2, 3});
  const Tensor y = x.to(Device::cuda(1));
  EXPECT_EQ(y.device(), Device::cuda(1));
  EXPECT_EQ(y.to_vector<float>(), (Values{1, 2, 3}));
}

}  // namespace
}  // namespace mettle::test
