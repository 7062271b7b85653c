// The recommender on a device: training ends where the CPU's does but for rounding, and files go
// from one device to the other.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "tests/kernels/device_under_test.h"
#include "tests/recsys/neural_test_data.h"

namespace mettle {
namespace {

class DeviceTrainingTest : public testing::TestWithParam<NeuralMethod> {
 protected:
  DeviceTrainingTest()
      : data_(test::planted_tastes(16, 26)),
        split_(split_cold_start(data_, 1, {.query = 4, .max_support = 10, .draws = 1})),
        folder_(std::filesystem::temp_directory_path() /
                fmt::format("mettle-device-{}-{}", getpid(), static_cast<int>(GetParam()))) {
    std::filesystem::create_directories(folder_);
  }
  ~DeviceTrainingTest() override { std::filesystem::remove_all(folder_); }

  TrainedRecommender train(Device device) const {
    NeuralTrainingOptions options = test::short_training();
    options.model.dim = 4;
    options.model.hidden = 4;
    options.joint.trainer.epochs = 1;
    options.meta.tasks = 4;
    options.meta.batch = {.support = 2, .query = 3, .support_sizes = {2}};
    options.meta.trainer.epochs = 1;
    options.adaptation.steps = 2;
    options.device = device;
    options.checkpoints = folder_;
    return NeuralTraining(data_, split_, options).train(GetParam());
  }
  std::vector<double> likes(const TrainedRecommender& recommender) const {
    return recommender.predict(data_, split_.test, 2).score;
  }
  static void expect_near(const std::vector<double>& got, const std::vector<double>& want,
                          double tolerance) {
    ASSERT_EQ(got.size(), want.size());
    for (std::size_t i = 0; i < got.size(); ++i)
      EXPECT_NEAR(got[i], want[i], tolerance) << "prediction " << i;
  }

  Dataset data_;
  ColdStartSplit split_;
  std::filesystem::path folder_;
};

TEST_P(DeviceTrainingTest, EndsWhereTheCpuDoesAndItsFilesGoFromOneToTheOther) {
  const Device device = test::device_under_test();
  TrainedRecommender trained = train(device);
  EXPECT_EQ(trained.learned().device(), device);
  const std::vector<double> on_device = likes(trained);
  trained.save(data_, folder_ / "model.safetensors");
  const TrainedRecommender loaded = TrainedRecommender::load(data_, folder_ / "model.safetensors");
  EXPECT_EQ(loaded.learned().device(), Device::cpu());
  expect_near(likes(loaded), on_device, 1e-4);
  // All stages are done: the CPU takes them over.
  expect_near(likes(train(Device::cpu())), on_device, 1e-4);

  std::filesystem::remove_all(folder_);
  std::filesystem::create_directories(folder_);
  expect_near(likes(train(Device::cpu())), on_device, 1e-3);
}

INSTANTIATE_TEST_SUITE_P(Methods, DeviceTrainingTest,
                         testing::Values(NeuralMethod::maml, NeuralMethod::ridge));

}  // namespace
}  // namespace mettle
