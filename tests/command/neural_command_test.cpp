// train, evaluate and recommend with neural models of toy size: what they write, how they are
// interrupted and resumed, how titles are found, and what they refuse.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "tests/command/program.h"

namespace mettle::command_test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;
using Arguments = std::vector<std::string>;

constexpr const char* kToySize[] = {"--dim",    "8", "--heads",        "2", "--hidden", "8",
                                    "--layers", "1", "--joint-epochs", "1", "--tasks",  "8",
                                    "--seed",   "3", "--threads",      "1"};

Arguments with(Arguments arguments, const Arguments& more) {
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

Arguments toy(const Arguments& arguments) {
  return with(arguments, {std::begin(kToySize), std::end(kToySize)});
}

// Arguments beside those that a test gives to all its rows, and what the error says.
using Refusals = std::vector<std::pair<Arguments, const char*>>;

void expect_refusal(const Arguments& arguments, const Arguments& messages) {
  const Outcome got = run(arguments);
  const std::string shown = testing::PrintToString(arguments);
  EXPECT_EQ(got.code, 2) << shown << got.err;
  for (const std::string& message : messages) EXPECT_THAT(got.err, HasSubstr(message)) << shown;
  EXPECT_EQ(got.out, "") << shown;
}

void expect_refusals(const Arguments& common, const Refusals& rows) {
  for (const auto& [more, message] : rows) expect_refusal(with(common, more), {message});
}

// Data and a trained model that all tests read.
class Neural : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<TemporaryFolder>();
    write_tiny_movielens(data());
    const Outcome got = train("maml", "trained", {"--epochs", "2"});
    ASSERT_EQ(got.code, 0) << got.err;
    ASSERT_TRUE(fs::exists(model()));
  }
  static void TearDownTestSuite() { folder_.reset(); }

  static std::string path(const std::string& name) { return *folder_ / name; }
  static std::string data() { return path("data"); }
  static std::string model() { return path("trained/model.safetensors"); }

  static Arguments train_arguments(const std::string& method, const std::string& out,
                                   const Arguments& more) {
    return with(toy({"train", "--data", data(), "--method", method, "--out", path(out)}), more);
  }
  static Outcome train(const std::string& method, const std::string& out, const Arguments& more) {
    return run(train_arguments(method, out, more));
  }
  static Arguments recommend_arguments() {
    return {"recommend", "--model", model(), "--data", data()};
  }
  static Outcome recommend(const Arguments& more) { return run(with(recommend_arguments(), more)); }

  static std::unique_ptr<TemporaryFolder> folder_;
};
std::unique_ptr<TemporaryFolder> Neural::folder_;

TEST_F(Neural, TrainingLogsEveryEpochOfBothStages) {
  std::istringstream lines(read(path("trained/metrics.jsonl")));
  std::vector<std::string> stages;
  for (std::string line; std::getline(lines, line);) {
    const json record = json::parse(line);
    stages.push_back(record["stage"]);
    EXPECT_TRUE(record["train_loss"].is_number() && record["validation_loss"].is_number()) << line;
  }
  EXPECT_EQ(stages, (std::vector<std::string>{"joint", "maml", "maml"}));
}

TEST_F(Neural, AnInterruptedRunGoesOnToTheSameBits) {
  const Arguments epochs = {"--epochs", "12", "--patience", "100"};
  const Outcome whole = train("maml", "whole", epochs);
  ASSERT_EQ(whole.code, 0) << whole.err;
  const Outcome broken =
      run({train_arguments("maml", "broken", epochs), {}, path("broken/metrics.jsonl")});
  ASSERT_EQ(broken.code, 130) << broken.err;
  EXPECT_THAT(broken.err, HasSubstr("--resume"));
  EXPECT_FALSE(fs::exists(path("broken/model.safetensors")));

  expect_refusal(train_arguments("maml", "broken", epochs), {"--resume"});

  ASSERT_EQ(train("maml", "broken", with(epochs, {"--resume"})).code, 0);
  EXPECT_EQ(read(path("broken/model.safetensors")), read(path("whole/model.safetensors")));
}

