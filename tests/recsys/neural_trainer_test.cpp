// The training loop alone, on a loss that can be followed by hand.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <limits>

#include "autograd/ops.h"
#include "recsys/neural/trainer.h"

namespace mettle {
namespace {

// |w - target|^2, four steps per epoch. The loss is NaN from step `bad_step` of all steps on.
class Quadratic final : public TrainingStage {
 public:
  explicit Quadratic(std::vector<double> validation, std::int64_t bad_step = -1)
      : validation_(std::move(validation)), bad_step_(bad_step) {}
  std::string_view name() const override { return "quadratic"; }
  std::int64_t steps_per_epoch() const override { return 4; }
  void begin_epoch(Generator& random) override { target_ = 1.0 + random.uniform(); }
  Variable loss(const Learned& learned, std::int64_t, Generator&) const override {
    const double factor = steps_++ == bad_step_ ? std::numeric_limits<double>::quiet_NaN() : 1.0;
    return mul(sum(square(sub(learned.weights["w"], target_))), factor);
  }
  std::string describe_step(std::int64_t step) const override {
    return fmt::format("part {}", step);
  }
  // The numbers given, one after the other.
  double validation_loss(const Learned&, const Tick& tick) const override {
    tick();
    return validation_.at(asked_++);
  }

 private:
  std::vector<double> validation_;
  std::int64_t bad_step_;
  double target_ = 0.0;
  mutable std::int64_t steps_ = 0;
  mutable std::size_t asked_ = 0;
};

Learned start() {
  Learned learned;
  learned.weights.add("w", full({3}, 0.0).detach_requires_grad());
  return learned;
}

double first_weight(const Learned& learned) {
  return learned.weights["w"].value().to_vector<double>()[0];
}

TEST(TrainStage, KeepsTheBestAndStopsAfterEpochsWithoutImprovement) {
  Quadratic stage({0.9, 0.5, 0.4, 0.45, 0.41, 0.1});
  std::vector<double> seen;
  std::vector<bool> best;
  const TrainingResult result =
      train_stage(stage, start(), {.epochs = 10, .learning_rate = 0.1, .patience = 2}, 1,
                  {.on_epoch =
                       [&](const EpochRecord& r) {
                         seen.push_back(r.validation_loss);
                         best.push_back(r.best);
                       },
                   .work = {}});
  EXPECT_EQ(result.validation_loss, 0.4);
  EXPECT_EQ(seen, (std::vector{0.5, 0.4, 0.45, 0.41}));
  EXPECT_EQ(best, (std::vector{true, true, false, false}));
  // Eight steps of about 0.1 towards a target above 1: those of the last two epochs are undone.
  EXPECT_GT(first_weight(result.best), 0.6);
  EXPECT_LT(first_weight(result.best), 0.85);
}

struct EarlyStopRow {
  std::vector<double> validation;  // of the initial weights and after every epoch
  int epochs;
  const char* said;
  std::int64_t steps;  // that the work has in the end
};

TEST(TrainStage, SaysWhenItStopsEarlyAndWhatWasBest) {
  const EarlyStopRow rows[] = {
      {{0.9, 0.5, 0.4, 0.45, 0.41},
       10,
       "quadratic stopped early after epoch 4 of 10: epoch 2 (step 8) was best, validation 0.4000; "
       "its weights are restored",
       16},
      {{0.3, 0.5, 0.5},
       3,
       "quadratic stopped early after epoch 2 of 3: the start of the stage was best, validation "
       "0.3000; its weights are restored",
       8},
      {{0.9, 0.5, 0.55, 0.55}, 3, "", 12},
      {{0.9, 0.5, 0.4}, 2, "", 8},
  };
  for (const EarlyStopRow& row : rows) {
    Quadratic stage(row.validation);
    std::string said;
    std::int64_t done = -1, total = -1;
    train_stage(stage, start(), {.epochs = row.epochs, .patience = 2}, 1,
                {.on_epoch = {},
                 .on_early_stop = [&](const EarlyStop& stop) { said += describe(stop); },
                 .work = {.on_progress =
                              [&](const WorkRecord& record) {
                                done = record.done;
                                total = record.total;
                              },
                          .interrupted = {}}});
    EXPECT_EQ(said, row.said);
    EXPECT_EQ(total, row.steps) << row.said;
    EXPECT_EQ(done, total) << row.said;
  }
}

TEST(TrainStage, WhatNeverImprovesEndsAsItBegan) {
  Quadratic stage({0.3, 0.5, 0.5});
  const TrainingResult result = train_stage(stage, start(), {.epochs = 9, .patience = 2}, 1);
  EXPECT_EQ(result.validation_loss, 0.3);
  EXPECT_EQ(first_weight(result.best), 0.0);
}

TEST(TrainStage, NanNamesStepBatchAndTheLastGoodCheckpoint) {
  const std::filesystem::path file = std::filesystem::temp_directory_path() /
                                     fmt::format("mettle-trainer-{}.safetensors", getpid());
  Quadratic stage({0.9, 0.5, 0.4}, 6);
  try {
    train_stage(stage, start(), {.epochs = 9}, 1, {}, file, R"({"run":1})");
    FAIL() << "NaN went unnoticed";
  } catch (const DivergenceError& error) {
    for (const std::string& part : {std::string("'quadratic': the loss is nan in epoch 2, step 3"),
                                    std::string("part 2"), file.string()})
      EXPECT_NE(error.message().find(part), std::string::npos) << error.message();
  }
  // The checkpoint is good: training goes on from the end of its first epoch.
  Quadratic again({0.4, 0.3});
  std::vector<int> epochs;
  train_stage(again, start(), {.epochs = 3}, 1,
              {.on_epoch = [&](const EpochRecord& r) { epochs.push_back(r.epoch); }, .work = {}},
              file, R"({"run":1})");
  EXPECT_EQ(epochs, (std::vector{2, 3}));
  std::filesystem::remove(file);
}

// Parts are the four steps of an epoch and the validation before and after them.
TEST(TrainStage, InterruptedAfterAnyPartItGoesOnAsIfItHadNotBeen) {
  const std::filesystem::path file =
      std::filesystem::temp_directory_path() / fmt::format("mettle-parts-{}.safetensors", getpid());
  const auto losses = [&](int parts) {
    Quadratic stage(std::vector(3, 0.5));
    std::vector<double> out;
    train_stage(stage, start(), {.epochs = 2, .learning_rate = 0.1}, 1,
                {.on_epoch = [&](const EpochRecord& r) { out.push_back(r.train_loss); },
                 .work = {.on_progress = {}, .interrupted = [&] { return --parts == 0; }}},
                file, "{}");
    return out;
  };
  const std::vector<double> straight = losses(-1);
  ASSERT_EQ(straight.size(), 2u);
  std::filesystem::remove(file);
  for (int parts = 1; parts <= 11; ++parts) {
    EXPECT_THROW(losses(parts), Interrupted) << parts;
    EXPECT_EQ(std::filesystem::exists(file), parts > 1) << parts;
    EXPECT_EQ(losses(-1).back(), straight.back()) << parts;
    std::filesystem::remove(file);
  }
}

TEST(TrainStage, RefusesOptionsWithoutMeaning) {
  Quadratic stage({0.9});
  EXPECT_THROW(train_stage(stage, start(), {.epochs = 0}, 1), ValueError);
  EXPECT_THROW(train_stage(stage, start(), {.patience = 0}, 1), ValueError);
}

}  // namespace
}  // namespace mettle
