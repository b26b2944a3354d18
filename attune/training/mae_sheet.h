#pragma once

#include "attune/domains/mae.h"
#include "attune/images/image.h"

namespace attune {

/// A picture of how a masked autoencoder fills in: one row a picture; original, what the encoder sees (hidden patches
/// grey), and the reconstruction in its place. Pixels [B, 3, size, size] are normalised as `preprocess` says; `order`
/// as in Mae::forward. Where the model predicts normalised patches they are shown with the hidden patches' own mean and
/// deviation, which the model does not know.
Image reconstruction_sheet(const Mae& mae, const Preprocess& preprocess, const Tensor& pixels, const Tensor& order);

}  // namespace attune
