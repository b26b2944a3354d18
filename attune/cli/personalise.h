#pragma once

#include <string>
#include <vector>

#include "attune/cli/common.h"

namespace attune {

/// The options of `attune train` that a search on a diffusion model takes.
struct GenerationTraining {
  Common common;
  std::string model, data, method, recipe, out;
  std::vector<std::string> assignments;
  bool resume = false, dry_run = false, no_test = false;
};

/// `attune train --task generation`: searches for what stands for a concept, measures it before and after, and writes a
/// report with pictures.
void train_generation(const GenerationTraining& options);

}  // namespace attune
