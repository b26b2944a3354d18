#include "attune/evaluation/detection.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include <fmt/format.h>

#include "attune/base/error.h"

namespace attune {
namespace {

constexpr std::size_t kThresholds = 10, kRecalls = 101, kAreas = 4, kLimits = 3;
constexpr std::size_t kMostDetections = 100;
constexpr std::array<std::size_t, kLimits> kCounted = {1, 10, kMostDetections};
constexpr std::array<std::pair<double, double>, kAreas> kAreaRanges = {
    std::pair{0.0, 1e10}, {0.0, 1024.0}, {1024.0, 9216.0}, {9216.0, 1e10}};  // all, small, medium, large

/// The IoU that a match needs; evenly spaced with the rounding of the reference.
double threshold(std::size_t index) {
  const double step = (0.95 - 0.5) / 9;
  return index == kThresholds - 1 ? 0.95 : static_cast<double>(index) * step + 0.5;
}

double overlap(const Box& detection, const Box& object, bool crowd) {
  const double width =
      std::min(detection.x + detection.width, object.x + object.width) - std::max(detection.x, object.x);
  const double height =
      std::min(detection.y + detection.height, object.y + object.height) - std::max(detection.y, object.y);
  if (width <= 0 || height <= 0) return 0;
  const double common = width * height;
  return common / (crowd ? detection.area() : detection.area() + object.area() - common);
}

/// Objects and detections of one category in one picture, detections by falling score.
struct Scene {
  std::vector<const BoxLabel*> objects;
  std::vector<const Detection*> detections;
  std::vector<double> areas;     // of the detections
  std::vector<double> overlaps;  // [detections, objects]

  double overlap_of(std::size_t detection, std::size_t object) const {
    return overlaps[detection * objects.size() + object];
  }
};

void compare(Scene& scene, Compared compared) {
  for (const Detection* detection : scene.detections) {
    const bool masks = compared == Compared::kMasks;
    scene.areas.push_back(masks ? static_cast<double>(detection->mask.area()) : detection->box.area());
    for (const BoxLabel* object : scene.objects) {
      scene.overlaps.push_back(masks ? mask_overlap(detection->mask, object->mask, object->crowd)
                                     : overlap(detection->box, object->box, object->crowd));
    }
  }
}

enum class Outcome : std::uint8_t { kWrong, kRight, kIgnored };

/// What became of the detections of a category, over all pictures, for one range of areas.
struct Matches {
  std::vector<double> scores;
  std::vector<std::size_t> ranks;                          // within their pictures
  std::array<std::vector<Outcome>, kThresholds> outcomes;  // by threshold
  std::int64_t asked = 0;                                  // objects that count
};

void match(const Scene& scene, const std::pair<double, double>& range, Matches& tally) {
  const auto outside = [&](double area) { return area < range.first || area > range.second; };
  const auto ignored = [&](const BoxLabel& label) { return label.crowd || label.ignored || outside(label.area); };
  std::vector<std::size_t> objects(scene.objects.size());
  std::iota(objects.begin(), objects.end(), std::size_t{0});
  const auto ignored_ones = std::stable_partition(objects.begin(), objects.end(),
                                                  [&](std::size_t object) { return !ignored(*scene.objects[object]); });
  const auto asked = static_cast<std::size_t>(ignored_ones - objects.begin());
  tally.asked += static_cast<std::int64_t>(asked);
  for (std::size_t d = 0; d < scene.detections.size(); ++d) {
    tally.scores.push_back(scene.detections[d]->score);
    tally.ranks.push_back(d);
  }
  for (std::size_t t = 0; t < kThresholds; ++t) {
    std::vector<bool> taken(objects.size());
    for (std::size_t d = 0; d < scene.detections.size(); ++d) {
      double best = std::min(threshold(t), 1 - 1e-10);
      std::size_t found = objects.size();
      for (std::size_t g = 0; g < objects.size(); ++g) {
        if (taken[g] && !scene.objects[objects[g]]->crowd) continue;
        if (found < asked && g >= asked) break;  // one that counts is never given up for one that does not
        const double iou = scene.overlap_of(d, objects[g]);
        if (iou < best) continue;
        best = iou;
        found = g;
      }
      Outcome outcome = outside(scene.areas[d]) ? Outcome::kIgnored : Outcome::kWrong;
      if (found < objects.size()) {
        taken[found] = true;
        outcome = found < asked ? Outcome::kRight : Outcome::kIgnored;
      }
      tally.outcomes[t].push_back(outcome);
    }
  }
}

/// Precision at the recalls, and the recall at the end, of the detections that are counted.
struct Curve {
  std::array<double, kRecalls> precision{};
  double recall = 0;
};

Curve curve_of(const Matches& tally, const std::vector<std::size_t>& order, std::size_t t, std::size_t counted) {
  std::vector<double> recalls, precisions;
  double right = 0, wrong = 0;
  for (const std::size_t i : order) {
    if (tally.ranks[i] >= counted) continue;
    right += tally.outcomes[t][i] == Outcome::kRight ? 1 : 0;
    wrong += tally.outcomes[t][i] == Outcome::kWrong ? 1 : 0;
    recalls.push_back(right / static_cast<double>(tally.asked));
    precisions.push_back(right / (wrong + right + std::numeric_limits<double>::epsilon()));
  }
  for (std::size_t i = precisions.size(); i-- > 1;) precisions[i - 1] = std::max(precisions[i - 1], precisions[i]);
  Curve curve;
  if (!recalls.empty()) curve.recall = recalls.back();
  for (std::size_t r = 0; r < kRecalls; ++r) {
    const double wanted = r == kRecalls - 1 ? 1.0 : static_cast<double>(r) * 0.01;
    const auto place = std::lower_bound(recalls.begin(), recalls.end(), wanted) - recalls.begin();
    if (place < static_cast<std::ptrdiff_t>(precisions.size())) {
      curve.precision[r] = precisions[static_cast<std::size_t>(place)];
    }
  }
  return curve;
}

/// A mean that is -1 where nothing was added.
struct Mean {
  double sum = 0, count = 0;
  void add(double value, double weight = 1) {
    sum += value;
    count += weight;
  }
  double value() const { return count > 0 ? sum / count : -1; }
};

/// Means over thresholds, categories and recalls.
struct Means {
  std::array<Mean, kAreas> precision;  // of at most 100 detections
  std::array<std::array<Mean, kLimits>, kAreas> recall;
  Mean precision50, precision75;
};

void add_category(const std::vector<Scene>& scenes, Means& all, double& category_ap, double& category_ap50) {
  Mean own, own50;
  for (std::size_t a = 0; a < kAreas; ++a) {
    Matches tally;
    for (const Scene& scene : scenes) match(scene, kAreaRanges[a], tally);
    if (tally.asked == 0) continue;
    std::vector<std::size_t> order(tally.scores.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t i, std::size_t j) { return tally.scores[i] > tally.scores[j]; });
    for (std::size_t t = 0; t < kThresholds; ++t) {
      for (std::size_t m = 0; m < kLimits; ++m) {
        const Curve curve = curve_of(tally, order, t, kCounted[m]);
        all.recall[a][m].add(curve.recall);
        if (m + 1 < kLimits) continue;
        const double sum = std::accumulate(curve.precision.begin(), curve.precision.end(), 0.0);
        all.precision[a].add(sum, kRecalls);
        if (a > 0) continue;
        own.add(sum, kRecalls);
        if (t == 0) own50.add(sum, kRecalls);
        if (t == 0) all.precision50.add(sum, kRecalls);
        if (t == 5) all.precision75.add(sum, kRecalls);
      }
    }
  }
  category_ap = own.value();
  category_ap50 = own50.value();
}

}  // namespace

