// The program as a user meets it: help, exit codes, messages, files. Every case of bad input must
// exit with 2, name what is wrong, and leave nothing behind.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <sstream>

#include "tests/command/program.h"
#include "tests/engine/file_size_limit.h"
#include "tests/thread_counts.h"

namespace mettle::command_test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;
using Arguments = std::vector<std::string>;

TEST(Help, EverySubcommandShowsOptionsAndExamples) {
  for (const char* name : {"train", "evaluate", "recommend", "embed", "import", "info"}) {
    const Outcome help = run({name, "--help"});
    EXPECT_EQ(help.code, 0) << name;
    EXPECT_THAT(help.out, HasSubstr("--config"));
    EXPECT_THAT(help.out, HasSubstr("--threads"));
    EXPECT_THAT(help.out, HasSubstr(std::string("Examples:\n  mettle ") + name));
    EXPECT_THAT(run({"--help"}).out, HasSubstr(name));
  }
}

struct Usage {
  std::vector<std::string> arguments;
  const char* message;
};

TEST(Usage, MistakesExitWith2AndSayWhatIsMeant) {
  const TemporaryFolder folder;
  write_tiny_movielens(folder / "data");
  const std::string data = folder / "data", out = folder / "out";
  const Usage rows[] = {
      {{}, "A subcommand is required"},
      {{"evalute"}, "no subcommand 'evalute'; did you mean 'evaluate'?"},
      {{"qqq"}, "no subcommand 'qqq'; there are: "},
      {{"--verbose"}, "unexpected argument '--verbose'"},
      {{"evaluate", data}, "a value follows its option, as in --data DIR"},
      {{"evaluate"}, "--data is required"},
      {{"evaluate", "--dta", data}, "'--dta'; did you mean '--data'?"},
      {{"evaluate", "--data", data, "--sedes=3", "--out", out}, "did you mean '--seeds'?"},
      {{"evaluate", "--data", data, "--seeds", "0", "--out", out}, "--seeds"},
      {{"evaluate", "--data", data, "--seed", "-1", "--out", out}, "--seed"},
      {{"evaluate", "--data", data, "--k", "1,x", "--out", out}, "--k"},
      {{"evaluate", "--data", data, "--methods", "blendd", "--out", out},
       "unknown method 'blendd'; did you mean 'blend'?"},
      {{"evaluate", "--data", data, "--methods", "MAML", "--out", out}, "did you mean 'maml'?"},
      {{"evaluate", "--data", data, "--k", "200", "--out", out}, "users"},
      {{"evaluate", "--data", data, "--methods", "maml", "--tasks", "49", "--out", out},
       "--tasks 49: there are 48 training users"},
      {{"evaluate", "--data", data, "--heads", "5", "--out", out},
       "--heads 5: must divide --dim 32"},
      {{"evaluate", "--data", data, "--model", data}, "is a folder; give the file, as in"},
      {{"info", "--model", out}, "no such file; `mettle train` leaves model.safetensors"},
      {{"evaluate", "--data", data, "--device", "cuda", "--out", out}, "no CUDA back end"},
      {{"evaluate", "--data", data, "--device", "tpu", "--out", out}, "unknown device"},
      {{"info", "--device", "cuda:1"}, "no CUDA back end"},
      {{"info", "--threads", "0"}, "--threads"},
  };
  for (const Usage& row : rows) {
    const Outcome got = run(row.arguments);
    const std::string shown = testing::PrintToString(row.arguments);
    EXPECT_EQ(got.code, 2) << shown << got.err;
    EXPECT_THAT(got.err, HasSubstr(row.message)) << shown;
    EXPECT_THAT(got.err, HasSubstr("error: ")) << shown;
    EXPECT_EQ(got.out, "") << shown;
    EXPECT_FALSE(fs::exists(out)) << shown;
  }
}

struct BadFile {
  const char* name;
  std::string text;
  const char* message;
};

