#include "attune/evaluation/metrics.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>

#include <fmt/format.h>

#include "attune/base/error.h"

namespace attune {
namespace {

constexpr int kReliabilityBins = 15;
constexpr double kNormal975 = 1.959963984540054;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// Right answers among answers.
struct Tally {
  std::int64_t count = 0;
  std::int64_t correct = 0;

  void add(bool right) {
    ++count;
    correct += right ? 1 : 0;
  }
  Accuracy accuracy() const {
    return {count, count == 0 ? kNaN : static_cast<double>(correct) / static_cast<double>(count)};
  }
};

/// Scores as doubles in memory, row by row.
Tensor checked_scores(const Tensor& scores) {
  if (!scores.defined() || scores.dim() != 2 || scores.size(1) < 1) {
    throw Error(fmt::format("measure: expected scores [N, C] with C >= 1, found {} dimensions",
                            scores.defined() ? scores.dim() : 0));
  }
  Tensor plain = scores.detach().to(at::kCPU, at::kDouble).contiguous();
  if (plain.numel() > 0 && !plain.isfinite().all().item<bool>()) {
    throw Error("measure: expected finite scores, found NaN or infinity");
  }
  return plain;
}

/// Indices [N] in [lowest, bound), in memory.
Tensor checked_indices(const Tensor& indices, std::string_view what, std::int64_t count, std::int64_t lowest,
                       std::int64_t bound) {
  if (indices.dim() != 1 || indices.size(0) != count || indices.scalar_type() != at::kLong) {
    throw Error(fmt::format("measure: expected {} [{}] of int64, found {} values of {}", what, count, indices.numel(),
                            c10::toString(indices.scalar_type())));
  }
  Tensor plain = indices.to(at::kCPU).contiguous();
  const std::int64_t* values = plain.const_data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < count; ++i) {
    if (values[i] < lowest || values[i] >= bound) {
      throw Error(fmt::format("measure: expected {} from {} to {}, found {} at sample {}", what, lowest, bound - 1,
                              values[i], i));
    }
  }
  return plain;
}

std::int64_t first_largest(const double* row, std::int64_t classes) {
  return std::max_element(row, row + classes) - row;
}

/// How many classes stand before `label` when the row is sorted, equal scores in the order of the classes.
std::int64_t rank_of(std::int64_t label, const double* row, std::int64_t classes) {
  std::int64_t rank = 0;
  for (std::int64_t c = 0; c < classes; ++c) {
    if (row[c] > row[label] || (row[c] == row[label] && c < label)) ++rank;
  }
  return rank;
}

/// The largest entry of the softmax of the row.
double top_probability(const double* row, std::int64_t classes) {
  const double largest = *std::max_element(row, row + classes);
  double sum = 0;
  for (std::int64_t c = 0; c < classes; ++c) sum += std::exp(row[c] - largest);
  return 1.0 / sum;
}

/// Gathers confidences into the bins of a reliability diagram.
class Reliability {
 public:
  void add(double confidence, bool right) {
    const int bin = std::clamp(static_cast<int>(std::ceil(confidence * kReliabilityBins)) - 1, 0, kReliabilityBins - 1);
    tallies_[bin].add(right);
    confidences_[bin] += confidence;
  }
  std::vector<ReliabilityBin> bins() const {
    std::vector<ReliabilityBin> bins;
    for (int i = 0; i < kReliabilityBins; ++i) {
      const Accuracy accuracy = tallies_[i].accuracy();
      bins.push_back(
          {static_cast<double>(i) / kReliabilityBins, static_cast<double>(i + 1) / kReliabilityBins, accuracy.count,
           accuracy.count == 0 ? kNaN : confidences_[i] / static_cast<double>(accuracy.count), accuracy.acc1});
    }
    return bins;
  }

