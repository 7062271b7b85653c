// Checkpoints: what comes back, what damage is found, and what kill -9 and a full disk leave.
#include "models/checkpoint.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <numeric>

#include "autograd/grad.h"
#include "autograd/ops.h"
#include "engine/file.h"
#include "engine/log.h"
#include "engine/safetensors.h"
#include "models/optimizer.h"
#include "tests/autograd/message_of.h"
#include "tests/engine/file_size_limit.h"
#include "tests/engine/temporary_folder.h"

namespace mettle {
namespace {

namespace fs = std::filesystem;
using test::message_of;

// Collects the log's warnings.
class Checkpoints : public test::TemporaryFolder {
 protected:
  Checkpoints() {
    set_log_sink([this](LogLevel, std::string_view message) { log_.emplace_back(message); });
  }
  ~Checkpoints() override { set_log_sink({}); }
  std::vector<std::string> log_;
};

// Every element says which step it belongs to.
Checkpoint filled(std::int64_t step, std::int64_t elements = 1000) {
  Checkpoint checkpoint;
  checkpoint.step = step;
  checkpoint.generator = Generator(42, static_cast<std::uint64_t>(step) * 3);
  checkpoint.configuration = R"({"layers":2,"name":"a\"b"})";
  checkpoint.notes = {{"best.auc", "0.7071"}, {"patience", ""}};
  const std::vector<float> weights(static_cast<std::size_t>(elements), static_cast<float>(step));
  const std::vector<double> moments(weights.begin(), weights.end());
  checkpoint.tensors["parameters"]["layer.0/weight"] = Tensor::from(weights, {elements});
  checkpoint.tensors["parameters"]["bias"] = Tensor::zeros({0});
  checkpoint.tensors["optimizer"]["m.layer.0/weight"] = Tensor::from(moments, {elements, 1});
  checkpoint.tensors["optimizer"]["steps"] = Tensor::from(std::vector<std::int64_t>{step}, {});
  return checkpoint;
}

void expect_same(const Checkpoint& got, const Checkpoint& want) {
  EXPECT_EQ(got.step, want.step);
  EXPECT_EQ(got.generator.seed(), want.generator.seed());
  EXPECT_EQ(got.generator.offset(), want.generator.offset());
  EXPECT_EQ(got.configuration, want.configuration);
  EXPECT_EQ(got.notes, want.notes);
  ASSERT_EQ(got.tensors.size(), want.tensors.size());
  for (const auto& [group, tensors] : want.tensors) {
    ASSERT_TRUE(got.tensors.contains(group)) << group;
    const NamedTensors& others = got.tensors.at(group);
    ASSERT_EQ(others.size(), tensors.size()) << group;
    for (const auto& [name, tensor] : tensors) {
      ASSERT_TRUE(others.contains(name)) << name;
      EXPECT_EQ(describe(others.at(name)), describe(tensor)) << name;
      EXPECT_EQ(others.at(name).to_vector<double>(), tensor.to_vector<double>()) << name;
    }
  }
}

TEST_F(Checkpoints, EverythingComesBack) {
  Checkpoint checkpoint = filled(7);
  checkpoint.generator = Generator(~std::uint64_t{0}, ~std::uint64_t{0} - 1);
  std::vector<float> values(6);
  std::iota(values.begin(), values.end(), 0.5f);
  checkpoint.tensors["rates"]["strided"] = Tensor::from(values, {2, 3}).transpose(0, 1);
  save_checkpoint(folder_ / "c", checkpoint);
  expect_same(load_checkpoint(folder_ / "c"), checkpoint);
  save_checkpoint(folder_ / "c", {});
  expect_same(load_checkpoint(folder_ / "c"), {});
}

// Training goes on with the same bits after a stop.
TEST_F(Checkpoints, ARunThatIsTakenUpAgainHasTheSameBits) {
  Params fresh;
  fresh.add("w", Variable(Tensor::from(std::vector<float>{1, -2, 3}, {3}), true));
  const auto train = [](const Params& params, AdamW& optimizer, Generator& generator, int steps) {
    for (int i = 0; i < steps; ++i) {
      const Variable noise(
          Tensor::from(std::vector<float>{static_cast<float>(generator.uniform())}, {1}));
      const Variable loss = sum(square(sub(params["w"], noise)));
      optimizer.step(params.values(), grad({loss}, params.values()), 0.1);
    }
  };
  Params whole = fresh.trainable_copy();
  AdamW whole_optimizer(whole);
  Generator whole_generator(5);
  train(whole, whole_optimizer, whole_generator, 7);

  Params first = fresh.trainable_copy();
  AdamW first_optimizer(first);
  Generator first_generator(5);
  train(first, first_optimizer, first_generator, 3);
  CheckpointWriter(folder_).save(
      {.step = 3,
       .generator = first_generator,
       .configuration = "{}",
       .notes = {},
       .tensors = {{"parameters", named_tensors(first)}, {"optimizer", first_optimizer.state()}}});

  const auto saved = latest_checkpoint(folder_);
  ASSERT_TRUE(saved);
  const Params second = params_like(fresh, saved->tensors.at("parameters"));
  AdamW second_optimizer(second);
  second_optimizer.restore(saved->tensors.at("optimizer"));
  Generator second_generator = saved->generator;
  train(second, second_optimizer, second_generator, 4);
  EXPECT_EQ(second["w"].value().to_vector<float>(), whole["w"].value().to_vector<float>());
}