TEST(Data, MalformedFilesAreLocatedAndNothingIsWritten) {
  const BadFile rows[] = {
      {"ratings.csv", "", "ratings.csv"},
      {"ratings.csv", "userId,movieId,rating\n1,2\n", "ratings.csv:2:"},
      {"ratings.csv", "userId,movieId,rating\n1,2,4\n1,3,good\n", "ratings.csv:3:5: "},
      {"ratings.csv", "userId,movieId,rating\n1,2,nan\n", "ratings.csv:2:5: "},
      {"ratings.csv", "userId,movieId,rating\n1,2,9\n", "ratings.csv:2:5: "},
      {"ratings.csv", "userId,movieId,rating\n1,2,4\n1,2,4\n", "ratings.csv:3:"},
      {"ratings.csv", "userId,rating\n1,4\n", "movieId"},
      {"ratings.csv", "userId;movieId;rating\n1;2;4\n", "ratings.csv:1:"},
      {"ratings.csv.gz", "\x1f\x8b\x08", "ratings.csv.gz"},
      {"movies.csv", "movieId,title,genres\n1,\"Story,Comedy\n", "movies.csv:2:"},
      {"movies.csv", "movieId,title,genres\n1,A,B\n1,C,D\n", "movies.csv:3:"},
  };
  for (const BadFile& row : rows) {
    const TemporaryFolder folder;
    write_tiny_movielens(folder / "data");
    if (std::string(row.name).starts_with("ratings")) fs::remove(folder / "data/ratings.csv");
    write(folder / "data/" + row.name, row.text);
    const Outcome got = run({"evaluate", "--data", folder / "data", "--out", folder / "out"});
    EXPECT_EQ(got.code, 2) << row.text << got.err;
    EXPECT_THAT(got.err, HasSubstr(row.message)) << row.text;
    EXPECT_FALSE(fs::exists(folder / "out")) << row.text;
  }
  const Outcome missing = run({"evaluate", "--data", "/nowhere/at/all"});
  EXPECT_EQ(missing.code, 2);
  EXPECT_THAT(missing.err, HasSubstr("--data /nowhere/at/all: no such file or folder; give"));
}

TEST(Config, KeysAreOptionsAndFlagsOverrideThem) {
  const TemporaryFolder folder;
  write_tiny_movielens(folder / "data");
  write(folder / "run.toml", "data = '" + folder / "data" +
                                 "'\nmethods = ['item-mean', 'global-mean']\nk = [0, 2]\n"
                                 "seeds = 2\nout = '" +
                                 folder / "out" + "'\n");
  ASSERT_EQ(run({"evaluate", "--config", folder / "run.toml", "--seed", "5"}).code, 0);
  json summary = json::parse(read(folder / "out/summary.json"));
  EXPECT_EQ(summary["seeds"], (json{5, 6}));
  EXPECT_EQ(summary["k"], (json{0, 2}));
  EXPECT_EQ(summary["results"].size(), 2u);
  ASSERT_EQ(run({"evaluate", "--config", folder / "run.toml", "--seeds", "1", "--k", "1"}).code, 0);
  summary = json::parse(read(folder / "out/summary.json"));
  EXPECT_EQ(summary["seeds"], json{1});
  EXPECT_EQ(summary["k"], json{1});
}

