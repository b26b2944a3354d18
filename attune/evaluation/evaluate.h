#pragma once

#include "attune/data/dataset.h"
#include "attune/evaluation/results.h"
#include "attune/methods/learner.h"
#include "attune/training/inputs.h"

namespace attune {

/// Scores of a classifier on the centre views of all samples: [n, C], on the CPU.
Tensor scores_of(Classifier& classifier, Inputs& inputs);

/// Measures scores [n, C] on samples of `dataset`, by class, by domain where there are several, and by seen and
/// held-out concepts where the data set tells them apart.
Measurement measure_samples(const Tensor& scores, const std::vector<Sample>& samples, const Dataset& dataset);

/// `count` answers to look at, right and wrong ones, drawn by `seed`; at most one of a class first, then more.
std::vector<Example> example_answers(const Tensor& scores, const std::vector<Sample>& samples, const Dataset& dataset,
                                     std::size_t count, std::uint64_t seed);

/// Peak memory of this process so far, in megabytes.
double peak_memory_mb();

}  // namespace attune
