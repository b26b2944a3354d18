#pragma once

#include <cstdint>
#include <vector>

#include "attune/tensors/tensor.h"

namespace attune {

/// Boxes [..., 4] as centre and size -> as two corners.
Tensor corners_of(const Tensor& boxes);

/// Overlaps of every box of `a` [n, 4] with every one of `b` [m, 4], both given by corners: [n, m].
struct Overlaps {
  Tensor iou;          // common area over joined area
  Tensor generalised;  // GIoU, Rezatofighi et al. 2019: less the part of the hull that neither covers; in -1..1
  Tensor share_of_a;   // common area over that of a
};
Overlaps overlaps_of(const Tensor& a, const Tensor& b);
/// The same of a [n, 4] and b [n, 4] pair by pair: [n].
Overlaps paired_overlaps(const Tensor& a, const Tensor& b);

/// Plain suppression of what is not the best of its place: the boxes [n, 4], given by corners, by falling score [n] (of
/// equal ones the first), each kept unless its IoU with one that is kept is above `limit`. Indices in that order.
std::vector<std::int64_t> suppress(const Tensor& boxes, const Tensor& scores, double limit);

}  // namespace attune