TEST(Config, MistakesAreLocated) {
  const TemporaryFolder folder;
  const std::pair<const char*, const char*> rows[] = {
      {"seeds = 3\nsede = 1\n",
       "bad.toml:2:1: unknown key 'sede' for mettle evaluate; did you mean"},
      {"qqqqqq = 1\n", "bad.toml:1:1: unknown key 'qqqqqq' for mettle evaluate"},
      {"\nseeds = \n", "bad.toml:2:"},
      {"seeds = 'many'\n", "bad.toml:1:1: "},
      {"seeds = 0\n", "bad.toml:1:1: "},
      {"[seeds]\nx = 1\n", "bad.toml:1:"},
      {"[evaluate]\nseeds = 1\n", "there are no tables in this file"},
      {"config = 'other.toml'\n", "unknown key 'config'"},
      {"seed = 1\nseed = 2\n", "bad.toml:2:"},
  };
  for (const auto& [text, message] : rows) {
    write(folder / "bad.toml", text);
    const Outcome got = run({"evaluate", "--data", "x", "--config", folder / "bad.toml"});
    EXPECT_EQ(got.code, 2) << text;
    EXPECT_THAT(got.err, HasSubstr(message)) << text;
  }
  const Outcome missing = run({"evaluate", "--data", "x", "--config", folder / "no.toml"});
  EXPECT_EQ(missing.code, 2);
  EXPECT_THAT(missing.err, HasSubstr("no.toml"));
}

TEST(Info, NamesVersionsAndEverySlotWithItsVariants) {
  const Outcome got = run({"info", "--json", "--threads", "1"});
  ASSERT_EQ(got.code, 0) << got.err;
  const json info = json::parse(got.out);
  for (const char* key : {"version", "commit", "compiler", "simd", "cores"})
    EXPECT_TRUE(info.contains(key)) << key;
  EXPECT_EQ(info["threads"], 1);
  EXPECT_EQ(info["devices"][0]["name"], "cpu");
  EXPECT_TRUE(info["libraries"].contains("oneDNN"));
  ASSERT_GT(info["kernels"].size(), 20u);
  const std::string text = run({"info"}).out;
  for (const json& slot : info["kernels"]) {
    EXPECT_EQ(slot["selected"], slot["variants"][0]["name"]) << slot;
    EXPECT_THAT(text, HasSubstr(slot["slot"].get<std::string>()));
  }
}

TEST(Info, ShowsAndChecksTheKernelChoice) {
  const auto info_with = [](const char* choice) {
    return run({{"info", "--json"}, {{"METTLE_KERNEL", choice}}, {}});
  };
  const json info = json::parse(info_with("layer_norm_forward=naive").out);
  for (const json& slot : info["kernels"])
    EXPECT_EQ(slot["selected"] == "naive", slot["slot"] == "layer_norm_forward") << slot;
  for (const auto& [choice, message] :
       {std::pair{"matmull=naive", "did you mean 'matmul'?"},
        std::pair{"matmul=fast", "METTLE_KERNEL: matmul: no variant 'fast'"},
        std::pair{"matmul", "METTLE_KERNEL"}}) {
    const Outcome got = info_with(choice);
    EXPECT_EQ(got.code, 2) << choice;
    EXPECT_THAT(got.err, HasSubstr(message)) << choice;
  }
}

TEST(Trace, OfACommandIsWrittenWhereTheEnvironmentSays) {
  const TemporaryFolder folder;
  write_tiny_movielens(folder / "data");
  const std::string path = (folder / "trace.json");
  const Outcome got = run({{"train", "--data", (folder / "data"), "--method", "ridge", "--epochs",
                            "1", "--out", (folder / "out")},
                           {{"METTLE_TRACE", path}},
                           {}});
  ASSERT_EQ(got.code, 0) << got.err;
  std::set<std::string> categories;
  for (const json& event : json::parse(read(path)))
    if (event.contains("cat")) categories.insert(event["cat"]);
  EXPECT_EQ(categories, (std::set<std::string>{"grad", "kernel", "rule"}));

  const Outcome refused = run({{"info"}, {{"METTLE_TRACE", folder / "none/x"}}, {}});
  EXPECT_EQ(refused.code, 2);
  EXPECT_THAT(refused.err, HasSubstr("cannot be written"));
}

