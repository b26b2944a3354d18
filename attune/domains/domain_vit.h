#pragma once

#include <memory>
#include <string>

#include "attune/domains/domain_folder.h"
#include "attune/domains/domain_model.h"

namespace attune {

/// Positions [from * from, width] of a square grid for one of `side` cells a side (bicubic).
Tensor interpolate_positions(const Tensor& positions, std::int64_t from, std::int64_t side);

/// A vit, vit_mae (its encoder, without a mask) or dinov2 of the named tensors. Positions of a dinov2 are interpolated
/// (bicubic) to the grid of its views. `options.pooling` is kClassToken or kMean.
std::shared_ptr<const DomainEncoder> make_domain_vit(const DomainDescription& description, const NamedTensors& source,
                                                     const DomainOptions& options, const std::string& key);

}  // namespace attune
