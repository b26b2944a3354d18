#pragma once

#include <optional>
#include <string>
#include <vector>

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

/// Pixel floors of a benchmark that tells concepts (emoji-dg), by domain and by seen and held-out concepts: how often
/// the nearest picture among the training part of `source_domains` (empty: of all other domains) has the right class;
/// pictures of the query's own concept do not count. Nothing for other data sets. Reads every picture.
std::optional<Floors> pixel_floors(const Dataset& dataset, const std::vector<std::string>& source_domains,
                                   const std::vector<Sample>& samples);

/// Accuracy on classes that were not trained on, by hand-written prompts and by what was learned.
Forgetting measure_forgetting(Classifier& zero_shot, Classifier& learned, Inputs& inputs, const Dataset& others);

/// Peak memory of this process so far, in megabytes.
double peak_memory_mb();

}  // namespace attune