// libgomp tells what it has read: it spins so many times before it sleeps.
TEST(Threads, SleepWhereTheyWaitUnlessTheUserWantsThemToSpin) {
  const std::tuple<const char*, const char*, bool> rows[] = {
      {"OMP_WAIT_POLICY", "", true},
      {"OMP_WAIT_POLICY", "passive", true},
      {"OMP_WAIT_POLICY", "active", false},
      {"GOMP_SPINCOUNT", "7", false},
  };
  for (const auto& [variable, value, sleeps] : rows) {
    std::map<std::string, std::string> environment = {{"OMP_DISPLAY_ENV", "verbose"},
                                                      {"OMP_WAIT_POLICY", ""}};
    environment[variable] = value;
    const Outcome got = run({{"info"}, environment, {}});
    EXPECT_EQ(got.code, 0) << variable << value;
    EXPECT_EQ(got.err.find("GOMP_SPINCOUNT = '0'") != std::string::npos, sleeps)
        << variable << value << got.err;
  }
}

TEST(Evaluate, WritesTableSummaryMetricsAndPicture) {
  const TemporaryFolder folder;
  write_tiny_movielens(folder / "data");
  const Outcome got = run({"evaluate", "--data", folder / "data", "--methods",
                           "popularity,item-mean-user-bias,hierarchical-linear", "--k", "5,0",
                           "--seeds", "2", "--out", folder / "out"});
  ASSERT_EQ(got.code, 0) << got.err;
  EXPECT_THAT(got.out, HasSubstr("hierarchical Bayes linear   5"));
  EXPECT_THAT(got.out, HasSubstr("minus item mean + user bias at k = 5"));
  const json summary = json::parse(read(folder / "out/summary.json"));
  EXPECT_EQ(summary["dataset"], "data");
  EXPECT_EQ(summary["seed"], 1);
  EXPECT_GT(summary["wall_s"], 0.0);
  EXPECT_GT(summary["peak_rss_mb"], 1.0);
  for (const char* key : {"commit", "threads"}) EXPECT_TRUE(summary.contains(key)) << key;
  ASSERT_EQ(summary["results"].size(), 5u);  // popularity has no k
  for (const json& row : summary["results"])
    for (const char* key : {"auc", "ndcg5", "log_loss", "mae"}) {
      EXPECT_TRUE(row[key].is_number()) << row;
      EXPECT_TRUE(row["ci95"][key].is_number()) << row;
    }
  EXPECT_EQ(summary["paired"].size(), 4u);  // one method against the reference, four metrics
  std::istringstream lines(read(folder / "out/metrics.jsonl"));
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count)
    EXPECT_TRUE(json::parse(line).contains("seed")) << line;
  EXPECT_EQ(count, 2 * 5);
  EXPECT_THAT(read(folder / "out/curve.svg"), HasSubstr("hierarchical Bayes linear"));
  EXPECT_THAT(read(folder / "out/curve.png"), HasSubstr("PNG"));
}

TEST(Evaluate, SameBitsForAnyNumberOfThreads) {
  const TemporaryFolder folder;
  write_tiny_movielens(folder / "data");
  std::string first;
  for (const int count : test::kThreadCounts) {
    ASSERT_EQ(run({"evaluate", "--data", folder / "data", "--k", "0,3", "--methods",
                   "hierarchical-linear,item-mean-user-bias", "--threads", std::to_string(count),
                   "--out", folder / "out"})
                  .code,
              0);
    const std::string metrics = read(folder / "out/metrics.jsonl");
    if (first.empty()) first = metrics;
    EXPECT_EQ(metrics, first) << count << " threads";
  }
}

TEST(Evaluate, WithoutGnuplotSaysHowToGetThePicture) {
  const TemporaryFolder folder;
  write_tiny_movielens(folder / "data");
  const Outcome got = run({{"evaluate", "--data", folder / "data", "--methods",
                            "user-mean,item-mean-user-bias", "--k", "0,1", "--out", folder / "out"},
                           {{"PATH", folder / "empty"}},
                           {}});
  EXPECT_EQ(got.code, 0) << got.err;
  EXPECT_THAT(got.err, HasSubstr("gnuplot is not installed"));
  EXPECT_TRUE(fs::exists(folder / "out/summary.json"));
  EXPECT_TRUE(fs::exists(folder / "out/curve.gp"));
}

