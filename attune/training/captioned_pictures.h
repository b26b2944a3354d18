#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "attune/base/log.h"
#include "attune/data/dataset.h"
#include "attune/images/image.h"
#include "attune/tensors/tensor.h"

namespace attune {

/// How a picture is shown to a model that learns to draw it.
struct PictureView {
  int size = 32;          // side of the view, pixels
  double smallest = 1.0;  // smallest share of the side that the picture takes; the rest around it is white
  double flip = 0.5;      // probability of a mirrored view
};

/// A picture as maps [3, height, width] of -1 to 1.
Tensor picture_maps(const Image& image);

/// Named pictures, decoded once and kept in memory as squares. Views depend on (seed, step, place in the batch) alone.
class CaptionedPictures {
 public:
  /// The square in the middle of each picture, at most twice as large as a view. Throws Error that names a picture that
  /// cannot be read, and UsageError where there is none.
  CaptionedPictures(const Dataset& dataset, const std::vector<Sample>& samples, const PictureView& view,
                    Progress* progress);

  std::int64_t size() const { return std::ssize(pictures_); }
  /// SHA-256 over contents and names, in their order.
  const std::string& hash() const { return hash_; }
  /// The name of a picture: its caption where it has one, else its class.
  const std::string& name(std::int64_t picture) const { return names_[static_cast<std::size_t>(picture)]; }

  /// The pictures of a step [batch], in the endless sequence of shuffled passes.
  std::vector<std::int64_t> places(std::int64_t step, std::int64_t batch, std::uint64_t seed) const;
  /// Random views [B, 3, size, size] of -1 to 1.
  Tensor views(const std::vector<std::int64_t>& pictures, std::uint64_t seed, std::int64_t step) const;
  /// The whole picture [3, size, size].
  Tensor plain(std::int64_t picture) const;

 private:
  PictureView view_;
  std::vector<Image> pictures_;
  std::vector<std::string> names_;
  std::string hash_;
};

}  // namespace attune
