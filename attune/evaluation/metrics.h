#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "attune/evaluation/measurement.h"
#include "attune/tensors/tensor.h"

namespace attune {

/// What is known of the samples beside their scores. `domains` and `groups` may be undefined; the names index them.
struct Truth {
  Tensor labels;                         // [N] int64, in [0, C)
  Tensor domains;                        // [N] int64
  Tensor groups;                         // [N] int64; -1: in no group
  std::vector<std::string> class_names;  // C names
  std::vector<std::string> domain_names;
  std::vector<std::string> group_names;
};

/// Measures logits [N, C]. Of equal scores the class that is listed first counts as the higher one. Throws Error on
/// shapes that disagree, labels out of range and scores that are not finite.
Measurement measure(const Tensor& scores, const Truth& truth);

/// The answers that `measure` counts: the index of the largest score of each row [N], the first of equal ones.
std::vector<std::int64_t> top_answers(const Tensor& scores);

struct Interval {
  double low = 0;
  double high = 0;
};
/// Wilson's 95 % score interval of a share (Wilson 1927); [0, 1] for no samples.
Interval wilson_interval(const Accuracy& accuracy);
/// 95 % interval of `after` - `before`, two shares taken as independent (Newcombe 1998, method 10). Two shares of the
/// same samples are usually positively correlated; for them it is wider than needed.
Interval difference_interval(const Accuracy& after, const Accuracy& before);

/// Repeated runs in numbers.
struct Summary {
  std::int64_t count = 0;
  double mean = 0;
  double deviation = 0;   // ddof 0, as the papers of the field print it
  double half_width = 0;  // of the 95 % interval of the mean: Student's t with ddof 1; NaN for fewer than two runs
};
/// Throws Error where `values` is empty or holds a value that is not finite.
Summary summarise(const std::vector<double>& values);

/// The `probability` quantile of Student's t with `degrees` >= 1 degrees of freedom, 0.5 <= probability < 1.
double student_t_quantile(double probability, int degrees);

/// 2ab / (a + b), as for base and new classes; 0 where both are 0. Throws Error on negative or non-finite values.
double harmonic_mean(double a, double b);

}  // namespace attune
