#pragma once

#include <optional>
#include <string>
#include <vector>

#include "attune/cli/common.h"
#include "attune/data/dataset.h"
#include "attune/evaluation/results.h"
#include "attune/methods/adapter.h"
#include "attune/training/inputs.h"

namespace attune {

/// Options of the verbs that read pictures through a model.
struct PictureOptions {
  bool skip_broken = false;
  bool no_cache = false;
};
void add_picture_options(CLI::App& verb, PictureOptions& options,
                         const std::string& no_cache = "neither read nor write the feature cache");

/// Inputs of samples as the options say, with a progress bar called `title`.
InputOptions input_options(const Common& common, const PictureOptions& pictures, Progress* progress);

/// A classifier that is not learned: zero-shot with the given templates ("single", "best7", "all80" or a template).
std::unique_ptr<Classifier> zero_shot(std::shared_ptr<const ClipModel> model, const ClassNames& classes,
                                      const std::string& templates = "single");

/// Results of one classifier on samples, with the provenance that every result carries.
Results measure_classifier(const Common& common, const ClipModel& model, const Dataset& dataset, Inputs& inputs,
                           Classifier& classifier, const std::string& method);

/// A table for people: one line a domain and group, beside zero-shot where it was measured.
std::string summary_table(const Results& results);

}  // namespace attune
