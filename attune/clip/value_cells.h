#pragma once

#include "attune/clip/model.h"

namespace attune {

/// Features of a picture's cells [B, cells, d] in the joint space where the rows behind the class row find each other
/// in the last block by the likeness of their values, instead of by queries and keys: what is said of a cell stays
/// nearer to it (a refinement known from segmentation; inferred here: the residual and the MLP stay). pixels as for
/// ImageTower::encode, without gradients. Throws UsageError where the tower is not a vision transformer.
Tensor value_cells(const ImageTower& tower, const Tensor& pixels);

}  // namespace attune
