#include "attune/tasks/detection.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/images/decode.h"
#include "attune/tasks/assignment.h"
#include "attune/tasks/box_overlap.h"

namespace attune {
namespace {

constexpr std::int64_t kMostKeptBytes = std::int64_t{2} << 30;
/// The share of a cell's box within something ignored from which on the cell is not held to be wrong.
constexpr double kWithin = 0.5;

double at_least(const Config& config, const char* key, double least, double most = 1e9) {
  const double value = config.number(key);
  if (!(value >= least && value <= most)) {
    throw UsageError(fmt::format("{}: expected {} to {}, found {}", key, least, most, value));
  }
  return value;
}

/// The cost [n, K] of a match.
Tensor match_costs(const Sight& sight, const Tensor& logits, const Objects& objects, const MatchSettings& settings) {
  const Tensor own = logits.index_select(1, objects.categories);  // [K, n]
  const Tensor right = focal_loss(own, at::ones_like(own), settings.alpha, settings.gamma);
  const Tensor wrong = focal_loss(own, at::zeros_like(own), settings.alpha, settings.gamma);
  const Tensor distance = (sight.boxes[0].unsqueeze(0) - objects.boxes.unsqueeze(1)).abs().sum(-1);
  const Tensor overlap = overlaps_of(corners_of(objects.boxes), corners_of(sight.boxes[0])).generalised;
  return settings.class_cost * (right - wrong).t() + settings.l1_cost * distance - settings.giou_cost * overlap;
}

/// 0 where a cell [K] of a category [C] is not held to be wrong, else 1.
Tensor counted_cells(const Sight& sight, const Tensor& logits, const Objects& objects) {
  Tensor counted = at::ones_like(logits);
  if (objects.ignored_categories.numel() == 0) return counted;
  const Tensor within =
      overlaps_of(corners_of(sight.boxes[0]), corners_of(objects.ignored_boxes)).share_of_a.gt(kWithin);
  for (std::int64_t i = 0; i < objects.ignored_categories.numel(); ++i) {
    counted.select(1, objects.ignored_categories[i].item<std::int64_t>()).masked_fill_(within.select(1, i), 0);
  }
  return counted;
}

std::int64_t bytes_of(const Sight& sight) {
  return static_cast<std::int64_t>(sight.embeddings.nbytes() + sight.boxes.nbytes() + 2 * sight.shift.nbytes());
}

}  // namespace

Schema MatchSettings::schema() {
  return {
      {"match.class_cost", 2.0, "weight of the class when cells and objects are matched"},
      {"match.l1_cost", 5.0, "weight of the distance of the boxes"},
      {"match.giou_cost", 2.0, "weight of the boxes' generalised overlap"},
      {"focal.alpha", 0.25, "weight of objects against background"},
      {"focal.gamma", 2.0, "how much answers that are nearly right are passed over"},
  };
}

MatchSettings::MatchSettings(const Config& config)
    : class_cost(at_least(config, "match.class_cost", 0)),
      l1_cost(at_least(config, "match.l1_cost", 0)),
      giou_cost(at_least(config, "match.giou_cost", 0)),
      alpha(at_least(config, "focal.alpha", 0, 1)),
      gamma(at_least(config, "focal.gamma", 0, 100)) {}

Objects objects_of(const BoxPicture& picture) {
  std::vector<float> boxes[2];
  std::vector<std::int64_t> categories[2];
  const auto width = static_cast<double>(picture.width), height = static_cast<double>(picture.height);
  for (const BoxLabel& label : picture.labels) {
    const std::size_t which = label.crowd || label.ignored ? 1 : 0;
    const Box& box = label.box;
    for (const double one :
         {(box.x + box.width / 2) / width, (box.y + box.height / 2) / height, box.width / width, box.height / height}) {
      boxes[which].push_back(static_cast<float>(one));
    }
    categories[which].push_back(label.category);
  }
  return {at::tensor(categories[0], at::kLong), at::tensor(boxes[0], at::kFloat).view({-1, 4}),
          at::tensor(categories[1], at::kLong), at::tensor(boxes[1], at::kFloat).view({-1, 4})};
}

Tensor focal_loss(const Tensor& logits, const Tensor& targets, double alpha, double gamma) {
  const Tensor entropy = at::binary_cross_entropy_with_logits(logits, targets, {}, {}, at::Reduction::None);
  const Tensor share = at::sigmoid(logits);
  const Tensor missing = share + targets - 2 * share * targets;  // 1 less the probability of the target
  return (alpha * targets + (1 - alpha) * (1 - targets)) * missing.pow(gamma) * entropy;
}

namespace {

/// Objects of one picture with the cells that they were matched with.
struct Matching {
  Tensor targets;  // [K, C]: 1 where a cell has an object of the category
  Tensor counted;  // [K, C]: 0 where an answer is neither right nor wrong
  std::vector<std::int64_t> cells;
  double iou = 0;
};

Matching match(const Sight& sight, const Tensor& logits, const Objects& objects, const MatchSettings& settings) {
  const at::NoGradGuard no_gradients;
  Matching matching{at::zeros_like(logits), counted_cells(sight, logits, objects), {}, 0};
  if (objects.categories.numel() == 0) return matching;
  matching.cells = cheapest_assignment(match_costs(sight, logits, objects, settings));
  const Tensor overlap = overlaps_of(corners_of(objects.boxes), corners_of(sight.boxes[0])).iou;
  for (std::size_t i = 0; i < matching.cells.size(); ++i) {
    const std::int64_t cell = matching.cells[i], object = static_cast<std::int64_t>(i);
    if (cell < 0) continue;
    const auto category = objects.categories[object].item<std::int64_t>();
    matching.targets[cell][category] = 1;
    matching.counted[cell][category] = 1;
    matching.iou += overlap[object][cell].item<double>();
  }
  return matching;
}

/// One picture of several.
Sight picture_of(const Sight& sight, std::int64_t i) {
  const auto one = [i](const Tensor& tensor) { return tensor.detach().narrow(0, i, 1); };
  return {one(sight.embeddings), one(sight.shift), one(sight.scale), one(sight.boxes)};
}

}  // namespace

Matched matching_loss(const Sight& sight, const Tensor& logits, const Objects& objects, const MatchSettings& settings) {
  Matching matching = match(sight, logits, objects, settings);
  const Tensor each = focal_loss(logits, matching.targets, settings.alpha, settings.gamma);
  return {(each * matching.counted).sum(), std::move(matching.cells), matching.iou};
}

Objective detector_loss(const Sight& sight, const Tensor& logits, const std::vector<Objects>& objects,
                        const MatchSettings& settings) {
  std::vector<Tensor> targets, counted, wanted;
  std::vector<std::int64_t> rows;  // of the matched cells among those of all pictures
  double iou = 0, count = 0;
  const std::int64_t cells = sight.boxes.size(1);
  for (std::int64_t i = 0; i < sight.size(); ++i) {
    const Objects& own = objects.at(static_cast<std::size_t>(i));
    const Matching matching = match(picture_of(sight, i), logits[i].detach(), own, settings);
    targets.push_back(matching.targets);
    counted.push_back(matching.counted);
    for (std::size_t j = 0; j < matching.cells.size(); ++j) {
      if (matching.cells[j] < 0) continue;
      rows.push_back(i * cells + matching.cells[j]);
      wanted.push_back(own.boxes[static_cast<std::int64_t>(j)]);
    }
    iou += matching.iou;
    count += static_cast<double>(own.categories.numel());
  }
  count = std::max(1.0, count);
  const Tensor each = focal_loss(logits, at::stack(targets), settings.alpha, settings.gamma);
  const Tensor focal = (each * at::stack(counted)).sum() / count;
  Tensor distance = at::zeros({}), apart = at::zeros({});
  if (!rows.empty()) {
    const Tensor found = sight.boxes.reshape({-1, 4}).index_select(0, at::tensor(rows, at::kLong));
    const Tensor boxes = at::stack(wanted);
    distance = (found - boxes).abs().sum() / count;
    apart = (1 - paired_overlaps(corners_of(found), corners_of(boxes)).generalised).sum() / count;
  }
  Objective objective;
  objective.loss = settings.class_cost * focal + settings.l1_cost * distance + settings.giou_cost * apart;
  objective.terms = {{"focal", focal.item<double>()},
                     {"l1", distance.item<double>()},
                     {"giou", apart.item<double>()},
                     {"matched_iou", iou / count}};
  return objective;
}

Image read_box_picture(const std::filesystem::path& root, const BoxPicture& picture) {
  Image image = read_image(root / picture.path);
  if (image.width != picture.width || image.height != picture.height) {
    throw Error(fmt::format("{}: expected {} x {} pixels as its annotation says, found {} x {}",
                            (root / picture.path).string(), picture.width, picture.height, image.width, image.height));
  }
  return image;
}

Tensor detector_pixels(const Preprocess& preprocess, const Image& picture) {
  const auto side = preprocess.size;
  Tensor pixels = at::empty({1, 3, side, side});
  normalise(resize(picture, side, side, preprocess.filter), preprocess, pixels.mutable_data_ptr<float>());
  return pixels;
}

Sight look_at(const OwlVit& detector, const Image& picture) {
  Sight sight = detector.look(detector_pixels(detector.preprocess(), picture));
  for (Tensor* one : {&sight.embeddings, &sight.shift, &sight.scale, &sight.boxes}) *one = one->to(at::kCPU);
  return sight;
}

DetectionTask::DetectionTask(std::shared_ptr<const OwlVit> detector, std::filesystem::path root,
                             std::vector<BoxPicture> pictures, const MatchSettings& settings)
    : detector_(std::move(detector)),
      root_(std::move(root)),
      pictures_(std::move(pictures)),
      settings_(settings),
      seen_(pictures_.size()) {}

Sight DetectionTask::sight_of(std::size_t sample) {
  Sight& kept = seen_.at(sample);
  if (kept.boxes.defined()) return kept;
  Sight sight = look_at(*detector_, read_box_picture(root_, pictures_[sample]));
  const std::int64_t bytes = bytes_of(sight);
  if (kept_bytes_ + bytes <= kMostKeptBytes) {
    kept_bytes_ += bytes;
    kept = sight;
  }
  return sight;
}

Objective DetectionTask::loss(const Tensor& embeddings, const std::vector<std::int64_t>& samples) {
  Tensor sum = at::zeros({});
  double iou = 0, count = 0;
  for (const std::int64_t sample : samples) {
    const Sight sight = sight_of(static_cast<std::size_t>(sample));
    const Objects objects = objects_of(pictures_.at(static_cast<std::size_t>(sample)));
    const Matched matched = matching_loss(sight, OwlVit::logits(sight, embeddings)[0], objects, settings_);
    sum = sum + matched.loss;
    iou += matched.iou;
    count += static_cast<double>(objects.categories.numel());
  }
  Objective objective;
  objective.loss = sum / std::max(1.0, count);
  objective.terms = {{"matched_iou", iou / std::max(1.0, count)}};
  return objective;
}

Objective DetectionTask::loss_seeing(const std::function<Sight(const Tensor&)>& see, const Tensor& embeddings,
                                     const std::vector<std::int64_t>& samples) const {
  std::vector<Tensor> pixels;
  std::vector<Objects> objects;
  for (const std::int64_t sample : samples) {
    const BoxPicture& picture = pictures_.at(static_cast<std::size_t>(sample));
    pixels.push_back(detector_pixels(detector_->preprocess(), read_box_picture(root_, picture)));
    objects.push_back(objects_of(picture));
  }
  const Sight sight = see(at::cat(pixels));
  return detector_loss(sight, owl_logits(sight, embeddings), objects, settings_);
}

Schema FindSettings::schema() {
  return {
      {"find.threshold", 0.1, "least score of a detection that is shown; measured are all of them"},
      {"find.overlap", 0.5, "IoU above which the lesser of two boxes of a category is dropped; 1: none is"},
      {"find.most", 100, "detections a picture at most"},
  };
}

FindSettings::FindSettings(const Config& config)
    : threshold(at_least(config, "find.threshold", 0, 1)),
      overlap(at_least(config, "find.overlap", 0, 1)),
      most(static_cast<std::int64_t>(at_least(config, "find.most", 1))) {}

std::vector<Detection> find_objects(const Sight& sight, const Tensor& queries, const BoxPicture& picture,
                                    const FindSettings& settings) {
  const at::NoGradGuard no_gradients;
  const auto [best, categories] = at::sigmoid(OwlVit::logits(sight, queries)[0]).max(1);
  return detections_of(sight.boxes[0], {best, categories}, queries.size(0), picture, settings);
}

std::vector<Detection> detections_of(const Tensor& boxes, const Answers& answers, std::int64_t count,
                                     const BoxPicture& picture, const FindSettings& settings) {
  const at::NoGradGuard no_gradients;
  const auto width = static_cast<double>(picture.width), height = static_cast<double>(picture.height);
  const Tensor sides = at::tensor({width, height, width, height}, at::kDouble);
  const Tensor corners = (corners_of(boxes).to(at::kDouble) * sides).clamp_min(0).minimum(sides);
  const Tensor shown = answers.scores.ge(settings.threshold);
  std::vector<Detection> found;
  for (std::int64_t category = 0; category < count; ++category) {
    const Tensor cells = (answers.categories.eq(category) & shown).nonzero().squeeze(1);
    const Tensor own = corners.index_select(0, cells), scores = answers.scores.index_select(0, cells).to(at::kDouble);
    for (const std::int64_t i : suppress(own, scores, settings.overlap)) {
      const double* box = own.const_data_ptr<double>() + 4 * i;
      found.push_back(
          {picture.id, category, {box[0], box[1], box[2] - box[0], box[3] - box[1]}, scores[i].item<double>()});
    }
  }
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.score > b.score; });
  if (static_cast<std::int64_t>(found.size()) > settings.most) found.resize(static_cast<std::size_t>(settings.most));
  return found;
}

}  // namespace attune
