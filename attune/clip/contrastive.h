#pragma once

#include "attune/tensors/tensor.h"

namespace attune {

/// Rows scaled to unit length: [..., d] -> [..., d].
Tensor unit_rows(const Tensor& rows);

/// The symmetric softmax cross-entropy of CLIP (Radford et al. 2021, section 2.3) for batches in which several pairs
/// may show the same thing: images [B, d] against texts [B, d], both of unit length. keys [B] int64: the target of a
/// row is spread evenly over all pairs with the row's key, so equal pairs do not repel each other (inferred). `scale`
/// is the exp of the logit scale.
Tensor contrastive_loss(const Tensor& images, const Tensor& texts, const Tensor& keys, const Tensor& scale);

/// Mean cosine of all pairs of different rows of [B, d], unit length: near 1 where a tower has collapsed to a point.
double mean_pairwise_cosine(const Tensor& rows);

}  // namespace attune
