#include "attune/training/segmenter_views.h"

#include <algorithm>

#include "attune/base/error.h"
#include "attune/tasks/segmentation.h"
#include "attune/tensors/parallel.h"

namespace attune {
namespace {

constexpr double kSmallestPart = 0.5;  // of a scene's side

struct View {
  Cut cut;
  std::int64_t category = 0;
  std::vector<std::size_t> wanted;  // objects of the scene
};

Box shifted(const Box& box, double most, KeyedRandom& random) {
  const double left = random.uniform(-most, most), right = random.uniform(-most, most);
  const double top = random.uniform(-most, most), bottom = random.uniform(-most, most);
  return {box.x + left * box.width, box.y + top * box.height, (1 + right - left) * box.width,
          (1 + bottom - top) * box.height};
}

/// A square of at least half of a scene.
Cut part_of(const Image& scene, KeyedRandom& random) {
  const double whole = std::min(scene.width, scene.height);
  const int side = std::max(1, static_cast<int>(whole * random.uniform(kSmallestPart, 1)));
  const auto place = [&](int length) {
    return static_cast<int>(random.below(static_cast<std::uint64_t>(length - side + 1)));
  };
  const int left = place(scene.width), top = place(scene.height);
  return {left, top, side, side};
}

/// A kind of drawing of which the scene shows nothing; -1 where there is none.
std::int64_t absent(const Composite& scene, std::int64_t categories, KeyedRandom& random) {
  for (int tries = 0; tries < 32; ++tries) {
    const auto category = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(categories)));
    const bool shown = std::any_of(scene.objects.begin(), scene.objects.end(),
                                   [&](const PlacedDrawing& object) { return object.category == category; });
    if (!shown) return category;
  }
  return -1;
}

View draw_view(const Composite& scene, std::int64_t categories, const ViewSettings& settings, KeyedRandom& random) {
  const std::size_t chosen = random.below(scene.objects.size());
  const PlacedDrawing& object = scene.objects[chosen];
  const double kind = random.uniform();
  View view{{}, object.category, {chosen}};
  const Box box = shifted(object.box, settings.jitter, random);
  view.cut = cut_around(box, settings.margin, scene.image.width, scene.image.height);
  if (kind < settings.parts) {
    view.cut = part_of(scene.image, random);
    view.wanted.clear();
    for (std::size_t i = 0; i < scene.objects.size(); ++i) {
      if (scene.objects[i].category == object.category) view.wanted.push_back(i);
    }
  } else if (kind < settings.parts + settings.others) {
    const std::int64_t other = absent(scene, categories, random);
    if (other >= 0) view = {view.cut, other, {}};
  }
  return view;
}

}  // namespace

Schema ViewSettings::schema() {
  return {
      {"views.margin", 0.2, "share of a box's sides that is added on each side before it is cut out"},
      {"views.jitter", 0.1, "most that an edge of a box is wrong, as a share of the side"},
      {"views.parts", 0.15, "share of views that are larger parts of a scene, with all objects of the name"},
      {"views.others", 0.15, "share of views under a name of which they show nothing"},
      {"views.scene", 4, "views of a scene"},
  };
}

ViewSettings::ViewSettings(const Config& recipe)
    : margin(recipe.number("views.margin")),
      jitter(recipe.number("views.jitter")),
      parts(recipe.number("views.parts")),
      others(recipe.number("views.others")),
      views(recipe.integer("views.scene", 1, 1000)) {
  if (!(margin >= 0 && margin <= 10 && jitter >= 0 && jitter < 0.5 && parts >= 0 && others >= 0 &&
        parts + others <= 1)) {
    throw UsageError("views: expected a margin of 0 to 10, a jitter of 0 to 0.5, and shares of at most 1 together");
  }
}

SegmenterViews segmenter_views(const std::vector<Composite>& scenes, std::int64_t categories,
                               const ViewSettings& settings, const Preprocess& preprocess, std::uint64_t seed,
                               std::uint64_t first) {
  std::vector<std::pair<std::size_t, std::uint64_t>> places;  // scene, view
  for (std::size_t i = 0; i < scenes.size(); ++i) {
    for (std::int64_t v = 0; v < settings.views && !scenes[i].objects.empty(); ++v) {
      places.emplace_back(i, (first + i) * static_cast<std::uint64_t>(settings.views) + static_cast<std::uint64_t>(v));
    }
  }
  const std::int64_t size = preprocess.size, count = std::ssize(places);
  SegmenterViews views{at::empty({count, 3, size, size}), std::vector<std::int64_t>(places.size()),
                       at::empty({count, size, size})};
  in_parallel(count, [&](std::int64_t i) {
    const auto& [at, index] = places[static_cast<std::size_t>(i)];
    const Composite& scene = scenes[at];
    KeyedRandom random(seed, "segmenter.view", index);
    const View view = draw_view(scene, categories, settings, random);
    Mask mask = mask_of_box(scene.image.width, scene.image.height, {});
    for (const std::size_t object : view.wanted) mask = united(mask, scene.objects[object].mask);
    views.pixels[i].copy_(input_of(scene.image, view.cut, preprocess)[0]);
    views.targets[i].copy_(attune::target_of(pixels_of(mask), scene.image.width, view.cut, size));
    views.categories[static_cast<std::size_t>(i)] = view.category;
  });
  return views;
}

}  // namespace attune