// The search for fine-tuning settings begins as soon as the joint stage has logged its only epoch.
TEST_F(Neural, AnInterruptedSearchSaysWhatIsSavedAndBeginsAnew) {
  const Outcome whole = train("joint+finetune", "found", {});
  ASSERT_EQ(whole.code, 0) << whole.err;
  const Outcome broken =
      run({train_arguments("joint+finetune", "sought", {}), {}, path("sought/metrics.jsonl")});
  ASSERT_EQ(broken.code, 130) << broken.err;
  EXPECT_THAT(broken.err, HasSubstr("training is saved; joint+finetune search begins anew"));
  EXPECT_THAT(broken.err, HasSubstr("--resume (--out " + path("sought") + ")"));
  EXPECT_EQ(broken.out, "");
  EXPECT_FALSE(fs::exists(path("sought/model.safetensors")));
  ASSERT_EQ(train("joint+finetune", "sought", {"--resume"}).code, 0);
  EXPECT_EQ(read(path("sought/model.safetensors")), read(path("found/model.safetensors")));
}

struct EarlyInterruptRow {
  Arguments arguments;
  const char* said;
};

// The signal comes while ratings are read or soon after; the program cannot get far before it.
TEST_F(Neural, AnEarlyInterruptEndsWithALineAndNoOutput) {
  const std::string out = path("early");
  const EarlyInterruptRow rows[] = {
      {{"recommend", "--data", data(), "--model", model(), "--rate", "Story 4=5"},
       "interrupted: nothing was recommended\n"},
      {{"evaluate", "--data", data(), "--methods", "item-mean", "--out", out},
       "interrupted: nothing was written\n"},
      {train_arguments("maml", "early", {}),
       "interrupted: nothing was saved yet; the same command begins anew\n"},
      {train_arguments("maml", "trained", {"--epochs", "2", "--resume"}),
       "interrupted: training is saved; "},
  };
  for (const auto& [arguments, said] : rows) {
    const Outcome got = run({.arguments = arguments,
                             .environment = {},
                             .interrupt_when = {},
                             .output = {},
                             .early_interrupts = 1});
    EXPECT_EQ(got.code, 130) << arguments[0];
    EXPECT_THAT(got.err, HasSubstr(said)) << arguments[0];
    EXPECT_EQ(got.out, "") << arguments[0];
    EXPECT_FALSE(fs::exists(out)) << arguments[0];
  }
  const Outcome killed = run({.arguments = rows[0].arguments,
                              .environment = {},
                              .interrupt_when = {},
                              .output = {},
                              .early_interrupts = 2});
  EXPECT_EQ(killed.code, 130);
  EXPECT_EQ(killed.err, "") << "the second one ends it at once";
  EXPECT_EQ(killed.out, "");
}

TEST_F(Neural, TrainingThatStopsEarlySaysSo) {
  const Outcome got =
      train("maml", "short", {"--epochs", "60", "--patience", "1", "--learning-rate", "0.03"});
  ASSERT_EQ(got.code, 0) << got.err;
  EXPECT_THAT(got.err, testing::ContainsRegex("maml stopped early after epoch [0-9]+ of 60: .*was "
                                              "best, validation 0[.][0-9]+; its weights are "
                                              "restored\n"));
}

TEST_F(Neural, AResumeWithOtherOptionsNamesThemAndDoesNoWork) {
  const std::tuple<Arguments, const char*, const char*> rows[] = {
      {{"--dim", "16"}, "--dim 8, not 16", "repeat --dim 8"},
      {{"--seed", "4"}, "--seed 3, not 4", "repeat --seed 3"},
      {{"--joint-epochs", "2"}, "--joint-epochs 1, not 2", "another --out"},
      {{"--dropout", "0.3"}, "--dropout 0.1, not 0.3", "another --out"},
      {{"--method", "ridge"}, "--method maml, not ridge", "repeat --method maml"},
      {{"--inner-steps", "5"}, "--inner-steps 3, not 5", "another --out"},
      {{"--epochs", "3"}, "--epochs 2, not 3", "repeat --epochs 2"},
  };
  const std::string before = read(path("trained/metrics.jsonl")) + read(model());
  for (const auto& [more, message, remedy] : rows) {
    std::map<std::string, std::string> flags = {
        {"--dim", "8"},          {"--heads", "2"},  {"--hidden", "8"},         {"--layers", "1"},
        {"--joint-epochs", "1"}, {"--tasks", "8"},  {"--seed", "3"},           {"--threads", "1"},
        {"--method", "maml"},    {"--epochs", "2"}, {"--out", path("trained")}};
    flags[more[0]] = more[1];
    Arguments arguments = {"train", "--data", data(), "--resume"};
    for (const auto& [name, value] : flags) arguments.insert(arguments.end(), {name, value});
    expect_refusal(arguments, {message, remedy});
  }
  EXPECT_EQ(read(path("trained/metrics.jsonl")) + read(model()), before);
}

