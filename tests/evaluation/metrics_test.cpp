#include "attune/evaluation/metrics.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "attune/base/error.h"

namespace attune {
namespace {

Tensor labels_of(std::vector<std::int64_t> values) {
  return at::tensor(values, at::kLong);
}

/// Six samples of three classes; answers 0 1 1 2 0 0 for labels 0 1 2 2 1 0: four of six are right.
Truth small_truth() {
  Truth truth;
  truth.labels = labels_of({0, 1, 2, 2, 1, 0});
  truth.domains = labels_of({0, 0, 0, 1, 1, 1});
  truth.groups = labels_of({0, 1, 0, 1, 1, -1});
  truth.class_names = {"cat", "dog", "newt"};
  truth.domain_names = {"photo", "sketch"};
  truth.group_names = {"seen", "held_out"};
  return truth;
}
Tensor small_scores() {
  return at::tensor({2., 1., 0., 0., 3., 1., 0., 2., 1., 0., 0., 5., 4., 1., 2., 1., 0., 0.}).view({6, 3});
}

TEST(Metrics, SmallExampleByHand) {
  const Measurement found = measure(small_scores(), small_truth());
  EXPECT_EQ(found.count, 6);
  EXPECT_DOUBLE_EQ(found.metrics.acc1, 4.0 / 6);
  EXPECT_DOUBLE_EQ(found.metrics.acc5, 1.0);  // three classes: top 3
  EXPECT_DOUBLE_EQ(found.metrics.mean_per_class_recall, (1.0 + 0.5 + 0.5) / 3);
  EXPECT_EQ(found.confusion, (std::vector<std::vector<std::int64_t>>{{2, 0, 0}, {1, 1, 0}, {0, 1, 1}}));
  EXPECT_EQ(found.per_class[1].name, "dog");
  EXPECT_EQ(found.per_class[1].accuracy.count, 2);
  EXPECT_DOUBLE_EQ(found.per_class[1].accuracy.acc1, 0.5);
}

TEST(Metrics, DomainsAndGroupsCountTheirOwnSamples) {
  const Measurement found = measure(small_scores(), small_truth());
  ASSERT_EQ(found.per_domain.size(), 2U);
  EXPECT_EQ(found.per_domain[0].accuracy.count, 3);
  EXPECT_DOUBLE_EQ(found.per_domain[0].accuracy.acc1, 2.0 / 3);
  EXPECT_EQ(found.per_domain[0].groups[0].accuracy.count, 2);
  EXPECT_DOUBLE_EQ(found.per_domain[0].groups[0].accuracy.acc1, 0.5);
  EXPECT_EQ(found.per_domain[1].groups[0].accuracy.count, 0);
  EXPECT_TRUE(std::isnan(found.per_domain[1].groups[0].accuracy.acc1));
  ASSERT_EQ(found.groups.size(), 2U);
  EXPECT_EQ(found.groups[1].name, "held_out");
  EXPECT_EQ(found.groups[1].accuracy.count, 3);
  EXPECT_DOUBLE_EQ(found.groups[1].accuracy.acc1, 2.0 / 3);
}

/// Scores by a formula; the expected values were computed with numpy from the same formula.
TEST(Metrics, AgreesWithNumpy) {
  constexpr std::int64_t kCount = 200;
  constexpr std::int64_t kClasses = 12;
  Tensor scores = at::empty({kCount, kClasses}, at::kDouble);
  Truth truth;
  truth.labels = at::empty({kCount}, at::kLong);
  truth.class_names.assign(kClasses, "class");
  for (std::int64_t i = 0; i < kCount; ++i) {
    const std::int64_t label = (i * i + 3 * i) % kClasses;
    truth.labels[i] = label;
    for (std::int64_t j = 0; j < kClasses; ++j) {
      const double angle = 7.0 * static_cast<double>(i) + 13.0 * static_cast<double>(j) +
                           0.1 * static_cast<double>(i) * static_cast<double>(j);
      scores[i][j] = 4 * std::sin(angle) + (j == label ? 2 : 0);
    }
  }
  const Measurement found = measure(scores, truth);
  EXPECT_DOUBLE_EQ(found.metrics.acc1, 0.405);
  EXPECT_DOUBLE_EQ(found.metrics.acc5, 0.555);
  EXPECT_NEAR(found.metrics.mean_per_class_recall, 0.411352329262777, 1e-12);
  EXPECT_NEAR(found.metrics.ece, 0.21616247414996848, 1e-12);
  EXPECT_EQ(found.reliability.size(), 15U);
}

TEST(Metrics, EqualScoresGoToTheClassListedFirst) {
  Truth truth;
  truth.labels = labels_of({0, 6});
  truth.class_names.assign(7, "class");
  const Tensor scores = at::zeros({2, 7});
  const Measurement found = measure(scores, truth);
  EXPECT_EQ(top_answers(scores), (std::vector<std::int64_t>{0, 0}));
  EXPECT_DOUBLE_EQ(found.metrics.acc1, 0.5);
  EXPECT_DOUBLE_EQ(found.metrics.acc5, 0.5);
}

TEST(Metrics, CertainAnswersFallIntoTheLastBin) {
  Truth truth;
  truth.labels = labels_of({0, 1});
  truth.class_names = {"a", "b"};
  const Measurement found = measure(at::tensor({900., 0., 900., 0.}).view({2, 2}), truth);
  EXPECT_EQ(found.reliability[14].count, 2);
  EXPECT_DOUBLE_EQ(found.reliability[14].confidence, 1.0);
  EXPECT_DOUBLE_EQ(found.metrics.ece, 0.5);
}

TEST(Metrics, NoSamplesGiveNoNumbers) {
  Truth truth;
  truth.labels = labels_of({});
  truth.class_names = {"a", "b"};
  const Measurement found = measure(at::empty({0, 2}), truth);
  EXPECT_TRUE(std::isnan(found.metrics.acc1));
  EXPECT_TRUE(std::isnan(found.metrics.ece));
  EXPECT_TRUE(std::isnan(found.metrics.mean_per_class_recall));
}

TEST(Metrics, RefusesWhatDoesNotFit) {
  Truth truth = small_truth();
  EXPECT_THROW(measure(small_scores().view({18}), truth), Error);
  EXPECT_THROW(measure(small_scores().narrow(0, 0, 5), truth), Error);
  EXPECT_THROW(measure(small_scores() / 0.0, truth), Error);
  truth.labels = labels_of({0, 1, 3, 2, 1, 0});
  EXPECT_THROW(measure(small_scores(), truth), Error);
  truth = small_truth();
  truth.groups = labels_of({0, 1, 0, 1, 1, -2});
  EXPECT_THROW(measure(small_scores(), truth), Error);
  truth = small_truth();
  truth.class_names.pop_back();
  EXPECT_THROW(measure(small_scores(), truth), Error);
}

/// Newcombe (1998), Statistics in Medicine 17: 857-872 and 873-890, gives these to four digits.
TEST(Metrics, IntervalsOfThePaper) {
  const Interval share = wilson_interval({263, 81.0 / 263});
  EXPECT_NEAR(share.low, 0.2553, 5e-5);
  EXPECT_NEAR(share.high, 0.3662, 5e-5);
  const Interval none = wilson_interval({20, 0});
  EXPECT_NEAR(none.low, 0, 1e-15);
  EXPECT_NEAR(none.high, 0.1611, 5e-5);
  const Interval difference = difference_interval({70, 56.0 / 70}, {80, 48.0 / 80});
  EXPECT_NEAR(difference.low, 0.0524, 5e-5);
  EXPECT_NEAR(difference.high, 0.3339, 5e-5);
  EXPECT_DOUBLE_EQ(wilson_interval({0, 0}).high, 1);
}

TEST(Metrics, StudentQuantilesOfTheTables) {
  EXPECT_NEAR(student_t_quantile(0.975, 1), 12.7062047364, 1e-8);
  EXPECT_NEAR(student_t_quantile(0.975, 2), 4.3026527299, 1e-9);
  EXPECT_NEAR(student_t_quantile(0.975, 3), 3.1824463053, 1e-9);
  EXPECT_NEAR(student_t_quantile(0.975, 4), 2.7764451052, 1e-9);
  EXPECT_NEAR(student_t_quantile(0.975, 30), 2.0422724563, 1e-9);
  EXPECT_NEAR(student_t_quantile(0.5, 7), 0, 1e-15);
  EXPECT_THROW(student_t_quantile(0.975, 0), Error);
  EXPECT_THROW(student_t_quantile(1, 3), Error);
}

TEST(Metrics, SeedsAreSummarised) {
  const Summary found = summarise({71.2, 73.5, 72.1});
  EXPECT_EQ(found.count, 3);
  EXPECT_NEAR(found.mean, 72.26666666666667, 1e-12);
  EXPECT_NEAR(found.deviation, 0.9463379711052252, 1e-12);
  EXPECT_NEAR(found.half_width, 2.8791716916941787, 1e-8);
  EXPECT_TRUE(std::isnan(summarise({1.0}).half_width));
  EXPECT_THROW(summarise({}), Error);
  EXPECT_THROW(summarise({1.0, std::numeric_limits<double>::infinity()}), Error);
}

TEST(Metrics, HarmonicMean) {
  EXPECT_DOUBLE_EQ(harmonic_mean(0.5, 1.0), 2.0 / 3);
  EXPECT_DOUBLE_EQ(harmonic_mean(0, 0), 0);
  EXPECT_THROW(harmonic_mean(-1, 2), Error);
}

}  // namespace
}  // namespace attune
