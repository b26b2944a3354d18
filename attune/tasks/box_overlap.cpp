#include "attune/tasks/box_overlap.h"

#include <algorithm>

namespace attune {
namespace {

/// Area of boxes given by corners [..., 4]; of empty ones 0.
Tensor area_of(const Tensor& boxes) {
  return (boxes.narrow(-1, 2, 2) - boxes.narrow(-1, 0, 2)).clamp_min(0).prod(-1);
}

/// Of boxes [..., 4] and [..., 4], given by corners, whose leading sizes broadcast.
Overlaps overlaps(const Tensor& left, const Tensor& right) {
  const auto joined = [](const Tensor& low, const Tensor& high) { return (high - low).clamp_min(0).prod(-1); };
  const Tensor common = joined(at::maximum(left.narrow(-1, 0, 2), right.narrow(-1, 0, 2)),
                               at::minimum(left.narrow(-1, 2, 2), right.narrow(-1, 2, 2)));
  const Tensor hull = joined(at::minimum(left.narrow(-1, 0, 2), right.narrow(-1, 0, 2)),
                             at::maximum(left.narrow(-1, 2, 2), right.narrow(-1, 2, 2)));
  const Tensor all = area_of(left) + area_of(right) - common;
  // Two empty boxes have nothing in common.
  const double tiny = 1e-12;
  Overlaps result;
  result.iou = common / all.clamp_min(tiny);
  result.generalised = result.iou - (hull - all) / hull.clamp_min(tiny);
  result.share_of_a = common / area_of(left).clamp_min(tiny);
  return result;
}

}  // namespace

Tensor corners_of(const Tensor& boxes) {
  const Tensor centre = boxes.narrow(-1, 0, 2), half = boxes.narrow(-1, 2, 2) / 2;
  return at::cat({centre - half, centre + half}, -1);
}

Overlaps overlaps_of(const Tensor& a, const Tensor& b) {
  return overlaps(a.unsqueeze(1), b.unsqueeze(0));
}

Overlaps paired_overlaps(const Tensor& a, const Tensor& b) {
  return overlaps(a, b);
}

std::vector<std::int64_t> suppress(const Tensor& boxes, const Tensor& scores, double limit) {
  const Tensor order = std::get<1>(scores.sort(/*stable=*/true, /*dim=*/0, /*descending=*/true));
  std::vector<std::int64_t> kept;
  std::vector<bool> gone(static_cast<std::size_t>(order.numel()));
  for (std::int64_t i = 0; i < order.numel(); ++i) {
    if (gone[static_cast<std::size_t>(i)]) continue;
    const auto one = order[i].item<std::int64_t>();
    kept.push_back(one);
    if (i + 1 == order.numel()) break;
    const Tensor rest = order.narrow(0, i + 1, order.numel() - i - 1);
    const Tensor near =
        overlaps_of(boxes[one].unsqueeze(0), boxes.index_select(0, rest)).iou[0].gt(limit).to(at::kCPU).contiguous();
    for (std::int64_t j = 0; j < near.numel(); ++j) {
      if (near.const_data_ptr<bool>()[j]) gone[static_cast<std::size_t>(i + 1 + j)] = true;
    }
  }
  return kept;
}

}  // namespace attune
