// Features and tasks of the neural recommender: no leak from a user's own fold, the same rows after
// a round trip through tensors, and batches whose slots mean what they say.
#include "recsys/features.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "autograd/ops.h"
#include "recsys/meta_batch.h"
#include "recsys/movielens.h"
#include "recsys/polar.h"

namespace mettle {
namespace {

class Features : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    data_ = new Dataset(load_movielens(METTLE_DATA_DIR "/ml-latest-small"));
    split_ = new ColdStartSplit(split_cold_start(*data_, 3));
    table_ = new FeatureTable(*data_, split_->train_users, options());
  }
  static void TearDownTestSuite() {
    delete table_;
    delete split_;
    delete data_;
  }
  static FeatureOptions options() { return {.factors = 3, .item_ids = true, .seed = 5}; }

  inline static const Dataset* data_ = nullptr;
  inline static const ColdStartSplit* split_ = nullptr;
  inline static const FeatureTable* table_ = nullptr;
};

TEST(TitleWords, LowerCaseDistinctAndWithoutFunctionWords) {
  EXPECT_EQ(title_words("The Return of the King: Part II"),
            (std::vector<std::string>{"ii", "king", "part", "return"}));
  EXPECT_TRUE(title_words("").empty());
}

TEST(PolarRotation, RecoversATurnAndSurvivesASingularMatrix) {
  const double c = std::cos(0.7), s = std::sin(0.7);
  const std::vector<double> got = polar_rotation({5 * c, -5 * s, 5 * s, 5 * c}, 2);
  const double want[] = {c, -s, s, c};
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(got[i], want[i], 1e-14);
  EXPECT_EQ(polar_rotation({1, 1, 1, 1}, 2), (std::vector<double>{1, 0, 0, 1}));
}

TEST_F(Features, TrainingUsersReadOtherFoldsAndStrangersReadAll) {
  std::set<std::int64_t> rows;
  for (const std::int32_t user : split_->train_users) {
    rows.insert(table_->row(user, 0));
    EXPECT_NE(table_->row(user, 0), table_->row(-1, 0));
  }
  EXPECT_EQ(rows.size(), 5u);
  for (const Episode& episode : split_->test)
    EXPECT_EQ(table_->row(episode.user, 7), table_->row(-1, 7));
}

TEST_F(Features, GatherFillsTheShapesThatTheSizesPromise) {
  const std::vector<std::int64_t> rows{table_->row(-1, 0), table_->row(split_->train_users[0], 9)};
  const FeatureBatch batch = table_->gather(rows, {2, 1});
  const FeatureSizes& sizes = table_->sizes();
  EXPECT_EQ(batch.numeric.shape(), (Shape{2, 1, sizes.numeric}));
  EXPECT_EQ(batch.factors.shape(), (Shape{2, 1, 3}));
  EXPECT_EQ(batch.genres.shape(), (Shape{2, 1, sizes.genres}));
  EXPECT_EQ(batch.words.shape(), (Shape{2, 1, sizes.words}));
  EXPECT_EQ(batch.years.shape(), (Shape{2, 1}));
  EXPECT_EQ(batch.ids.dtype(), DType::i64);
  double norm = 0.0;
  for (const float g : slice(batch.genres, 0, 0, 1).value().to_vector<float>()) norm += g * g;
  EXPECT_NEAR(norm, 1.0, 1e-6);
  EXPECT_THROW(table_->gather(rows, {3}), ShapeError);
}

TEST_F(Features, ASavedTableDescribesStrangersAlike) {
  const FeatureTable loaded(*data_, options(), table_->global_mean(), table_->new_user_numeric(),
                            table_->new_user_factors(), table_->item_ids());
  const std::vector<std::int64_t> before{table_->row(-1, 11), table_->row(-1, 300)};
  const std::vector<std::int64_t> after{loaded.row(-1, 11), loaded.row(-1, 300)};
  const FeatureBatch a = table_->gather(before, {2}), b = loaded.gather(after, {2});
  EXPECT_EQ(a.numeric.value().to_vector<float>(), b.numeric.value().to_vector<float>());
  EXPECT_EQ(a.factors.value().to_vector<float>(), b.factors.value().to_vector<float>());
  EXPECT_EQ(a.ids.value().to_vector<std::int64_t>(), b.ids.value().to_vector<std::int64_t>());
  EXPECT_EQ(loaded.sizes().ids, table_->sizes().ids);
  EXPECT_THROW(FeatureTable(*data_, options(), 3.5, Tensor::zeros({2, 4}),
                            table_->new_user_factors(), table_->item_ids()),
               ShapeError);
}

TEST_F(Features, MetaBatchesKeepSupportAndQueryApart) {
  const std::vector<std::int32_t> users(split_->train_users.begin(),
                                        split_->train_users.begin() + 16);
  Generator first(1), again(1);
  const MetaBatchOptions sizes;
  const MetaBatch batch = sample_meta_batch(*data_, *table_, users, sizes, first);
  const MetaBatch same = sample_meta_batch(*data_, *table_, users, sizes, again);
  EXPECT_EQ(batch.support.weight.shape(), (Shape{16, 10}));
  EXPECT_EQ(batch.query.weight.shape(), (Shape{16, 20}));
  EXPECT_EQ(batch.query.stars.value().to_vector<float>(),
            same.query.stars.value().to_vector<float>());
  const auto weight = batch.support.weight.value().to_vector<float>();
  for (std::size_t task = 0; task < 16; ++task) {
    const auto begin = weight.begin() + static_cast<std::ptrdiff_t>(10 * task);
    const auto used = std::count(begin, begin + 10, 1.0f);
    EXPECT_NE(std::find(sizes.support_sizes.begin(), sizes.support_sizes.end(), used),
              sizes.support_sizes.end());
    EXPECT_TRUE(std::is_sorted(begin, begin + 10, std::greater<>()));
  }
}

TEST_F(Features, EpisodesWithoutSupportHaveOneEmptySlot) {
  const MetaBatch none = episode_batch(*data_, *table_, std::span(split_->test).first(3), 0);
  EXPECT_EQ(none.support.weight.value().to_vector<float>(), (std::vector<float>{0, 0, 0}));
  const MetaBatch five = episode_batch(*data_, *table_, std::span(split_->test).first(3), 5);
  EXPECT_EQ(five.support.weight.shape(), (Shape{3, 5}));
  EXPECT_EQ(five.query.like.shape(), (Shape{3, 10}));
  const Rating& rating = data_->ratings[static_cast<std::size_t>(split_->test[0].query[0])];
  EXPECT_NEAR(five.query.stars.value().to_vector<float>()[0], rating.stars - table_->global_mean(),
              1e-6);
}

}  // namespace
}  // namespace mettle
