#pragma once

#include <memory>
#include <string>

#include "attune/domains/domain_folder.h"
#include "attune/domains/domain_model.h"

namespace attune {

/// The image encoder of a SAM (Kirillov et al. 2023; MedSAM has the same form): most blocks attend within windows,
/// scores carry decomposed relative positions (Li et al. 2022, MViTv2), a neck of two convolutions makes the map whose
/// spatial mean is the feature.
std::shared_ptr<const DomainEncoder> make_sam(const DomainDescription& description, const NamedTensors& source,
                                              const DomainOptions& options, const std::string& key);

}  // namespace attune