TEST_F(Neural, InfoDescribesAModel) {
  const Outcome got = run({"info", "--model", model()});
  EXPECT_EQ(got.code, 0) << got.err;
  EXPECT_THAT(got.out, HasSubstr("method maml, trained with --seed 3 on 40 items"));
  const Outcome as_json = run({"info", "--json", "--model", model()});
  EXPECT_EQ(json::parse(as_json.out)["model"]["dim"], 8);
}

TEST_F(Neural, AModelThatClaimsAnotherSizeIsBadInputEverywhere) {
  std::string bytes = read(model());
  // In the JSON of the metadata, which is JSON text in itself; the length stays the same.
  const std::string said = R"(\"dim\":8)", lie = R"(\"dim\":9)";
  const std::size_t at = bytes.find(said);
  ASSERT_NE(at, std::string::npos);
  write(path("lying.safetensors"), bytes.replace(at, said.size(), lie));
  const Arguments commands[] = {
      {"info", "--model", path("lying.safetensors")},
      {"recommend", "--model", path("lying.safetensors"), "--data", data(), "--rate", "Story 4=5"},
      {"evaluate", "--model", path("lying.safetensors"), "--data", data(), "--out", path("lied")}};
  for (const Arguments& arguments : commands) {
    expect_refusal(arguments, {"lying.safetensors", "model.heads", "train the model again"});
    EXPECT_FALSE(fs::exists(path("lied")));
  }
}

TEST_F(Neural, TrainRefusesBeforeItWrites) {
  expect_refusals({"train", "--data", data(), "--out", path("refused")},
                  {{{"--resume"}, "holds no checkpoint"},
                   {{"--heads", "3"}, "heads"},
                   {{"--dropout", "1.5"}, "--dropout"},
                   {{"--epochs", "0"}, "--epochs"},
                   {{"--method", "mamml"}, "mamml"},
                   {{"--learning-rate", "-1"}, "--learning-rate"},
                   {{"--method", "MAML"}, "did you mean 'maml'?"},
                   {{"--tasks", "49"}, "48 training users"}});
  EXPECT_FALSE(fs::exists(path("refused")));
  expect_refusal(train_arguments("maml", "trained", {}), {"another folder"});
  fs::create_directory(path("results"));
  write(path("results/metrics.jsonl"), "of an evaluation");
  expect_refusal(train_arguments("maml", "results", {}), {"a metrics.jsonl of something else"});
  EXPECT_EQ(read(path("results/metrics.jsonl")), "of an evaluation");
}

TEST_F(Neural, EvaluateTrainsAndKeepsWhatIsAsked) {
  const Outcome got =
      run(toy({"evaluate", "--data", data(), "--methods", "item-mean-user-bias,maml,ridge",
               "--epochs", "1", "--k", "0,5", "--save", "ridge", "--out", path("evaluated")}));
  ASSERT_EQ(got.code, 0) << got.err;
  const json summary = json::parse(read(path("evaluated/summary.json")));
  std::set<std::string> rows;
  for (const json& row : summary["results"])
    rows.insert(row["method"].get<std::string>() + " " + row["k"].dump());
  EXPECT_EQ(rows, (std::set<std::string>{"item mean + user bias 0", "item mean + user bias 5",
                                         "maml 0", "maml 5", "ridge 0", "ridge 5"}));
  EXPECT_THAT(read(path("evaluated/curve.svg")), HasSubstr("ridge"));
  EXPECT_TRUE(fs::exists(path("evaluated/model.safetensors")));
}

