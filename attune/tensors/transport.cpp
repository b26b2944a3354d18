#include "attune/tensors/transport.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "attune/base/error.h"
#include "attune/tensors/parallel.h"

namespace attune {
namespace {

/// Problems that one thread takes at once.
constexpr std::int64_t kProblemsAtOnce = 64;

/// One problem; the kernel exp(-cost / epsilon) lies as [M, P], so that all loops run along P.
struct Problem {
  std::int64_t row_count, column_count;
  const float* rows;
  const float* columns;
  double* kernel;
  double* row_scale;     // [P]
  double* column_scale;  // [M]

  void start(const float* similarity, double epsilon) const {
    for (std::int64_t m = 0; m < column_count; ++m) {
      column_scale[m] = 1;
      for (std::int64_t p = 0; p < row_count; ++p) {
        kernel[m * row_count + p] = std::exp((similarity[p * column_count + m] - 1.0) / epsilon);
      }
    }
    std::fill(row_scale, row_scale + row_count, 1.0);
  }

  /// Returns the summed change of the row scales.
  double iterate(std::vector<double>& sums) const {
    sums.assign(static_cast<std::size_t>(row_count), 0.0);
    for (std::int64_t m = 0; m < column_count; ++m) {
      const double scale = column_scale[m];
      const double* weights = kernel + m * row_count;
      for (std::int64_t p = 0; p < row_count; ++p) sums[static_cast<std::size_t>(p)] += weights[p] * scale;
    }
    double change = 0;
    for (std::int64_t p = 0; p < row_count; ++p) {
      const double scale = rows[p] / sums[static_cast<std::size_t>(p)];
      change += std::abs(scale - row_scale[p]);
      row_scale[p] = scale;
    }
    for (std::int64_t m = 0; m < column_count; ++m) {
      const double* weights = kernel + m * row_count;
      double lanes[4] = {0, 0, 0, 0};
      std::int64_t p = 0;
      for (; p + 4 <= row_count; p += 4) {
        for (int lane = 0; lane < 4; ++lane) lanes[lane] += weights[p + lane] * row_scale[p + lane];
      }
      for (; p < row_count; ++p) lanes[0] += weights[p] * row_scale[p];
      column_scale[m] = columns[m] / (lanes[0] + lanes[1] + lanes[2] + lanes[3]);
    }
    return change;
  }

  void finish(float* plan) const {
    for (std::int64_t m = 0; m < column_count; ++m) {
      for (std::int64_t p = 0; p < row_count; ++p) {
        plan[p * column_count + m] = static_cast<float>(row_scale[p] * kernel[m * row_count + p] * column_scale[m]);
      }
    }
  }
};

class Solver {
 public:
  Solver(const Tensor& similarity, const Tensor& rows, const Tensor& columns, const TransportSettings& settings)
      : similarity_(similarity),
        rows_(rows),
        columns_(columns),
        settings_(settings),
        count_(similarity.size(0)),
        row_count_(similarity.size(1)),
        column_count_(similarity.size(2)),
        kernels_(at::empty({similarity.numel()}, at::kDouble)),
        row_scales_(at::empty({count_ * row_count_}, at::kDouble)),
        column_scales_(at::empty({count_ * column_count_}, at::kDouble)),
        plan_(at::empty_like(similarity)) {}

  Tensor solve() {
    if (settings_.stop_together) {
      solve_together();
    } else {
      for_each_part([&](std::int64_t first, std::int64_t last) {
        std::vector<double> sums;
        for (std::int64_t i = first; i < last; ++i) solve_alone(i, sums);
      });
    }
    return plan_;
  }

 private:
  Problem problem(std::int64_t i) {
    const auto of = [&](const Tensor& masses, std::int64_t width) {
      return masses.const_data_ptr<float>() + (masses.size(0) == 1 ? 0 : i * width);
    };
    return {row_count_,
            column_count_,
            of(rows_, row_count_),
            of(columns_, column_count_),
            kernels_.mutable_data_ptr<double>() + i * row_count_ * column_count_,
            row_scales_.mutable_data_ptr<double>() + i * row_count_,
            column_scales_.mutable_data_ptr<double>() + i * column_count_};
  }
  const float* similarities(std::int64_t i) const {
    return similarity_.const_data_ptr<float>() + i * row_count_ * column_count_;
  }
  float* plan(std::int64_t i) { return plan_.mutable_data_ptr<float>() + i * row_count_ * column_count_; }

  void solve_alone(std::int64_t i, std::vector<double>& sums) {
    const Problem one = problem(i);
    one.start(similarities(i), settings_.epsilon);
    for (int k = 0; k < settings_.iterations; ++k) {
      if (one.iterate(sums) < settings_.threshold * static_cast<double>(row_count_)) break;
    }
    one.finish(plan(i));
  }

  void solve_together() {
    std::vector<double> sums;
    for (std::int64_t i = 0; i < count_; ++i) problem(i).start(similarities(i), settings_.epsilon);
    for (int k = 0; k < settings_.iterations; ++k) {
      double change = 0;
      for (std::int64_t i = 0; i < count_; ++i) change += problem(i).iterate(sums);
      if (change < settings_.threshold * static_cast<double>(count_ * row_count_)) break;
    }
    for (std::int64_t i = 0; i < count_; ++i) problem(i).finish(plan(i));
  }

  void for_each_part(const std::function<void(std::int64_t, std::int64_t)>& work) const {
    const std::int64_t parts = (count_ + kProblemsAtOnce - 1) / kProblemsAtOnce;
    // Tens of operations for an entry in an iteration, of which there are a few.
    const double operations = 200.0 * static_cast<double>(similarity_.numel());
    in_parallel(parts, operations, [&](std::int64_t part) {
      work(part * kProblemsAtOnce, std::min(count_, (part + 1) * kProblemsAtOnce));
    });
  }

  const Tensor similarity_, rows_, columns_;
  const TransportSettings settings_;
  const std::int64_t count_, row_count_, column_count_;
  Tensor kernels_, row_scales_, column_scales_, plan_;
};

void check_masses(const char* what, const Tensor& masses, std::int64_t count, std::int64_t width) {
  if (masses.dim() != 2 || masses.size(1) != width || (masses.size(0) != 1 && masses.size(0) != count)) {
    throw Error(fmt::format("transport: expected masses of the {} [1 or {}, {}], found [{}]", what, count, width,
                            fmt::join(masses.sizes(), ", ")));
  }
}

}  // namespace

Tensor transport_plan(const Tensor& similarity, const Tensor& rows, const Tensor& columns,
                      const TransportSettings& settings) {
  const at::NoGradGuard no_gradients;
  if (similarity.dim() != 3) {
    throw Error(
        fmt::format("transport: expected similarities [N, P, M], found [{}]", fmt::join(similarity.sizes(), ", ")));
  }
  check_masses("rows", rows, similarity.size(0), similarity.size(1));
  check_masses("columns", columns, similarity.size(0), similarity.size(2));
  if (!(settings.epsilon >= kLeastTransportEpsilon)) {
    throw Error(fmt::format("transport: expected an epsilon of at least {}, found {}", kLeastTransportEpsilon,
                            settings.epsilon));
  }
  const auto ready = [](const Tensor& tensor) { return tensor.detach().to(at::kCPU, at::kFloat).contiguous(); };
  return Solver(ready(similarity), ready(rows), ready(columns), settings).solve().to(similarity.options());
}

}  // namespace attune