TEST_F(Checkpoints, ParamsMustFit) {
  Params like;
  like.add("b", Variable(Tensor::zeros({2}), true));
  like.add("a", Variable(Tensor::zeros({3}, DType::f64)));
  const NamedTensors good = named_tensors(like);
  const Params params = params_like(like, good);
  EXPECT_EQ(params.names(), like.names());
  EXPECT_TRUE(params["b"].requires_grad());
  EXPECT_FALSE(params["a"].requires_grad());

  NamedTensors changed = good;
  changed.erase("a");
  EXPECT_EQ(message_of<ValueError>([&] { params_like(like, changed); }),
            "params_like: no tensor for parameter 'a'");
  changed["c"] = Tensor::zeros({1});
  EXPECT_EQ(message_of<ValueError>([&] { params_like(like, changed); }),
            "params_like: the model has no parameter 'c'");
  changed = good;
  changed["b"] = Tensor::zeros({2, 1});
  EXPECT_EQ(message_of<ShapeError>([&] { params_like(like, changed); }),
            "params_like: 'b' is (2, 1), the model's parameter (2,)");
  changed["b"] = Tensor::zeros({2}, DType::bf16);
  EXPECT_EQ(message_of<DTypeError>([&] { params_like(like, changed); }),
            "params_like: 'b' is bf16, the model's parameter f32");
}

TEST_F(Checkpoints, AFlippedBitInAnyByteIsFound) {
  save_checkpoint(folder_ / "c", filled(7, 3));
  const std::string good = read_file(folder_ / "c");
  for (std::size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ (1 << at % 8));
    std::ofstream(folder_ / "bad", std::ios::binary) << bad;
    EXPECT_THROW(load_checkpoint(folder_ / "bad"), FileError) << "byte " << at;
  }
}

TEST_F(Checkpoints, OtherFilesAreNoCheckpoints) {
  const std::string file = (folder_ / "c").string();
  const auto error = [&](const std::string& key, const std::string& value) {
    save_checkpoint(file, filled(7));
    TensorFile content = read_safetensors(file);
    if (value.empty())
      content.metadata.erase(key);
    else
      content.metadata[key] = value;
    write_safetensors(file, content);
    return message_of<FileError>([&] { load_checkpoint(file); });
  };
  EXPECT_EQ(error("mettle.checkpoint", ""),
            file + ": not a checkpoint of Mettle: its metadata have no 'mettle.checkpoint'");
  EXPECT_EQ(error("mettle.checkpoint", "2"),
            file + ": a checkpoint of version '2', this program reads version 1");
  EXPECT_EQ(error("checksum", ""),
            file + ": not a checkpoint of Mettle: its metadata have no 'checksum'");
  EXPECT_EQ(error("step", "8"), file + ": damaged: its checksum does not fit its content");
}

TEST_F(Checkpoints, WhatCannotBeSaved) {
  const std::string file = (folder_ / "c").string();
  const auto error = [&](const Checkpoint& checkpoint) {
    return message_of<ValueError>([&] { save_checkpoint(file, checkpoint); });
  };
  Checkpoint negative = filled(1);
  negative.step = -1;
  EXPECT_EQ(error(negative), "save_checkpoint: step -1");
  for (const char* group : {"", "a/b"}) {
    Checkpoint odd = filled(1);
    odd.tensors[group];
    EXPECT_EQ(error(odd),
              fmt::format("save_checkpoint: a group of tensors cannot be called '{}'", group));
  }
  Checkpoint undefined = filled(1);
  undefined.tensors["parameters"]["x"] = Tensor();
  EXPECT_EQ(error(undefined), "save_checkpoint: tensor 'parameters/x' is undefined");
  EXPECT_EQ(listing(), "");
}

// ---- folders ------------------------------------------------------------------------------------

