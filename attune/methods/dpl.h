#pragma once

#include "attune/methods/registry.h"

namespace attune {

/// DPL, Zhang et al. 2022, "Domain Prompt Learning for Efficiently Adapting CLIP to Unseen Domains" (settings from its
/// release, shogi880/DPLCLIP): a network of three layers makes a context of the raw image feature x, and a domain's
/// context is the mean over its pictures X_k in the batch,
///   v_k = mean_{x in X_k} net(x),  t_kc = text([SOS, v_k, name_c, ".", EOS]),  loss = -log softmax_y(s <f, t_kc>),
/// each picture against the C texts of its own domain (or, as released, against those of all domains at once, see
/// dpl.joint_columns). In prediction the context is that of the picture itself, of the batch, or of the training.
Method dpl_method();

}  // namespace attune
