#pragma once

#include "attune/methods/registry.h"

namespace attune {

/// SPG, Bai et al. 2024, "Soft Prompt Generation for Domain Generalization" (arXiv 2404.19286; sizes, limits and
/// schedules from the authors' release, renytek13/Soft-Prompt-Generation):
///   1. for every source domain k a prompt label v_k [M, width], learned on its samples alone as CoOp learns a context;
///   2. a generator G and a discriminator D (methods/generator.h, methods/spg_training.h), on the images of all source
///      domains and the labels of their domains;
///   3. for an image with normalised feature f: z ~ N(0, I), v = G(z, f), t_c = text([SOS, v, name_c, ".", EOS]),
///      logits s <f, t_c>, averaged over `draws` of z.
/// The noise of an image is keyed by (seed, sample), so that its result does not depend on its neighbours.
Method spg_method();

}  // namespace attune
