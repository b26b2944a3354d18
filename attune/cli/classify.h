#pragma once

#include <string>

#include "attune/cli/common.h"
#include "attune/evaluation/experiment.h"
#include "attune/training/inputs.h"

namespace attune {

/// Options of the verbs that read pictures through a model.
struct PictureOptions {
  bool skip_broken = false;
  bool no_cache = false;
};
void add_picture_options(CLI::App& verb, PictureOptions& options,
                         const std::string& no_cache = "neither read nor write the feature cache");

/// --domain-model of the verbs that use an adapter.
void add_domain_model(CLI::App& verb, std::string& place);

/// Inputs of samples as the options say, with a progress bar called `title`.
InputOptions input_options(const Common& common, const PictureOptions& pictures, Progress* progress);

/// Where the numbers of this command come from.
Provenance provenance(const Common& common);

/// A table for people: one line a domain and group, beside zero-shot where it was measured.
std::string summary_table(const Results& results);

}  // namespace attune
