// Sentence encoders: what folders say of pooling, batches, and the real MiniLM against the
// reference (golden/minilm.py).
#include "models/sentence_encoder.h"

#include <gmock/gmock.h>

#include <cstdlib>

#include "engine/file.h"
#include "engine/safetensors.h"
#include "tests/autograd/message_of.h"
#include "tests/engine/temporary_folder.h"
#include "tests/models/models_test_util.h"

namespace mettle {
namespace {

namespace fs = std::filesystem;
using test::message_of;
using testing::HasSubstr;

/// A folder with a small encoder and a vocabulary of 30 tokens.
class SentenceFolder : public test::TemporaryFolder {
 protected:
  SentenceFolder() {
    for (const char* file : {"config.json", "model.safetensors"})
      fs::copy(fs::path(METTLE_GOLDEN_DIR) / "bert" / file, folder_ / file);
    std::string vocab = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";
    for (char c = 'a'; c < 'a' + 25; ++c) vocab += std::string(1, c) + "\n";
    write_file(folder_ / "vocab.txt", vocab);
  }
  void write(const char* file, std::string_view text) const {
    make_folder((folder_ / file).parent_path());
    write_file(folder_ / file, text);
  }
  std::string refusal() const {
    return message_of<FileError>([&] { SentenceEncoder encoder(folder_); });
  }
};

constexpr const char* kModules =
    R"([{"idx":0,"name":"0","path":"","type":"sentence_transformers.models.Transformer"},
        {"idx":1,"name":"1","path":"1_Pooling","type":"sentence_transformers.models.Pooling"},
        {"idx":2,"name":"2","path":"2_Normalize","type":"sentence_transformers.models.Normalize"}])";

TEST_F(SentenceFolder, BatchesChangeNothing) {
  const SentenceEncoder encoder(folder_);
  std::vector<std::string> texts;
  for (int i = 0; i < 600; ++i) texts.push_back(i % 7 == 0 ? "" : std::string(1 + i % 5 * 2, 'a'));
  texts.back() = "a b c d e f g h i j k l m n o p q r s";  // beyond the ten positions
  std::vector<std::int64_t> reports;
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  const Variable all(encoder.embed(views, [&](std::int64_t done) { reports.push_back(done); }));
  ASSERT_GT(reports.size(), 1u);
  EXPECT_EQ(reports.back(), 600);
  for (const std::int64_t i : {0, 1, 2, 598, 599}) {
    const std::string_view one[] = {texts[static_cast<std::size_t>(i)]};
    EXPECT_LT(test::distance(slice(all, 0, i, i + 1), Variable(encoder.embed(one))), 1e-6) << i;
  }
  EXPECT_EQ(encoder.embed({}).shape(), (Shape{0, 12}));
}

TEST_F(SentenceFolder, ModulesSayHowToPool) {
  EXPECT_EQ(SentenceEncoder(folder_).options().length, SentenceOptions::Length::as_it_is);
  write("modules.json", kModules);
  write("1_Pooling/config.json",
        R"({"pooling_mode_cls_token":true,"pooling_mode_max_tokens":false})");
  write("sentence_bert_config.json", R"({"max_seq_length":5,"do_lower_case":false})");
  const SentenceEncoder encoder(folder_);
  EXPECT_EQ(encoder.options().pooling, SentenceOptions::Pooling::first_token);
  EXPECT_EQ(encoder.options().length, SentenceOptions::Length::one);
  EXPECT_EQ(encoder.options().max_tokens, 5);
  const std::string_view text[] = {"b a d"};
  EXPECT_NEAR(norm(Variable(encoder.embed(text))).item(), 1.0, 1e-6);
}

TEST_F(SentenceFolder, WhatIsNotBuiltIsRefused) {
  write("modules.json", kModules);
  write("1_Pooling/config.json", R"({"pooling_mode_max_tokens":true})");
  EXPECT_THAT(refusal(), HasSubstr("pooling_mode_max_tokens is true, supported: false"));
  write("1_Pooling/config.json", R"({"word_embedding_dimension":12})");
  EXPECT_THAT(refusal(), HasSubstr("supported: one of them"));
  write("modules.json", R"([{"type":"sentence_transformers.models.Dense"}])");
  EXPECT_THAT(refusal(), HasSubstr("supported: Transformer, Pooling and Normalize"));
  write("modules.json", "{}");
  EXPECT_THAT(refusal(), HasSubstr("not a list of modules"));
  fs::remove(folder_ / "modules.json");
  fs::remove(folder_ / "vocab.txt");
  EXPECT_THAT(refusal(), HasSubstr("neither tokenizer.json nor vocab.txt is there"));
  write(
      "vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n" + [] {
        std::string more;
        for (int i = 0; i < 26; ++i) more += "t" + std::to_string(i) + "\n";
        return more;
      }());
  EXPECT_THAT(refusal(), HasSubstr("the tokenizer has 31 tokens, the encoder takes 30"));
}

TEST_F(SentenceFolder, OptionsAreChecked) {
  SentenceEncoder encoder(folder_);
  SentenceOptions options = encoder.options();
  for (const std::int64_t tokens : {std::int64_t{2}, std::int64_t{11}}) {
    options.max_tokens = tokens;
    EXPECT_THAT(message_of<ValueError>([&] { encoder.set_options(options); }),
                HasSubstr("this model takes 3 to 10"));
  }
}

// ---- the real one -------------------------------------------------------------------------------

std::optional<fs::path> minilm_folder() {
  const char* given = std::getenv("METTLE_MINILM");
  const char* home = std::getenv("HOME");
  fs::path folder = given  ? fs::path(given)
                    : home ? fs::path(home) / ".cache/mettle/all-MiniLM-L6-v2"
                           : fs::path();
  if (!fs::exists(folder / "model.safetensors")) return std::nullopt;
  return folder;
}

TEST(MiniLm, VectorsAreTheReferences) {
  const auto folder = minilm_folder();
  if (!folder)
    GTEST_SKIP() << "all-MiniLM-L6-v2 is not here, so its real weights were not compared; "
                    "scripts/fetch_minilm.sh fetches it";
  const std::string long_text = [] {
    std::string out;
    for (int i = 0; i < 300; ++i) out += "toy ";
    return out;
  }();
  const std::string_view texts[] = {
      "A computer hacker learns that the world he lives in is a simulation.",
      "Two detectives hunt a serial killer who uses the seven deadly sins as his motives.", "",
      "naïve façade — 東京 and العربية, 12.5% of $3!", long_text};
  const Variable want(
      read_safetensors(fs::path(METTLE_GOLDEN_DIR) / "minilm.safetensors").tensors.at("vectors"));
  const Variable got(SentenceEncoder(*folder).embed(texts));
  EXPECT_LT(max(max(abs(sub(got, want)), 0), 0).item(), 2e-5);
  // Weights and activations in bf16, the sums between layers too; in mixed precision less is lost.
  const Variable rounded(SentenceEncoder(*folder, DType::bf16).embed(texts));
  EXPECT_GT(min(cosine_similarity(rounded, want), 0).item(), 0.9998);
}

}  // namespace
}  // namespace mettle
