#include "attune/tasks/assignment.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>

#include <gmock/gmock.h>

#include "attune/base/error.h"

namespace attune {
namespace {

/// The least cost over all ways to give rows columns of their own; rows <= columns.
double least_cost(const Tensor& cost) {
  std::vector<std::int64_t> columns(static_cast<std::size_t>(cost.size(1)));
  std::iota(columns.begin(), columns.end(), 0);
  double least = std::numeric_limits<double>::infinity();
  do {
    double sum = 0;
    for (std::int64_t row = 0; row < cost.size(0); ++row) {
      sum += cost[row][columns[static_cast<std::size_t>(row)]].item<double>();
    }
    least = std::min(least, sum);
  } while (std::next_permutation(columns.begin(), columns.end()));
  return least;
}

double cost_of(const Tensor& cost, const std::vector<std::int64_t>& columns) {
  double sum = 0;
  for (std::size_t row = 0; row < columns.size(); ++row) {
    if (columns[row] >= 0) sum += cost[static_cast<std::int64_t>(row)][columns[row]].item<double>();
  }
  return sum;
}

TEST(Assignment, IsTheCheapestOfAll) {
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    KeyedRandom random(seed, "costs");
    const auto rows = 1 + static_cast<std::int64_t>(random.below(4)), more = static_cast<std::int64_t>(random.below(3));
    // Whole numbers have ties.
    Tensor cost = normal({rows, rows + more}, 0, 3, random).to(at::kDouble);
    if (seed % 2 == 0) cost = cost.round();
    const auto columns = cheapest_assignment(cost);
    EXPECT_EQ(std::set<std::int64_t>(columns.begin(), columns.end()).size(), columns.size());
    EXPECT_NEAR(cost_of(cost, columns), least_cost(cost), 1e-9) << seed;
    EXPECT_NEAR(cost_of(cost.t(), cheapest_assignment(cost.t())), least_cost(cost), 1e-9) << seed;
  }
}

TEST(Assignment, LeavesRowsOutWhereColumnsAreFew) {
  const Tensor cost = at::tensor({5.0, 1.0, 9.0}).view({3, 1});
  EXPECT_THAT(cheapest_assignment(cost), testing::ElementsAre(-1, 0, -1));
  EXPECT_TRUE(cheapest_assignment(at::zeros({0, 4})).empty());
}

TEST(Assignment, RefusesCostsThatAreNotFinite) {
  EXPECT_THROW(cheapest_assignment(at::full({2, 2}, std::nan(""))), Error);
}

}  // namespace
}  // namespace attune
