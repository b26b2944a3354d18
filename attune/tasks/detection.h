#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <vector>

#include "attune/base/config.h"
#include "attune/data/coco.h"
#include "attune/images/image.h"
#include "attune/tasks/owl_vit.h"
#include "attune/tasks/task.h"

namespace attune {

/// How found and labelled objects are matched and what a wrong answer costs.
struct MatchSettings {
  double class_cost = 2, l1_cost = 5, giou_cost = 2;
  double alpha = 0.25, gamma = 2;

  static Schema schema();
  MatchSettings() = default;
  explicit MatchSettings(const Config& config);
};

/// The objects of a picture as the loss takes them; boxes as centre and size in shares of the picture's sides.
struct Objects {
  Tensor categories;          // [n] int64
  Tensor boxes;               // [n, 4]
  Tensor ignored_categories;  // [m] int64: crowds, and what is too hard to be asked for
  Tensor ignored_boxes;       // [m, 4]
};
Objects objects_of(const BoxPicture& picture);

/// The sigmoid focal loss, Lin et al. 2017, of every logit [...] against targets of 0 and 1.
Tensor focal_loss(const Tensor& logits, const Tensor& targets, double alpha, double gamma);

/// The matching loss of one picture, whose cells are matched one to one with the objects at the least cost (Carion et
/// al. 2020; settings inferred),
///   cost = class_cost (focal of the object's category, right less wrong) + l1_cost |b - b'|_1 - giou_cost GIoU(b, b'),
/// a matched cell's category has the target 1 and all else 0, and the loss is the sum of focal_loss over cells and
/// categories, without those cells of a category that lie within something ignored. The boxes of OWL-ViT do not depend
/// on the queries: their distances steer the matching but have no gradient, and are no part of the loss.
struct Matched {
  Tensor loss;                      // scalar, a sum
  std::vector<std::int64_t> cells;  // of every object; -1 where there were too few
  double iou = 0;                   // summed over the objects
};
Matched matching_loss(const Sight& sight, const Tensor& logits, const Objects& objects, const MatchSettings& settings);

/// The loss of a detector that trains, of B pictures with the logits [B, K, C]: over the matches of matching_loss,
///   class_cost focal + l1_cost |b - b'|_1 + giou_cost (1 - GIoU(b, b')),
/// each summed and divided by the number of objects (at least 1), with gradients to logits and boxes. What steers the
/// matching weighs the loss, as in Carion et al. 2020. Reports "focal", "l1", "giou" and "matched_iou".
Objective detector_loss(const Sight& sight, const Tensor& logits, const std::vector<Objects>& objects,
                        const MatchSettings& settings);

/// The picture of a set, decoded; throws Error where its size is not the annotation's, since boxes would be wrong.
Image read_box_picture(const std::filesystem::path& root, const BoxPicture& picture);

/// A picture as the detector takes it: [1, 3, size, size].
Tensor detector_pixels(const Preprocess& preprocess, const Image& picture);

/// What the detector sees in a picture: one of a Sight's.
Sight look_at(const OwlVit& detector, const Image& picture);

/// The search for embeddings of a data set's categories on a frozen detector.
class DetectionTask final : public Task {
 public:
  DetectionTask(std::shared_ptr<const OwlVit> detector, std::filesystem::path root, std::vector<BoxPicture> pictures,
                const MatchSettings& settings);

  std::int64_t samples() const override { return static_cast<std::int64_t>(pictures_.size()); }
  /// Summed over the pictures, divided by their number of objects (at least 1). Reports "matched_iou", the mean IoU of
  /// objects with the cells that they were matched with.
  Objective loss(const Tensor& embeddings, const std::vector<std::int64_t>& samples) override;
  /// detector_loss of pictures [B, 3, size, size] as `see` sees them now: of a detector that trains.
  Objective loss_seeing(const std::function<Sight(const Tensor&)>& see, const Tensor& embeddings,
                        const std::vector<std::int64_t>& samples) const;

 private:
  /// What is seen in a picture is computed once and kept while it fits into memory.
  Sight sight_of(std::size_t sample);

  std::shared_ptr<const OwlVit> detector_;
  std::filesystem::path root_;
  std::vector<BoxPicture> pictures_;
  MatchSettings settings_;
  std::vector<Sight> seen_;
  std::int64_t kept_bytes_ = 0;
};

/// How answers become detections.
struct FindSettings {
  double threshold = 0.1;  // least score
  double overlap = 0.5;    // IoU above which the lesser of two boxes of a category is dropped; 1: none is
  std::int64_t most = 100;

  static Schema schema();
  FindSettings() = default;
  explicit FindSettings(const Config& config);
};

/// The detections of one picture under queries [C, d], by falling score: of every cell the best category with its
/// sigmoid as the score (as transformers does it), then those that are the best of their place in their category. Boxes
/// are in pixels and cut off at the edges.
std::vector<Detection> find_objects(const Sight& sight, const Tensor& queries, const BoxPicture& picture,
                                    const FindSettings& settings);

/// What is said of the cells of one picture.
struct Answers {
  Tensor scores;      // [K]
  Tensor categories;  // [K] int64
};
/// The same of cells with the boxes [K, 4], whoever answers for them, among `count` categories.
std::vector<Detection> detections_of(const Tensor& boxes, const Answers& answers, std::int64_t count,
                                     const BoxPicture& picture, const FindSettings& settings);

}  // namespace attune
