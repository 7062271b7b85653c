// Training as a whole, on users with a planted taste: adaptation must find it, the same seed must
// give the same bits, an interrupted run must end as an uninterrupted one, and files must bring
// back what was saved.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "engine/check.h"
#include "engine/parallel.h"
#include "engine/safetensors.h"
#include "tests/recsys/neural_test_data.h"
#include "tests/thread_counts.h"

namespace mettle {
namespace {

class NeuralTrainingTest : public testing::Test {
 protected:
  NeuralTrainingTest()
      : data_(test::planted_tastes()),
        split_(split_cold_start(data_, 1, {.query = 8, .max_support = 10, .draws = 2})),
        folder_(std::filesystem::temp_directory_path() /
                fmt::format("mettle-neural-{}-{}", getpid(),
                            testing::UnitTest::GetInstance()->current_test_info()->name())) {
    std::filesystem::create_directories(folder_);
    set_threads(1);  // work this small only waits for other threads
  }
  ~NeuralTrainingTest() override {
    std::filesystem::remove_all(folder_);
    set_threads(threads_before_);
  }

  TrainedRecommender train(NeuralMethod method, const NeuralTrainingOptions& options,
                           TrainingHooks hooks = {}) const {
    NeuralTraining training(data_, split_, options, std::move(hooks));
    return training.train(method);
  }