Json DetectionMetrics::to_json(const std::vector<BoxCategory>& categories) const {
  Json json = {{"ap", ap},
               {"ap50", ap50},
               {"ap75", ap75},
               {"ap_small", ap_small},
               {"ap_medium", ap_medium},
               {"ap_large", ap_large},
               {"ar1", ar1},
               {"ar10", ar10},
               {"ar100", ar100},
               {"ar_small", ar_small},
               {"ar_medium", ar_medium},
               {"ar_large", ar_large}};
  for (std::size_t c = 0; c < categories.size(); ++c) {
    json["categories"][categories[c].name] = {{"ap", category_ap.at(c)}, {"ap50", category_ap50.at(c)}};
  }
  return json;
}

DetectionMetrics measure_detections(const std::vector<BoxPicture>& pictures, std::size_t categories,
                                    const std::vector<Detection>& detections, Compared compared) {
  std::map<std::int64_t, std::size_t> places;
  for (const BoxPicture& picture : pictures) places.emplace(picture.id, 0);
  for (std::size_t next = 0; auto& [id, place] : places) place = next++;
  std::vector<std::vector<Scene>> scenes(categories, std::vector<Scene>(places.size()));
  for (const BoxPicture& picture : pictures) {
    for (const BoxLabel& label : picture.labels) {
      if (compared == Compared::kMasks && !label.mask.known()) {
        throw Error(fmt::format("{}: expected objects with masks, found one without", picture.path.string()));
      }
      scenes.at(static_cast<std::size_t>(label.category))[places.at(picture.id)].objects.push_back(&label);
    }
  }
  for (std::size_t i = 0; i < detections.size(); ++i) {
    const Detection& one = detections[i];
    const auto place = places.find(one.picture);
    if (place == places.end() || one.category < 0 || static_cast<std::size_t>(one.category) >= categories) {
      throw Error(fmt::format("detection {}: expected a picture and a category of the data set, found {} and {}", i,
                              one.picture, one.category));
    }
    if (compared == Compared::kMasks && !one.mask.known()) {
      throw Error(fmt::format("detection {}: expected a mask, found none", i));
    }
    scenes[static_cast<std::size_t>(one.category)][place->second].detections.push_back(&one);
  }
  DetectionMetrics metrics;
  Means means;
  for (std::vector<Scene>& of_category : scenes) {
    for (Scene& scene : of_category) {
      std::stable_sort(scene.detections.begin(), scene.detections.end(),
                       [](const Detection* a, const Detection* b) { return a->score > b->score; });
      if (scene.detections.size() > kMostDetections) scene.detections.resize(kMostDetections);
      compare(scene, compared);
    }
    add_category(of_category, means, metrics.category_ap.emplace_back(), metrics.category_ap50.emplace_back());
  }
  metrics.ap = means.precision[0].value();
  metrics.ap50 = means.precision50.value();
  metrics.ap75 = means.precision75.value();
  metrics.ap_small = means.precision[1].value();
  metrics.ap_medium = means.precision[2].value();
  metrics.ap_large = means.precision[3].value();
  metrics.ar1 = means.recall[0][0].value();
  metrics.ar10 = means.recall[0][1].value();
  metrics.ar100 = means.recall[0][2].value();
  metrics.ar_small = means.recall[1][2].value();
  metrics.ar_medium = means.recall[2][2].value();
  metrics.ar_large = means.recall[3][2].value();
  return metrics;
}

}  // namespace attune
