#pragma once

#include "attune/methods/registry.h"

namespace attune {

/// Methods that let a small frozen model of a domain's pictures steer the prompts of both towers. Without such a model
/// the base model's own frozen image features take its place.

/// DCPL (Cao et al. 2024, "Domain-Controlled Prompt Learning"): domain biases of the context and of the image feature.
Method dcpl_method();
/// DPLQ (Cao et al. 2024, "Domain Prompt Learning with Quaternion Networks"): domain biases and context mixed by
/// quaternion layers, passed from the text tower's prompts to the image tower's.
Method dplq_method();
/// GDPL (Cao et al. 2025, "Generalized Domain Prompt Learning"): DPLQ and low-rank deltas in both towers, whose
/// singular values are related.
Method gdpl_method();

}  // namespace attune