 private:
  std::array<Tally, kReliabilityBins> tallies_;
  std::array<double, kReliabilityBins> confidences_{};
};

double calibration_error(const std::vector<ReliabilityBin>& bins, std::int64_t count) {
  double error = 0;
  for (const ReliabilityBin& bin : bins) {
    if (bin.count > 0) error += static_cast<double>(bin.count) * std::abs(bin.accuracy - bin.confidence);
  }
  return count == 0 ? kNaN : error / static_cast<double>(count);
}

double mean_over_classes(const std::vector<NamedAccuracy>& classes) {
  double sum = 0;
  std::int64_t present = 0;
  for (const NamedAccuracy& one : classes) {
    if (one.accuracy.count == 0) continue;
    sum += one.accuracy.acc1;
    ++present;
  }
  return present == 0 ? kNaN : sum / static_cast<double>(present);
}

std::vector<NamedAccuracy> named(const std::vector<std::string>& names, const std::vector<Tally>& tallies) {
  std::vector<NamedAccuracy> result;
  for (std::size_t i = 0; i < names.size(); ++i) result.push_back({names[i], tallies[i].accuracy()});
  return result;
}

/// P(|T| <= t) for Student's T: the closed sums for odd and even degrees of freedom (Abramowitz & Stegun 26.7.3-4).
double student_t_within(double t, int degrees) {
  const double angle = std::atan(t / std::sqrt(degrees));
  const double cosine = std::cos(angle);
  const bool odd = degrees % 2 == 1;
  double term = odd ? cosine : 1.0;
  double sum = degrees == 1 ? 0.0 : term;
  for (int k = odd ? 3 : 2; k <= degrees - 2; k += 2) {
    term *= cosine * cosine * (k - 1) / k;
    sum += term;
  }
  return odd ? (angle + std::sin(angle) * sum) * 2 / std::numbers::pi : std::sin(angle) * sum;
}

}  // namespace

std::vector<std::int64_t> top_answers(const Tensor& scores) {
  const Tensor plain = checked_scores(scores);
  std::vector<std::int64_t> answers(plain.size(0));
  for (std::size_t i = 0; i < answers.size(); ++i) {
    answers[i] = first_largest(plain.const_data_ptr<double>() + i * plain.size(1), plain.size(1));
  }
  return answers;
}

Measurement measure(const Tensor& scores, const Truth& truth) {
  const Tensor plain = checked_scores(scores);
  const std::int64_t count = plain.size(0);
  const std::int64_t classes = plain.size(1);
  if (static_cast<std::int64_t>(truth.class_names.size()) != classes) {
    throw Error(fmt::format("measure: expected {} class names, as scores have columns, found {}", classes,
                            truth.class_names.size()));
  }
  const std::size_t domain_count = truth.domains.defined() ? truth.domain_names.size() : 0;
  const std::size_t group_count = truth.groups.defined() ? truth.group_names.size() : 0;
  const auto indices_of = [&](const Tensor& given, std::string_view what, std::int64_t lowest, std::size_t bound) {
    return given.defined() ? checked_indices(given, what, count, lowest, static_cast<std::int64_t>(bound)) : Tensor();
  };
  if (!truth.labels.defined()) throw Error("measure: expected labels, found none");
  const Tensor labels = indices_of(truth.labels, "labels", 0, truth.class_names.size());
  const Tensor domains = indices_of(truth.domains, "domains", 0, domain_count);
  const Tensor groups = indices_of(truth.groups, "groups", -1, group_count);

  Tally top1, top5;
  std::vector<Tally> by_class(classes), by_domain(domain_count), by_group(group_count);
  std::vector<std::vector<Tally>> by_domain_group(domain_count, std::vector<Tally>(group_count));
  Reliability reliability;
  Measurement result;
  result.count = count;
  result.confusion.assign(classes, std::vector<std::int64_t>(classes));
  for (std::int64_t i = 0; i < count; ++i) {
    const double* row = plain.const_data_ptr<double>() + i * classes;
    const std::int64_t label = labels.const_data_ptr<std::int64_t>()[i];
    const std::int64_t rank = rank_of(label, row, classes);
    const std::int64_t domain = domains.defined() ? domains.const_data_ptr<std::int64_t>()[i] : -1;
    const std::int64_t group = groups.defined() ? groups.const_data_ptr<std::int64_t>()[i] : -1;
    const bool right = rank == 0;
    top1.add(right);
    top5.add(rank < 5);
    by_class[label].add(right);
    if (domain >= 0) by_domain[domain].add(right);
    if (group >= 0) by_group[group].add(right);
    if (domain >= 0 && group >= 0) by_domain_group[domain][group].add(right);
    reliability.add(top_probability(row, classes), right);
    ++result.confusion[label][first_largest(row, classes)];
  }

  result.per_class = named(truth.class_names, by_class);
  result.groups = named({truth.group_names.begin(), truth.group_names.begin() + group_count}, by_group);
  for (std::size_t d = 0; d < domain_count; ++d) {
    result.per_domain.push_back(
        {truth.domain_names[d], by_domain[d].accuracy(),
         named({truth.group_names.begin(), truth.group_names.begin() + group_count}, by_domain_group[d])});
  }
  result.reliability = reliability.bins();
  result.metrics = {top1.accuracy().acc1, top5.accuracy().acc1, mean_over_classes(result.per_class),
                    calibration_error(result.reliability, count)};
  return result;
}