TEST_F(Neural, EvaluateReadsAModelAndKeepsToItsTestUsers) {
  const Outcome got = run({"evaluate", "--data", data(), "--model", model(), "--methods",
                           "item-mean-user-bias", "--k", "0,5"});
  EXPECT_EQ(got.code, 0) << got.err;
  EXPECT_THAT(got.out, HasSubstr("maml                    5"));
  const char* refused = "trained with --seed 3";
  expect_refusals(
      {"evaluate", "--data", data(), "--model", model(), "--methods", "item-mean"},
      {{{"--seed", "4"}, refused}, {{"--seeds", "2"}, refused}, {{"--k", "12"}, refused}});
}

TEST_F(Neural, RecommendShowsTitlesBeforeAndAfter) {
  const Outcome got = recommend(
      {"--rate", "Story 4=5", "--rate", "story 7 (1987)=4.5", "--rate", "#8=1", "--top", "3"});
  ASSERT_EQ(got.code, 0) << got.err;
  EXPECT_THAT(got.out, HasSubstr("before: knowing nothing"));
  EXPECT_THAT(got.out, HasSubstr("after: adapted to 3 ratings"));
  EXPECT_THAT(got.out, HasSubstr("Story 8 (1988)"));
  EXPECT_THAT(recommend({"--rate", "Stoyr 40=4"}).err, HasSubstr("taking Story 40 (1990)"));

  const Outcome as_json =
      recommend({"--rate", "Story 4=5", "--top", "3", "--json", "--genre", "comedy"});
  ASSERT_EQ(as_json.code, 0) << as_json.err;
  const json lists = json::parse(as_json.out);
  for (const char* list : {"before", "after"}) {
    ASSERT_EQ(lists[list].size(), 3u);
    for (const json& row : lists[list]) {
      EXPECT_EQ(std::stoi(row["id"].get<std::string>()) % 3, 0) << row;  // the comedies
      EXPECT_GE(row["stars"], 1.0);
      EXPECT_LE(row["stars"], 5.0);
      EXPECT_GT(row["like_probability"], 0.0);
      EXPECT_LT(row["like_probability"], 1.0);
    }
  }
}

TEST_F(Neural, RecommendExplainsWhatItCannotUse) {
  expect_refusals(recommend_arguments(),
                  {{{"--rate", "Story 4"}, "TITLE=STARS"},
                   {{"--rate", "=4"}, "TITLE=STARS"},
                   {{"--rate", "Story 4=6"}, "from 1 to 5"},
                   {{"--rate", "Story 4=good"}, "from 1 to 5"},
                   {{"--rate", "Story=4"}, "may be any of 40 titles"},
                   {{"--rate", "Story=4"}, "Story 8 (1988) [#8]"},
                   {{"--rate", "Story 4 (1900)=4"}, "no title is or contains"},
                   {{"--rate", "Stoyr 41=4"}, "near it are:"},
                   {{"--rate", "#99=4"}, "no item has the id '99'"},
                   {{"--rate", "Quantum of Solace=4"}, "none is near it"},
                   {{"--rate", "Story 4=4", "--rate", "#4=3"}, "rated twice"},
                   {{"--rate", "Story 4=4", "--genre", "Comdy"}, "did you mean 'Comedy'?"},
                   {{"--rate", "Story 4=4", "--min-ratings", "9999"}, "nothing to recommend"}});
}

TEST_F(Neural, DamagedOrForeignModelsAreBadInput) {
  const std::string bytes = read(model());
  write(path("short.safetensors"), bytes.substr(0, bytes.size() / 2));
  write(path("not.safetensors"), "no model at all");
  for (const char* name : {"short.safetensors", "not.safetensors", "missing.safetensors"}) {
    expect_refusal({"recommend", "--model", path(name), "--data", data(), "--rate", "Story 4=5"},
                   {name});
  }
  expect_refusal({"recommend", "--model", path("trained/maml.checkpoint.safetensors"), "--data",
                  data(), "--rate", "Story 4=5"},
                 {"is the checkpoint of a training"});
  fs::create_directory(path("other"));
  write(path("other/ratings.csv"), "userId,movieId,rating\n1,2,4\n");
  expect_refusal({"recommend", "--model", model(), "--data", path("other"), "--rate", "#2=5"},
                 {"other items"});
}

}  // namespace
}  // namespace mettle::command_test
