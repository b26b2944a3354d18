#include "attune/tensors/transport.h"

#include <gmock/gmock.h>

#include "attune/base/error.h"

namespace attune {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

Tensor random_similarity(std::int64_t problems, std::int64_t rows, std::int64_t columns) {
  KeyedRandom random(4, "similarity");
  return uniform({problems, rows, columns}, -1, 1, random);
}

Tensor uniform_of(std::int64_t places) {
  return at::full({1, places}, 1.0 / static_cast<double>(places));
}

double largest(const Tensor& difference) {
  return difference.abs().max().item<double>();
}

TEST(Transport, SolvedToTheEndBothMarginsHoldAndThePlanHasItsForm) {
  const Tensor similarity = random_similarity(70, 13, 4);
  TransportSettings settings;
  settings.threshold = 1e-9;
  settings.iterations = 5000;
  const Tensor plan = transport_plan(similarity, uniform_of(13), uniform_of(4), settings);
  EXPECT_LT(largest(plan.sum(1) - 0.25), 1e-6);
  EXPECT_LT(largest(plan.sum(2) - 1.0 / 13), 1e-6);
  EXPECT_GE(plan.min().item<double>(), 0);
  // log plan - similarity / epsilon is a sum of a row's and a column's number.
  const Tensor rest = plan.to(at::kDouble).log() - similarity.to(at::kDouble) / 0.1;
  const Tensor centred = rest - rest.mean(1, true) - rest.mean(2, true) + rest.mean({1, 2}, true);
  EXPECT_LT(largest(centred), 1e-3);
}

TEST(Transport, ColumnsAreExactAfterOneIteration) {
  TransportSettings settings;
  settings.iterations = 1;
  const Tensor columns = at::tensor({0.5, 0.25, 0.25, 0.0}).unsqueeze(0).to(at::kFloat);
  const Tensor plan = transport_plan(random_similarity(3, 6, 4), uniform_of(6), columns, settings);
  EXPECT_LT(largest(plan.sum(1) - columns), 1e-6);
  EXPECT_EQ(largest(plan.select(2, 3)), 0) << "a column without mass receives none";
}

TEST(Transport, AProblemAloneGivesTheSameBitsAsAmongOthers) {
  const Tensor similarity = random_similarity(130, 7, 3);
  const Tensor together = transport_plan(similarity, uniform_of(7), uniform_of(3));
  for (const std::int64_t i : {0, 64, 129}) {
    EXPECT_TRUE(transport_plan(similarity.narrow(0, i, 1), uniform_of(7), uniform_of(3))[0].equal(together[i]));
  }
}

TEST(Transport, SmallEntropyNeitherOverflowsNorVanishes) {
  TransportSettings settings;
  settings.epsilon = kLeastTransportEpsilon;
  settings.iterations = 2000;
  settings.threshold = 1e-9;
  const Tensor plan = transport_plan(random_similarity(20, 8, 8), uniform_of(8), uniform_of(8), settings);
  EXPECT_TRUE(plan.isfinite().all().item<bool>());
  EXPECT_LT(largest(plan.sum(1) - 0.125), 1e-6);
}

TEST(Transport, NoGradientGoesThroughThePlan) {
  Tensor similarity = random_similarity(2, 5, 3).requires_grad_(true);
  const Tensor plan = transport_plan(similarity, uniform_of(5), uniform_of(3));
  EXPECT_FALSE(plan.requires_grad());
  (plan * similarity).sum().backward();
  EXPECT_TRUE(similarity.grad().equal(plan));
}

TEST(Transport, WrongShapesAndEpsilonAreErrors) {
  const Tensor similarity = random_similarity(2, 5, 3);
  EXPECT_THAT([&] { transport_plan(similarity, uniform_of(4), uniform_of(3)); },
              ThrowsMessage<Error>(HasSubstr("rows")));
  EXPECT_THAT([&] { transport_plan(similarity, uniform_of(5), uniform_of(5)); },
              ThrowsMessage<Error>(HasSubstr("columns")));
  EXPECT_THAT([&] { transport_plan(similarity[0], uniform_of(5), uniform_of(3)); },
              ThrowsMessage<Error>(HasSubstr("[N, P, M]")));
  TransportSettings settings;
  settings.epsilon = 1e-4;
  EXPECT_THAT([&] { transport_plan(similarity, uniform_of(5), uniform_of(3), settings); },
              ThrowsMessage<Error>(HasSubstr("epsilon")));
}

}  // namespace
}  // namespace attune
