#include "attune/tasks/segmentation.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/tasks/detection.h"

namespace attune {
namespace {

constexpr std::int64_t kMostKeptCuts = std::int64_t{2} << 30;
constexpr std::size_t kAtOnce = 16;  // cuts of a picture

double within(const Config& config, const char* key, double least, double most) {
  const double value = config.number(key);
  if (!(value >= least && value <= most)) {
    throw UsageError(fmt::format("{}: expected {} to {}, found {}", key, least, most, value));
  }
  return value;
}

bool counts(const BoxLabel& label) {
  return !label.crowd && !label.ignored;
}

/// Activations of several inputs put together.
std::vector<Tensor> stacked(const std::vector<const std::vector<Tensor>*>& parts) {
  std::vector<Tensor> result;
  for (std::size_t layer = 0; layer < parts.front()->size(); ++layer) {
    std::vector<Tensor> rows;
    for (const auto* one : parts) rows.push_back((*one)[layer]);
    result.push_back(at::cat(rows));
  }
  return result;
}

/// The pixels of a cut's logits [size, size] that are within, put into a picture.
Mask pasted(const Tensor& logits, const Cut& cut, const Image& picture, double threshold) {
  const Tensor own = at::_upsample_bilinear2d_aa(logits.unsqueeze(0).unsqueeze(0), {cut.height, cut.width},
                                                 /*align_corners=*/false);
  const Tensor inside = at::sigmoid(own).ge(threshold).to(at::kByte).contiguous();
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(picture.width) * static_cast<std::size_t>(picture.height));
  const std::uint8_t* row = inside.const_data_ptr<std::uint8_t>();
  for (int y = 0; y < cut.height; ++y, row += cut.width) {
    const auto place = std::int64_t{cut.top + y} * picture.width + cut.left;
    std::copy(row, row + cut.width, pixels.begin() + place);
  }
  return mask_of_pixels(picture.width, picture.height, pixels);
}

}  // namespace

Schema SegmentSettings::schema() {
  return {
      {"segment.margin", 0.2, "share of a box's sides that is added on each side before it is cut out"},
      {"segment.threshold", 0.5, "least probability of a pixel within a mask"},
      {"segment.entropy", 1.0, "weight of the pixels' cross-entropy in the loss"},
      {"segment.dice", 1.0, "weight of 1 - Dice in the loss"},
      {"segment.view", "objects", "what is learned from: objects, each cut out, or whole pictures"},
  };
}

SegmentSettings::SegmentSettings(const Config& config)
    : margin(within(config, "segment.margin", 0, 10)),
      threshold(within(config, "segment.threshold", 0, 1)),
      entropy(within(config, "segment.entropy", 0, 1e9)),
      dice(within(config, "segment.dice", 0, 1e9)),
      whole_pictures(config.text("segment.view") == "pictures") {
  if (!whole_pictures && config.text("segment.view") != "objects") {
    throw UsageError(
        fmt::format("segment.view: expected objects or pictures, found \"{}\"", config.text("segment.view")));
  }
}

Cut cut_around(const Box& box, double margin, std::int64_t width, std::int64_t height) {
  const auto side = [margin](double begin, double length, std::int64_t whole) {
    const double end = begin + (1 + margin) * length, most = static_cast<double>(whole);
    const int low = static_cast<int>(std::clamp(std::floor(begin - margin * length), 0.0, most - 1));
    const int high = static_cast<int>(std::clamp(std::ceil(end), 0.0, most));
    return std::pair{low, std::max(1, high - low)};
  };
  const auto [left, wide] = side(box.x, box.width, width);
  const auto [top, tall] = side(box.y, box.height, height);
  return {left, top, wide, tall};
}

Tensor input_of(const Image& picture, const Cut& cut, const Preprocess& preprocess) {
  const int size = preprocess.size;
  Tensor pixels = at::empty({1, 3, size, size});
  const Image own = crop(picture, cut.left, cut.top, cut.width, cut.height);
  normalise(resize(own, size, size, preprocess.filter), preprocess, pixels.mutable_data_ptr<float>());
  return pixels;
}

Tensor target_of(const std::vector<std::uint8_t>& pixels, std::int64_t width, const Cut& cut, std::int64_t size) {
  Tensor own = at::empty({1, 1, cut.height, cut.width});
  float* out = own.mutable_data_ptr<float>();
  for (int y = 0; y < cut.height; ++y, out += cut.width) {
    const auto row = pixels.begin() + std::int64_t{cut.top + y} * width + cut.left;
    std::transform(row, row + cut.width, out, [](std::uint8_t pixel) { return pixel != 0 ? 1.0F : 0.0F; });
  }
  return at::_upsample_bilinear2d_aa(own, {size, size}, /*align_corners=*/false).clamp(0, 1)[0][0];
}

MaskLoss mask_loss(const Tensor& logits, const Tensor& targets) {
  const Tensor entropy = at::binary_cross_entropy_with_logits(logits, targets, {}, {}, at::Reduction::None);
  const Tensor share = at::sigmoid(logits);
  const Tensor common = (share * targets).sum({1, 2}), both = share.sum({1, 2}) + targets.sum({1, 2});
  return {entropy.mean({1, 2}), 1 - (2 * common + 1) / (both + 1)};
}