TEST_F(Checkpoints, KeepsTheNewestAndTheBest) {
  const fs::path folder = folder_ / "run" / "checkpoints";
  EXPECT_FALSE(latest_checkpoint(folder));
  EXPECT_FALSE(best_checkpoint(folder));
  CheckpointWriter writer(folder, 2);
  EXPECT_FALSE(latest_checkpoint(folder));
  write_file(folder / "step-x.safetensors", "not ours");
  for (const int step : {0, 9, 10, 200}) {
    EXPECT_EQ(writer.save(filled(step)), folder / fmt::format("step-{:012}.safetensors", step));
    if (step <= 9) writer.save_best(filled(step));
    expect_same(latest_checkpoint(folder).value(), filled(step));
  }
  expect_same(best_checkpoint(folder).value(), filled(9));
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.insert(entry.path().filename());
  EXPECT_EQ(names, (std::set<std::string>{"best.safetensors", "step-000000000010.safetensors",
                                          "step-000000000200.safetensors", "step-x.safetensors"}));
  EXPECT_TRUE(log_.empty());
}

TEST_F(Checkpoints, ARunTakenUpEarlierSetsTheLaterStepsAside) {
  {
    CheckpointWriter writer(folder_, 3);
    for (const int step : {10, 20, 30}) writer.save(filled(step));
    writer.save_best(filled(20));
    EXPECT_NE(
        message_of<ValueError>([&] { writer.save(filled(15)); }).find("15 after one of step 30"),
        std::string::npos);
  }
  EXPECT_TRUE(log_.empty());
  CheckpointWriter again(folder_, 2, 10);
  EXPECT_EQ(log_.size(), 3u);
  again.save(filled(15));
  again.save_best(filled(15));
  expect_same(latest_checkpoint(folder_).value(), filled(15));
  expect_same(best_checkpoint(folder_).value(), filled(15));
  EXPECT_EQ(listing(),
            "best.safetensors best.safetensors.abandoned step-000000000010.safetensors "
            "step-000000000015.safetensors step-000000000020.safetensors.abandoned "
            "step-000000000030.safetensors.abandoned");
  // What was set aside is the whole checkpoint.
  expect_same(load_checkpoint(folder_ / "step-000000000030.safetensors.abandoned"), filled(30));
  expect_same(load_checkpoint(folder_ / "best.safetensors.abandoned"), filled(20));
}

TEST_F(Checkpoints, ANewRunRemovesNothingOfTheOldOne) {
  CheckpointWriter(folder_, 1).save(filled(7));
  for (const int run : {1, 2}) {
    CheckpointWriter writer(folder_, 1);
    for (const int step : {7, 8}) writer.save(filled(step));
    expect_same(load_checkpoint(folder_ / "step-000000000007.safetensors.abandoned"), filled(7));
    EXPECT_EQ(log_.size(), static_cast<std::size_t>(run));
    EXPECT_NE(log_.back().find("set aside as step-00000000000"), std::string::npos) << log_.back();
  }
  CheckpointWriter third(folder_, 1);
  EXPECT_EQ(listing(),
            "step-000000000007.safetensors.abandoned step-000000000008.safetensors.abandoned "
            "step-000000000008.safetensors.abandoned-2");
}

TEST_F(Checkpoints, AResumedRunTakesOverItsOwnAndADamagedLaterOneIsKept) {
  {
    CheckpointWriter writer(folder_, 3);
    for (const int step : {1, 2, 3}) writer.save(filled(step));
    writer.save_best(filled(1));
  }
  fs::resize_file(folder_ / "step-000000000003.safetensors", 100);
  const std::int64_t last = latest_checkpoint(folder_).value().step;
  EXPECT_EQ(last, 2);
  CheckpointWriter resumed(folder_, 2, last);
  resumed.save(filled(3));
  EXPECT_EQ(listing(),
            "best.safetensors step-000000000002.safetensors step-000000000003.safetensors "
            "step-000000000003.safetensors.abandoned");
  write_file(folder_ / "best.safetensors", "damaged");
  CheckpointWriter more(folder_, 2, 3);
  EXPECT_FALSE(best_checkpoint(folder_));
  EXPECT_EQ(read_file(folder_ / "best.safetensors.abandoned"), "damaged");
}

TEST_F(Checkpoints, DamagedOnesAreSkippedWithAWarning) {
  CheckpointWriter writer(folder_, 3);
  std::vector<fs::path> files;
  for (const int step : {1, 2, 3}) files.push_back(writer.save(filled(step)));
  fs::resize_file(files[2], fs::file_size(files[2]) - 1);
  expect_same(latest_checkpoint(folder_).value(), filled(2));
  ASSERT_EQ(log_.size(), 1u);
  EXPECT_TRUE(log_[0].starts_with("checkpoint skipped: " + files[2].string())) << log_[0];
  write_file(files[1], "");
  fs::remove(files[0]);
  fs::create_directory(files[0]);
  EXPECT_EQ(message_of<FileError>([&] { latest_checkpoint(folder_); }),
            folder_.string() + ": none of its 3 checkpoints is valid");
  EXPECT_EQ(log_.size(), 4u);
}

