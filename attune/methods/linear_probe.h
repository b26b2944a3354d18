#pragma once

#include "attune/methods/registry.h"

namespace attune {

/// Linear probe, Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision", 3.2, and
/// the baseline of CoOp: multinomial logistic regression on the frozen image features f_i,
///   min over W, b of  C sum_i -log softmax_{y_i}(W f_i + b) + |W|^2 / 2,
/// the objective of scikit-learn's LogisticRegression: the bias is not penalised. One batch holds every sample, and
/// L-BFGS in fp64 goes to the optimum, which does not depend on the seed. The logits are W f + b, without the
/// model's logit scale, so that their softmax is the probability that was fitted.
Method linear_probe_method();

}  // namespace attune