struct BadFolder {
  const char* out;      // in the folder of the test, unless absolute
  const char* message;  // with what was wrong
  const char* remedy;
  bool full = false;  // the disk
};

// Neither an existing folder nor a new one changes.
TEST(Out, AFolderThatCannotBeUsedIsRefusedBeforeAnyWork) {
  const TemporaryFolder folder;
  write_tiny_movielens(folder / "data");
  write(folder / "file", "in the way");
  fs::create_directories(folder / "run");
  write(folder / "run/maml.checkpoint.safetensors", "of a training");
  fs::create_directories(folder / "taken/metrics.jsonl");
  fs::create_directory(folder / "locked");
  fs::permissions(folder / "locked", fs::perms::none);
  const std::string too_long(300, 'x');
  const BadFolder rows[] = {
      {"", "--out", "give"},
      {"file/out", "is a file, not a folder", "give another name"},
      {"file", "is a file, not a folder", "give another name"},
      {"run", "there is a training run in this folder", "give another folder"},
      {"taken", "metrics.jsonl: not a regular file", "give a folder of your own"},
      {"locked/out", "locked: Permission denied", "give one in a folder of your own"},
      {"locked", "Permission denied", "give a folder of your own"},
      {"/proc/x/y", "no folder can be made in /proc: No such file", "in a folder of your own"},
      {"/proc", "nothing can be written there", "give a folder of your own"},
      {"new/out/", "writing failed: File too large", "on a disk with room", true},
      {too_long.c_str(), "File name too long", "give one in a folder of your own"},
  };
  const auto paths = [&] {
    std::set<std::string> out;
    for (const auto& entry : fs::recursive_directory_iterator(
             folder.path(), fs::directory_options::skip_permission_denied))
      out.insert(entry.path());
    return out;
  };
  const std::set<std::string> before = paths();
  for (const BadFolder& row : rows) {
    const bool is_root = geteuid() == 0;
    if (is_root && std::string(row.out).starts_with("locked")) continue;  // root may write there
    const std::string out = *row.out ? folder / row.out : "";
    for (const Arguments& command :
         {Arguments{"evaluate", "--methods", "item-mean"}, Arguments{"train"}}) {
      if (out.empty() && command[0] == "evaluate") continue;  // writes nothing
      Arguments arguments = command;
      arguments.insert(arguments.end(), {"--data", folder / "data", "--out", out});
      Outcome got;
      {
        constexpr rlim_t kMessagesFit = 4096;
        std::optional<test::FileSizeLimit> full;
        if (row.full) full.emplace(kMessagesFit);
        got = run(arguments);
      }
      EXPECT_EQ(got.code, 2) << command[0] << " " << row.out;
      EXPECT_THAT(got.err, testing::AllOf(HasSubstr("error: --out"), HasSubstr(row.message),
                                          HasSubstr(row.remedy)))
          << command[0] << " " << row.out;
      EXPECT_EQ(got.out, "") << row.out;
      EXPECT_THAT(got.err, testing::Not(HasSubstr("ratings of"))) << "data was read: " << row.out;
    }
  }
  EXPECT_EQ(paths(), before);
  fs::permissions(folder / "locked", fs::perms::owner_all);
}

TEST(Output, AnOutputThatIsFullIsAFailure) {
  const Outcome got =
      run({.arguments = {"info"}, .environment = {}, .interrupt_when = {}, .output = "/dev/full"});
  EXPECT_EQ(got.code, 1);
  EXPECT_THAT(got.err, HasSubstr("standard output"));
}

TEST(Help, VersionIsALine) {
  const Outcome got = run({"--version"});
  EXPECT_EQ(got.code, 0);
  EXPECT_THAT(got.out, testing::MatchesRegex("mettle [0-9.]+, commit [^\n]+\n"));
}

}  // namespace
}  // namespace mettle::command_test