  int threads_before_ = threads();
  Dataset data_;
  ColdStartSplit split_;
  std::filesystem::path folder_;
};

std::vector<float> all_values(const Learned& learned) {
  std::vector<float> out;
  for (const Params* params : {&learned.weights, &learned.adaptation})
    for (const Variable& v : params->values()) {
      const auto part = v.value().to_vector<float>();
      out.insert(out.end(), part.begin(), part.end());
    }
  return out;
}

template <class E, class F> std::string message_of(const F& f) {
  try {
    f();
  } catch (const E& error) {
    return error.message();
  }
  return "nothing was thrown";
}

TEST_F(NeuralTrainingTest, AdaptationFindsThePlantedTaste) {
  EvaluationTable table;
  NeuralTrainingOptions options = test::short_training();
  options.adaptation = {.steps = 5, .head_rate = 0.3, .encoder_rate = 0.05};
  options.meta.trainer.epochs = options.meta.trainer.patience = 25;
  NeuralTraining training(data_, split_, options);
  for (const NeuralMethod method : kNeuralMethods)
    evaluate_recommender(training.train(method), data_, split_, std::vector<int>{0, 5}, table);
  const auto auc = [&](NeuralMethod method, int k) {
    return table.row(method_name(method), k).interval(Metric::auc).mean;
  };
  EXPECT_NEAR(auc(NeuralMethod::joint, 5), 0.5, 0.15);
  for (const NeuralMethod method : kNeuralMethods) {
    if (method == NeuralMethod::joint) continue;
    EXPECT_NEAR(auc(method, 0), 0.5, 0.15) << method_name(method);
    EXPECT_GT(auc(method, 5), 0.9) << method_name(method);
  }
  EXPECT_LT(table.paired("maml", "joint", 5, Metric::log_loss).mean, -0.2);
}

// Batches long enough for sums over thousands of rows, which a matrix product may split.
TEST_F(NeuralTrainingTest, SameSeedSameBitsForAnyNumberOfThreads) {
  const auto values = [&](std::uint64_t seed) {
    NeuralTrainingOptions options = test::short_training(seed);
    options.joint.batch = 1024;
    return all_values(train(NeuralMethod::maml, options).learned());
  };
  const auto first = values(3);
  for (const int count : test::kThreadCounts) {
    set_threads(count);
    EXPECT_EQ(values(3), first) << count << " threads";
  }
  set_threads(1);
  EXPECT_NE(values(4), first);
}

// Interrupts every work after its first part, then after its second one and after its third one,
// each time in a run of its own, until a run ends. Returns its model and the work of the others.
std::pair<TrainedRecommender, std::set<std::string>> train_in_pieces(
    const Dataset& data, const ColdStartSplit& split, const NeuralTrainingOptions& options,
    NeuralMethod method) {
  std::map<std::string, int> survived;  // parts of each work, in any run
  while (true) {
    std::string work;
    int parts = 0;
    const WorkHooks hooks = {
        .on_progress =
            [&](const WorkRecord& r) {
              work = r.work;
              parts = r.begins ? 0 : parts + 1;
            },
        .interrupted = [&] { return parts > survived[work] && survived[work] < 3; }};
    try {
      NeuralTraining training(data, split, options, {.on_epoch = {}, .work = hooks});
      std::set<std::string> broken_off;
      TrainedRecommender trained = training.train(method);
      for (const auto& entry : survived) broken_off.insert(entry.first);
      return {std::move(trained), broken_off};
    } catch (const Interrupted& end) {
      EXPECT_EQ(end.work(), work);
      ++survived[work];
    }
  }
}

TEST_F(NeuralTrainingTest, InterruptedAnywhereARunEndsAsIfItHadNotBeen) {
  split_.validation.resize(2);  // every piece repeats the search from its start
  const std::pair<NeuralMethod, std::set<std::string>> rows[] = {
      {NeuralMethod::anil, {"feature table", "joint", "anil", "calibration"}},
      {NeuralMethod::finetune, {"feature table", "joint", "joint+finetune search", "calibration"}}};
  for (const auto& [method, work] : rows) {
    NeuralTrainingOptions options = test::short_training();
    options.features.factors = 2;
    const auto straight = all_values(train(method, options).learned());
    options.checkpoints = folder_ / std::string(method_name(method));
    std::filesystem::create_directory(options.checkpoints);
    const auto [resumed, broken_off] = train_in_pieces(data_, split_, options, method);
    EXPECT_EQ(all_values(resumed.learned()), straight) << method_name(method);
    EXPECT_EQ(broken_off, work);
  }
}

TEST_F(NeuralTrainingTest, WorkTellsHowFarItIsToItsEnd) {
  split_.validation.resize(2);
  std::map<std::string, std::pair<std::int64_t, std::int64_t>> reached;
  const WorkHooks hooks = {.on_progress =
                               [&](const WorkRecord& r) {
                                 const std::string work(r.work);
                                 EXPECT_EQ(r.begins, !reached.contains(work)) << work;
                                 EXPECT_GE(r.done, r.begins ? 0 : reached[work].first) << work;
                                 EXPECT_LE(r.done, r.total) << work;
                                 reached[work] = {r.done, r.total};
                               },
                           .interrupted = {}};
  NeuralTrainingOptions options = test::short_training();
  options.features.factors = 2;
  NeuralTraining training(data_, split_, options, {.on_epoch = {}, .work = hooks});
  EvaluationTable table;
  evaluate_recommender(training.train(NeuralMethod::finetune), data_, split_,
                       std::vector<int>{0, 5}, table, hooks);
  evaluate_baseline(*fit_foldin_mf(data_, split_, hooks), data_, split_, std::vector<int>{0, 5},
                    table, hooks);
  fit_hierarchical_linear(data_, split_, hooks);
  for (const char* work : {"feature table", "joint", "joint+finetune search", "calibration",
                           "joint+finetune evaluation", "fold-in MF", "fold-in MF evaluation",
                           "hierarchical Bayes linear"}) {
    EXPECT_GT(reached[work].first, 0) << work;
    EXPECT_EQ(reached[work].first, reached[work].second) << work;
  }
}

TEST_F(NeuralTrainingTest, ACheckpointOfOtherOptionsOrADamagedOneIsRefusedBeforeAnyWork) {
  NeuralTrainingOptions options = test::short_training();
  options.checkpoints = folder_;
  train(NeuralMethod::maml, options);
  const std::tuple<std::function<void(NeuralTrainingOptions&)>, const char*, const char*,
                   const char*>
      rows[] = {
          {[](auto& o) { o.joint.batch = 128; }, "joint-batch", "256", "128"},
          {[](auto& o) { o.model.dim = 16; }, "dim", "8", "16"},
          {[](auto& o) { o.seed = 4; }, "seed", "3", "4"},
          {[](auto& o) { o.model.dropout = 0.25; }, "dropout", "0.1", "0.25"},
          {[](auto& o) { o.features.item_ids = true; }, "item-ids", "false", "true"},
          {[](auto& o) { o.meta.tasks = 4; }, "tasks", "8", "4"},
          {[](auto& o) {
             o.meta.batch.support_sizes = {1, 5};
           },
           "support-sizes", "\"5\"", "\"1 5\""},
          {[](auto& o) { o.adaptation.steps = 7; }, "inner-steps", "3", "7"},
      };
  for (const auto& [change, option, before, now] : rows) {
    NeuralTrainingOptions other = options;
    change(other);
    try {
      const NeuralTraining training(data_, split_, other);
      ADD_FAILURE() << option << " went unnoticed";
    } catch (const OtherRunError& error) {
      EXPECT_EQ(error.option(), option);
      EXPECT_EQ(error.begun_with(), before) << option;
      EXPECT_EQ(error.now(), now) << option;
      EXPECT_NE(error.message().find("another folder"), std::string::npos) << error.message();
    }
  }
  Dataset renamed = data_;
  renamed.name = "other";
  EXPECT_THROW(NeuralTraining(renamed, split_, options), OtherRunError);

  std::filesystem::resize_file(folder_ / "joint.checkpoint.safetensors", 1000);
  EXPECT_THROW(NeuralTraining(data_, split_, options), FileError);
}

TEST(RunIdentity, TellsWhatIsMissingUnknownOrNoIdentity) {
  const std::string now = R"({"dim":8,"epochs":2})";
  const auto difference = [&](const std::string& saved) {
    return message_of<FileError>([&] { require_same_run(saved, now, "file"); });
  };
  EXPECT_EQ(difference(R"({"epochs": 2, "dim": 8})"), "nothing was thrown");
  const std::pair<const char*, const char*> rows[] = {
      {R"({"dim":8})", "epochs nothing, not 2"},
      {R"({"dim":8,"epochs":2,"tasks":3})", "tasks 3, not nothing"},
      {R"({"dim":[[8]],"epochs":2})", "dim a list, not 8"},
      {R"({"dim":"8","epochs":2})", "dim \"8\", not 8"},
      {"[]", "a list; remove"},
      {"joint: data planted", "not JSON from byte 1"},
  };
  for (const auto& [saved, message] : rows)
    EXPECT_NE(difference(saved).find(message), std::string::npos) << difference(saved);
}

TEST_F(NeuralTrainingTest, DivergenceNamesStepBatchAndTheLastGoodCheckpoint) {
  NeuralTrainingOptions options = test::short_training();
  options.checkpoints = folder_;
  options.meta.trainer.learning_rate = 1e30;
  const std::string message =
      message_of<DivergenceError>([&] { train(NeuralMethod::maml, options); });
  for (const char* part : {"'maml'", "epoch 1, step 2", "users ", "no checkpoint"})
    EXPECT_NE(message.find(part), std::string::npos) << message;
}

TEST_F(NeuralTrainingTest, HooksHearOfEveryStepAndEpoch) {
  std::vector<EpochRecord> epochs;
  std::map<std::string, std::int64_t> steps;
  train(NeuralMethod::maml, test::short_training(),
        {.on_epoch = [&](const EpochRecord& r) { epochs.push_back(r); },
         .work = {.on_progress = [&](const WorkRecord& r) { steps[std::string(r.work)] = r.done; },
                  .interrupted = {}}});
  ASSERT_GE(epochs.size(), 3u);
  EXPECT_EQ(epochs[0].stage, "joint");
  EXPECT_EQ(epochs.back().stage, "maml");
  std::int64_t joint_steps = 0;
  for (const EpochRecord& r : epochs)
    if (r.stage == "joint") joint_steps = r.steps;
  EXPECT_EQ(steps["joint"], joint_steps);
  EXPECT_EQ(steps["maml"], epochs.back().steps);
  EXPECT_LT(epochs.back().train_loss, epochs[0].train_loss);
}

TEST_F(NeuralTrainingTest, AFileBringsBackEveryPrediction) {
  const std::filesystem::path path = folder_ / "model.safetensors";
  for (const NeuralMethod method :
       {NeuralMethod::maml, NeuralMethod::ridge, NeuralMethod::finetune}) {
    const TrainedRecommender saved = train(method, test::short_training());
    saved.save(data_, path);
    const TrainedRecommender loaded = TrainedRecommender::load(data_, path);
    for (const int k : {0, 3, 10}) {
      const QueryPredictions a = saved.predict(data_, split_.test, k);
      const QueryPredictions b = loaded.predict(data_, split_.test, k);
      EXPECT_EQ(a.score, b.score) << method_name(method);
      EXPECT_EQ(a.like_probability, b.like_probability) << method_name(method);
      EXPECT_EQ(a.stars, b.stars) << method_name(method);
    }
  }
}

TEST_F(NeuralTrainingTest, ANewUserOutsideOfTheDataGetsTheSamePredictionsAsAnEpisode) {
  const TrainedRecommender recommender = train(NeuralMethod::maml, test::short_training());
  const Episode& episode = split_.test[0];
  const QueryPredictions in_batch = recommender.predict(data_, std::span(&episode, 1), 5);
  const auto alone =
      recommender.predict(data_, support_ratings(data_, episode, 5), query_items(data_, episode));
  ASSERT_EQ(alone.size(), in_batch.score.size());
  for (std::size_t i = 0; i < alone.size(); ++i)
    EXPECT_NEAR(alone[i].like_probability, in_batch.like_probability[i], 1e-6);
  EXPECT_THROW(recommender.predict(data_, {}, std::vector<std::int32_t>{999}), ValueError);
  EXPECT_THROW(recommender.predict(data_, std::vector<ItemRating>{}, std::vector<std::int32_t>{}),
               ValueError);
  EXPECT_EQ(recommender.predict(data_, {}, std::vector<std::int32_t>{3}).size(), 1u);
}

TEST_F(NeuralTrainingTest, FilesThatDoNotFitAreRefusedWithTheReason) {
  const std::filesystem::path path = folder_ / "model.safetensors";
  train(NeuralMethod::joint, test::short_training()).save(data_, path);
  const auto reason = [&](const Dataset& data) {
    return message_of<FileError>([&] { TrainedRecommender::load(data, path); });
  };
  EXPECT_NE(reason(test::planted_tastes(80, 41)).find("other items"), std::string::npos);

  const TensorFile good = read_safetensors(path);
  const auto changed = [&](const auto& change) {
    TensorFile bad = good;
    change(bad);
    write_safetensors(path, bad);
    return reason(data_);
  };
  EXPECT_NE(changed([](TensorFile& f) { f.metadata["format"] = "something"; }).find("something"),
            std::string::npos);
  EXPECT_NE(changed([](TensorFile& f) { f.metadata.erase("calibration"); }).find("calibration"),
            std::string::npos);
  EXPECT_NE(changed([](TensorFile& f) { f.metadata["configuration"] = "{"; }).find("not JSON"),
            std::string::npos);
  EXPECT_NE(changed([](TensorFile& f) { f.tensors.erase("weights/head.bias"); }).find("head.bias"),
            std::string::npos);
  EXPECT_NE(changed([](TensorFile& f) {
              f.tensors["weights/head.weight"] = Tensor::zeros({3, 2});
            }).find("head.weight"),
            std::string::npos);
  std::ofstream(path) << "not safetensors";
  EXPECT_NE(reason(data_), "nothing was thrown");
}

}  // namespace
}  // namespace mettle
