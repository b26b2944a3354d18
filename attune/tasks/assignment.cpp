#include "attune/tasks/assignment.h"

#include <limits>

#include <fmt/format.h>

#include "attune/base/error.h"

namespace attune {
namespace {

/// Grows the matching by one row after the other; rows <= columns. Index 0 stands for "none": rows and columns count
/// from 1.
class CheapestMatching {
 public:
  CheapestMatching(const double* cost, std::size_t rows, std::size_t columns)
      : cost_(cost), columns_(columns), row_price_(rows + 1), column_price_(columns + 1), row_of_(columns + 1) {
    for (std::size_t row = 1; row <= rows; ++row) add(row);
  }

  std::vector<std::int64_t> columns_of_rows() const {
    std::vector<std::int64_t> result(row_price_.size() - 1, -1);
    for (std::size_t column = 1; column <= columns_; ++column) {
      if (row_of_[column] > 0) result[row_of_[column] - 1] = static_cast<std::int64_t>(column) - 1;
    }
    return result;
  }

 private:
  /// Cost of a pair above the prices of both: 0 on pairs of the matching, never below.
  double reduced(std::size_t row, std::size_t column) const {
    return cost_[(row - 1) * columns_ + column - 1] - row_price_[row] - column_price_[column];
  }

  void add(std::size_t row) {
    std::vector<double> shortest(columns_ + 1, std::numeric_limits<double>::infinity());
    std::vector<std::size_t> before(columns_ + 1);
    std::vector<bool> reached(columns_ + 1);
    std::size_t column = 0;
    row_of_[0] = row;
    do {
      reached[column] = true;
      column = next(column, shortest, before, reached);
    } while (row_of_[column] != 0);
    for (; column != 0; column = before[column]) row_of_[column] = row_of_[before[column]];
  }

  /// The nearest column that is not reached yet, over the row that holds `column`.
  std::size_t next(std::size_t column, std::vector<double>& shortest, std::vector<std::size_t>& before,
                   const std::vector<bool>& reached) {
    std::size_t nearest = 0;
    double step = std::numeric_limits<double>::infinity();
    for (std::size_t other = 1; other <= columns_; ++other) {
      if (reached[other]) continue;
      const double length = reduced(row_of_[column], other);
      if (length < shortest[other]) {
        shortest[other] = length;
        before[other] = column;
      }
      if (shortest[other] < step) {
        step = shortest[other];
        nearest = other;
      }
    }
    for (std::size_t other = 0; other <= columns_; ++other) {
      if (reached[other]) {
        row_price_[row_of_[other]] += step;
        column_price_[other] -= step;
      } else {
        shortest[other] -= step;
      }
    }
    return nearest;
  }

  const double* cost_;
  std::size_t columns_;
  std::vector<double> row_price_, column_price_;
  std::vector<std::size_t> row_of_;  // of each column
};

}  // namespace

std::vector<std::int64_t> cheapest_assignment(const Tensor& cost) {
  if (cost.dim() != 2)
    throw Error(fmt::format("assignment: expected costs [rows, columns], found {} sizes", cost.dim()));
  if (cost.size(0) > cost.size(1)) {
    std::vector<std::int64_t> result(static_cast<std::size_t>(cost.size(0)), -1);
    const auto rows = cheapest_assignment(cost.t());
    for (std::size_t column = 0; column < rows.size(); ++column) {
      result[static_cast<std::size_t>(rows[column])] = static_cast<std::int64_t>(column);
    }
    return result;
  }
  const Tensor own = cost.detach().to(at::kCPU, at::kDouble).contiguous();
  if (!own.isfinite().all().item<bool>()) throw Error("assignment: expected finite costs");
  return CheapestMatching(own.const_data_ptr<double>(), static_cast<std::size_t>(own.size(0)),
                          static_cast<std::size_t>(own.size(1)))
      .columns_of_rows();
}

}  // namespace attune
