#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <vector>

#include "attune/base/config.h"
#include "attune/data/coco.h"
#include "attune/images/image.h"
#include "attune/tasks/clipseg.h"
#include "attune/tasks/task.h"

namespace attune {

/// How objects are cut out of a picture, and what a wrong mask costs.
struct SegmentSettings {
  double margin = 0.2;     // of a box's sides, added on each side of it
  double threshold = 0.5;  // least probability of a pixel within
  double entropy = 1, dice = 1;
  bool whole_pictures = false;  // learn from whole pictures, all objects of a category together

  static Schema schema();
  SegmentSettings() = default;
  explicit SegmentSettings(const Config& config);
};

/// A rectangle of whole pixels within a picture.
struct Cut {
  int left = 0, top = 0, width = 0, height = 0;

  friend bool operator==(const Cut&, const Cut&) = default;
};
/// What a box covers with `margin` of its sides more on each side, cut off at the picture's edges; never empty.
Cut cut_around(const Box& box, double margin, std::int64_t width, std::int64_t height);

/// A cut as the input of a segmenter, without regard to its proportions: [1, 3, size, size].
Tensor input_of(const Image& picture, const Cut& cut, const Preprocess& preprocess);
/// Pixels 0 or 1 of a picture [height * width] in a cut, as shares of the pixels of [size, size].
Tensor target_of(const std::vector<std::uint8_t>& pixels, std::int64_t width, const Cut& cut, std::int64_t size);

/// What masks cost, of each of B pictures: the mean cross-entropy of the pixels, and 1 - Dice with one pixel added to
/// both sides of the fraction (Milletari et al. 2016; the sum of both is inferred).
struct MaskLoss {
  Tensor entropy, dice;  // [B]
};
/// logits and targets (0 to 1) [B, size, size].
MaskLoss mask_loss(const Tensor& logits, const Tensor& targets);

/// Logits [B, size, size] of pixels [B, 3, size, size] under conditions [B, d], by a segmenter that trains.
using SegmentNow = std::function<Tensor(const Tensor& pixels, const Tensor& conditions)>;

/// The search for embeddings of a data set's categories on a frozen segmenter. A sample is an object with a mask, cut
/// out of its picture, or all objects of a category in a picture. Crowds and what is too hard are left out.
class SegmentationTask final : public Task {
 public:
  /// Throws Error where an object has no mask.
  SegmentationTask(std::shared_ptr<const ClipSeg> segmenter, std::filesystem::path root,
                   std::vector<BoxPicture> pictures, const SegmentSettings& settings);

  std::int64_t samples() const override { return static_cast<std::int64_t>(samples_.size()); }
  /// The mean over the samples. Reports "entropy" and "dice" (1 - Dice).
  Objective loss(const Tensor& embeddings, const std::vector<std::int64_t>& samples) override;
  /// The same of samples as `segment` sees them now.
  Objective loss_seeing(const SegmentNow& segment, const Tensor& embeddings,
                        const std::vector<std::int64_t>& samples) const;

 private:
  struct Sample {
    std::size_t picture = 0;
    std::vector<std::size_t> labels;  // of one category
    std::int64_t category = 0;
  };
  /// What is seen in a cut is computed once and kept while it fits into memory.
  struct Seen {
    std::vector<Tensor> activations;
    Tensor target;  // [1, size, size]
  };
  /// A cut as the segmenter takes it.
  struct View {
    Tensor pixels, target;  // [1, 3, size, size], [1, size, size]
  };
  Seen seen_of(std::size_t sample);
  View view_of(std::size_t sample) const;
  /// Of the samples' own categories.
  Tensor conditions_of(const Tensor& embeddings, const std::vector<std::int64_t>& samples) const;
  Objective objective_of(const Tensor& logits, const std::vector<Tensor>& targets) const;

  std::shared_ptr<const ClipSeg> segmenter_;
  std::filesystem::path root_;
  std::vector<BoxPicture> pictures_;
  SegmentSettings settings_;
  std::vector<Sample> samples_;
  std::vector<Seen> seen_;
  std::int64_t kept_bytes_ = 0;
};

/// Gives detections of one picture the masks of what stands in their boxes, under the conditions [categories, d] of
/// their categories.
void segment_found(const ClipSeg& segmenter, const Image& picture, const Tensor& conditions,
                   const SegmentSettings& settings, std::vector<Detection>& found);

}  // namespace attune