TEST_F(Checkpoints, AFolderThatCannotBe) {
  write_file(folder_ / "f", "a file");
  const std::string below = (folder_ / "f" / "run").string();
  EXPECT_EQ(message_of<FileError>([&] { CheckpointWriter writer(below); }),
            below + ": the folder cannot be made: Not a directory");
  EXPECT_THROW(latest_checkpoint(folder_ / "f"), FileError);
  EXPECT_EQ(message_of<ValueError>([&] { CheckpointWriter(folder_, 0); }),
            "CheckpointWriter: keep 0 checkpoints, at least 1");
  CheckpointWriter writer(folder_ / "run");
  fs::remove(folder_ / "run");
  EXPECT_THROW(writer.save(filled(1)), FileError);
}

// ---- accidents ----------------------------------------------------------------------------------

TEST_F(Checkpoints, AFullDiskLeavesTheEarlierOnes) {
  CheckpointWriter writer(folder_, 1);
  writer.save(filled(1));
  writer.save_best(filled(1));
  const std::string before = listing();
  for (const rlim_t bytes : {0, 100, 8000}) {
    const test::FileSizeLimit limit(bytes);
    EXPECT_THROW(writer.save(filled(2)), FileError);
    EXPECT_THROW(writer.save_best(filled(2)), FileError);
  }
  EXPECT_EQ(listing(), before);
  expect_same(latest_checkpoint(folder_).value(), filled(1));
  expect_same(best_checkpoint(folder_).value(), filled(1));
}

// Runs `body` in a child process, which must not return from it.
template <class Body> pid_t spawn(Body&& body) {
  const pid_t child = fork();
  if (child == 0) {
    body();
    _exit(1);
  }
  return child;
}

int wait_for(pid_t child) {
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return status;
}

// The signal that a write beyond the limit sends kills the child at a byte that we choose: within
// the length, the header, each tensor.
TEST_F(Checkpoints, KilledAtAnyByteOfASave) {
  CheckpointWriter(folder_).save(filled(1));
  const std::size_t size = fs::file_size(folder_ / "step-000000000001.safetensors");
  for (std::size_t bytes = 0; bytes < size; bytes += 97) {
    const int status = wait_for(spawn([&] {
      const rlimit limit{bytes, bytes};
      const rlimit no_core{0, 0};
      setrlimit(RLIMIT_CORE, &no_core);
      setrlimit(RLIMIT_FSIZE, &limit);
      std::signal(SIGXFSZ, SIG_DFL);
      CheckpointWriter(folder_, 2, 1).save(filled(2));
    }));
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGXFSZ) << bytes;
    expect_same(latest_checkpoint(folder_).value(), filled(1));
  }
  EXPECT_NE(listing(), "step-000000000001.safetensors");  // what the killed ones left
  CheckpointWriter(folder_, 1, 1).save(filled(2));
  EXPECT_EQ(listing(), "step-000000000002.safetensors");
}

TEST_F(Checkpoints, KillMinusNineWhileSaving) {
  constexpr std::int64_t elements = 20'000;
  std::int64_t durable = 0;
  for (int round = 0; round < 20; ++round) {
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    const pid_t child = spawn([&] {
      CheckpointWriter writer(folder_, 1 + round % 3, durable);
      for (std::int64_t step = durable + 1;; ++step) {
        writer.save(filled(step, elements));
        writer.save_best(filled(step, elements));
        if (write(ends[1], &step, sizeof step) != sizeof step) _exit(1);
      }
    });
    close(ends[1]);
    // From the first save of the round on, the child is somewhere in one of the next.
    for (int i = 0; i <= round % 4; ++i)
      ASSERT_EQ(read(ends[0], &durable, sizeof durable), static_cast<ssize_t>(sizeof durable));
    kill(child, SIGKILL);
    const int status = wait_for(child);
    close(ends[0]);
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    const auto survivor = latest_checkpoint(folder_);
    ASSERT_TRUE(survivor);
    EXPECT_GE(survivor->step, durable);
    expect_same(*survivor, filled(survivor->step, elements));
    const auto best = best_checkpoint(folder_);
    ASSERT_TRUE(best);
    EXPECT_GE(best->step, durable);
    expect_same(*best, filled(best->step, elements));
    durable = survivor->step;
  }
  EXPECT_TRUE(log_.empty());
}

}  // namespace
}  // namespace mettle