Interval wilson_interval(const Accuracy& accuracy) {
  if (accuracy.count <= 0) return {0, 1};
  const double n = static_cast<double>(accuracy.count);
  const double z2 = kNormal975 * kNormal975;
  const double p = accuracy.acc1;
  const double centre = (p + z2 / (2 * n)) / (1 + z2 / n);
  const double half = kNormal975 / (1 + z2 / n) * std::sqrt(p * (1 - p) / n + z2 / (4 * n * n));
  return {std::max(0.0, centre - half), std::min(1.0, centre + half)};
}

Interval difference_interval(const Accuracy& after, const Accuracy& before) {
  const Interval a = wilson_interval(after);
  const Interval b = wilson_interval(before);
  if (after.count <= 0 || before.count <= 0) return {-1, 1};
  const double difference = after.acc1 - before.acc1;
  return {difference - std::hypot(after.acc1 - a.low, b.high - before.acc1),
          difference + std::hypot(a.high - after.acc1, before.acc1 - b.low)};
}

double student_t_quantile(double probability, int degrees) {
  if (!(probability >= 0.5 && probability < 1) || degrees < 1) {
    throw Error(fmt::format("student_t_quantile: expected a probability in [0.5, 1) and degrees >= 1, found {} and {}",
                            probability, degrees));
  }
  const double within = 2 * probability - 1;
  double low = 0;
  double high = 1;
  while (student_t_within(high, degrees) < within && high < 1e12) high *= 2;
  for (int i = 0; i < 100; ++i) {
    const double middle = (low + high) / 2;
    (student_t_within(middle, degrees) < within ? low : high) = middle;
  }
  return (low + high) / 2;
}

Summary summarise(const std::vector<double>& values) {
  if (values.empty()) throw Error("summarise: expected at least one value, found none");
  const double n = static_cast<double>(values.size());
  double mean = 0;
  for (const double value : values) {
    if (!std::isfinite(value)) throw Error(fmt::format("summarise: expected finite values, found {}", value));
    mean += value / n;
  }
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  const int degrees = static_cast<int>(values.size()) - 1;
  const double half = degrees == 0 ? kNaN : student_t_quantile(0.975, degrees) * std::sqrt(squares / degrees / n);
  return {static_cast<std::int64_t>(values.size()), mean, std::sqrt(squares / n), half};
}

double harmonic_mean(double a, double b) {
  if (!std::isfinite(a) || !std::isfinite(b) || a < 0 || b < 0) {
    throw Error(fmt::format("harmonic_mean: expected two values of at least 0, found {} and {}", a, b));
  }
  return a + b == 0 ? 0 : 2 * a * b / (a + b);
}

}  // namespace attune