SegmentationTask::SegmentationTask(std::shared_ptr<const ClipSeg> segmenter, std::filesystem::path root,
                                   std::vector<BoxPicture> pictures, const SegmentSettings& settings)
    : segmenter_(std::move(segmenter)), root_(std::move(root)), pictures_(std::move(pictures)), settings_(settings) {
  for (std::size_t p = 0; p < pictures_.size(); ++p) {
    std::map<std::int64_t, std::vector<std::size_t>> by_category;
    for (std::size_t i = 0; i < pictures_[p].labels.size(); ++i) {
      const BoxLabel& label = pictures_[p].labels[i];
      if (!counts(label)) continue;
      if (!label.mask.known()) {
        throw Error(fmt::format("{}: expected objects with masks, found one without", pictures_[p].path.string()));
      }
      by_category[label.category].push_back(i);
      if (!settings_.whole_pictures) samples_.push_back({p, {i}, label.category});
    }
    if (!settings_.whole_pictures) continue;
    for (auto& [category, labels] : by_category) samples_.push_back({p, std::move(labels), category});
  }
  seen_.resize(samples_.size());
}

SegmentationTask::View SegmentationTask::view_of(std::size_t index) const {
  const Sample& sample = samples_.at(index);
  const BoxPicture& picture = pictures_[sample.picture];
  const Image image = read_box_picture(root_, picture);
  const Preprocess& preprocess = segmenter_->preprocess();
  Mask mask;
  for (const std::size_t label : sample.labels) {
    const Mask& own = picture.labels[label].mask;
    mask = mask.known() ? united(mask, own) : own;
  }
  const Cut cut = settings_.whole_pictures ? Cut{0, 0, image.width, image.height}
                                           : cut_around(picture.labels[sample.labels.front()].box, settings_.margin,
                                                        image.width, image.height);
  return {input_of(image, cut, preprocess), target_of(pixels_of(mask), image.width, cut, preprocess.size).unsqueeze(0)};
}

SegmentationTask::Seen SegmentationTask::seen_of(std::size_t sample) {
  Seen& kept = seen_.at(sample);
  if (kept.target.defined()) return kept;
  const View view = view_of(sample);
  Seen seen = {segmenter_->look(view.pixels), view.target};
  auto bytes = static_cast<std::int64_t>(seen.target.nbytes());
  for (const Tensor& one : seen.activations) bytes += static_cast<std::int64_t>(one.nbytes());
  if (kept_bytes_ + bytes <= kMostKeptCuts) {
    kept_bytes_ += bytes;
    kept = seen;
  }
  return seen;
}

Tensor SegmentationTask::conditions_of(const Tensor& embeddings, const std::vector<std::int64_t>& samples) const {
  std::vector<std::int64_t> categories;
  for (const std::int64_t sample : samples)
    categories.push_back(samples_.at(static_cast<std::size_t>(sample)).category);
  return embeddings.index_select(0, at::tensor(categories, at::kLong));
}

Objective SegmentationTask::objective_of(const Tensor& logits, const std::vector<Tensor>& targets) const {
  const MaskLoss loss = mask_loss(logits, at::cat(targets).to(logits.device()));
  const Tensor entropy = loss.entropy.mean(), dice = loss.dice.mean();
  Objective objective;
  objective.loss = settings_.entropy * entropy + settings_.dice * dice;
  objective.terms = {{"entropy", entropy.item<double>()}, {"dice", dice.item<double>()}};
  return objective;
}

Objective SegmentationTask::loss(const Tensor& embeddings, const std::vector<std::int64_t>& samples) {
  std::vector<Seen> seen;
  for (const std::int64_t sample : samples) seen.push_back(seen_of(static_cast<std::size_t>(sample)));
  std::vector<const std::vector<Tensor>*> activations;
  std::vector<Tensor> targets;
  for (const Seen& one : seen) {
    activations.push_back(&one.activations);
    targets.push_back(one.target);
  }
  const std::vector<Tensor> all = stacked(activations);
  return objective_of(segmenter_->logits(all, conditions_of(embeddings, samples).to(all.front().device())), targets);
}

Objective SegmentationTask::loss_seeing(const SegmentNow& segment, const Tensor& embeddings,
                                        const std::vector<std::int64_t>& samples) const {
  std::vector<Tensor> pixels, targets;
  for (const std::int64_t sample : samples) {
    View view = view_of(static_cast<std::size_t>(sample));
    pixels.push_back(std::move(view.pixels));
    targets.push_back(std::move(view.target));
  }
  return objective_of(segment(at::cat(pixels), conditions_of(embeddings, samples)), targets);
}

void segment_found(const ClipSeg& segmenter, const Image& picture, const Tensor& conditions,
                   const SegmentSettings& settings, std::vector<Detection>& found) {
  const at::NoGradGuard no_gradients;
  for (std::size_t first = 0; first < found.size(); first += kAtOnce) {
    const std::size_t past = std::min(found.size(), first + kAtOnce);
    std::vector<Cut> cuts;
    std::vector<Tensor> inputs;
    std::vector<std::int64_t> categories;
    for (std::size_t i = first; i < past; ++i) {
      cuts.push_back(cut_around(found[i].box, settings.margin, picture.width, picture.height));
      inputs.push_back(input_of(picture, cuts.back(), segmenter.preprocess()));
      categories.push_back(found[i].category);
    }
    const std::vector<Tensor> seen = segmenter.look(at::cat(inputs));
    const Tensor own = conditions.index_select(0, at::tensor(categories, at::kLong)).to(seen.front().device());
    const Tensor logits = segmenter.logits(seen, own).to(at::kCPU);
    for (std::size_t i = first; i < past; ++i) {
      found[i].mask =
          pasted(logits[static_cast<std::int64_t>(i - first)], cuts[i - first], picture, settings.threshold);
    }
  }
}

}  // namespace attune
