#include "attune/optim/lbfgs.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>
#include <optional>
#include <tuple>
#include <vector>

#include <fmt/format.h>

#include "attune/base/error.h"

namespace attune {
namespace {

constexpr double kSufficientDecrease = 1e-4;
constexpr double kCurvature = 0.9;
constexpr int kTrials = 40;

double product(const Tensor& left, const Tensor& right) {
  return left.mul(right).sum().item<double>();
}

/// A point on the line of a search.
struct Trial {
  double step = 0.0;
  double value = 0.0;
  double slope = 0.0;  // of the value along the direction
  Tensor point, gradient;

  bool finite() const { return std::isfinite(value) && std::isfinite(slope); }
};

/// The minimum of the cubic through two trials, kept off the ends of their interval; its middle where there is none.
double between(const Trial& a, const Trial& b) {
  const double middle = 0.5 * (a.step + b.step);
  if (!a.finite() || !b.finite()) return middle;
  const double width = b.step - a.step;
  const double d1 = a.slope + b.slope - 3.0 * (b.value - a.value) / width;
  const double d2 = std::copysign(std::sqrt(d1 * d1 - a.slope * b.slope), width);
  const double step = b.step - width * (b.slope + d2 - d1) / (b.slope - a.slope + 2.0 * d2);
  if (!std::isfinite(step)) return middle;
  const auto [low, high] = std::minmax(a.step + 0.1 * width, b.step - 0.1 * width);
  return std::clamp(step, low, high);
}

class LineSearch {
 public:
  LineSearch(const SmoothFunction& objective, const Trial& origin, const Tensor& direction)
      : objective_(objective), origin_(origin), direction_(direction) {}

  /// Nothing where no step lowers the value enough, which at the rounding of the value is the end of the way.
  std::optional<Trial> run(double first_step) const {
    Trial previous = origin_;
    Trial current = at(first_step);
    for (int i = 0; i < kTrials; ++i) {
      if (too_high(current) || (i > 0 && current.value >= previous.value)) return narrow(previous, current);
      if (flat(current)) return current;
      if (current.slope >= 0) return narrow(current, previous);
      previous = std::move(current);
      current = at(2.0 * previous.step);
    }
    return previous;
  }

 private:
  Trial at(double step) const {
    Trial trial;
    trial.step = step;
    trial.point = origin_.point + direction_ * step;
    std::tie(trial.value, trial.gradient) = objective_(trial.point);
    trial.slope = product(trial.gradient, direction_);
    return trial;
  }

  /// Near the minimum the decrease drowns in the rounding of the value: the slope alone then decides.
  bool too_high(const Trial& trial) const {
    const double rounding = 8 * std::numeric_limits<double>::epsilon() * std::abs(origin_.value);
    const double limit = origin_.value + kSufficientDecrease * trial.step * origin_.slope + rounding;
    return !trial.finite() || trial.value > limit;
  }
  bool flat(const Trial& trial) const { return std::abs(trial.slope) <= -kCurvature * origin_.slope; }

  /// `low` has the lowest value so far of those that are low enough; a good step lies between it and `high`.
  std::optional<Trial> narrow(Trial low, Trial high) const {
    for (int i = 0; i < kTrials; ++i) {
      Trial trial = at(between(low, high));
      if (too_high(trial) || trial.value >= low.value) {
        high = std::move(trial);
        continue;
      }
      if (flat(trial)) return trial;
      if (trial.slope * (high.step - low.step) >= 0) high = std::move(low);
      low = std::move(trial);
    }
    if (low.step > 0) return low;
    return std::nullopt;
  }

  const SmoothFunction& objective_;
  const Trial& origin_;
  const Tensor& direction_;
};

/// The inverse of the curvature, as the last steps showed it.
class History {
 public:
  explicit History(std::size_t size) : size_(size) {}

  bool empty() const { return pairs_.empty(); }
  void clear() { pairs_.clear(); }

  void add(Tensor step, Tensor change) {
    const double curvature = product(step, change);
    // A pair without positive curvature would make the next direction climb.
    if (!(curvature > std::numeric_limits<double>::epsilon() * product(change, change))) return;
    pairs_.push_back({std::move(step), std::move(change), curvature});
    if (pairs_.size() > size_) pairs_.pop_front();
  }

  Tensor direction(const Tensor& gradient) const {
    Tensor result = -gradient;
    if (pairs_.empty()) return result;
    std::vector<double> weights(pairs_.size());
    for (std::size_t i = pairs_.size(); i-- > 0;) {
      weights[i] = product(pairs_[i].step, result) / pairs_[i].curvature;
      result -= pairs_[i].change * weights[i];
    }
    result *= pairs_.back().curvature / product(pairs_.back().change, pairs_.back().change);
    for (std::size_t i = 0; i < pairs_.size(); ++i) {
      result += pairs_[i].step * (weights[i] - product(pairs_[i].change, result) / pairs_[i].curvature);
    }
    return result;
  }

 private:
  struct Pair {
    Tensor step, change;  // of the point and of the gradient
    double curvature;     // their product
  };
  std::size_t size_;
  std::deque<Pair> pairs_;
};

double largest(const Tensor& tensor) {
  return tensor.abs().max().item<double>();
}

}  // namespace

LbfgsResult minimise_lbfgs(const SmoothFunction& objective, const Tensor& start, const LbfgsOptions& options) {
  Trial current;
  current.point = start.clone();
  std::tie(current.value, current.gradient) = objective(current.point);
  double gradient = largest(current.gradient);
  if (!std::isfinite(current.value) || !std::isfinite(gradient)) {
    throw Error(fmt::format("minimise_lbfgs: expected a finite start, found value {} and largest gradient {}",
                            current.value, gradient));
  }
  History history(options.history);
  std::int64_t iteration = 0;
  while (iteration < options.iterations && gradient > options.tolerance) {
    const Tensor direction = history.direction(current.gradient);
    current.step = 0.0;
    current.slope = product(current.gradient, direction);
    const double first = history.empty() ? std::min(1.0, 1.0 / current.gradient.abs().sum().item<double>()) : 1.0;
    std::optional<Trial> next;
    if (current.slope < 0) next = LineSearch(objective, current, direction).run(first);
    if (!next) {
      if (history.empty()) break;
      history.clear();
      continue;
    }
    history.add(next->point - current.point, next->gradient - current.gradient);
    current = std::move(*next);
    gradient = largest(current.gradient);
    ++iteration;
  }
  return {current.point, current.value, gradient, iteration, gradient <= options.tolerance};
}

}  // namespace attune
