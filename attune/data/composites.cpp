#include "attune/data/composites.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/base/json.h"
#include "attune/base/random.h"
#include "attune/data/parallel.h"
#include "attune/images/encode.h"
#include "attune/images/preprocess.h"

namespace attune {
namespace {

constexpr int kTries = 30;
constexpr std::uint8_t kHalf = 128;
constexpr const char* kParts[] = {"train", "val", "test"};

void check(const Drawings& drawings, const CompositeSettings& s) {
  if (drawings.drawings.empty()) throw UsageError("composites: expected drawings to place, found none");
  const bool good = s.size >= 16 && s.size <= 4096 && s.least >= 1 && s.most >= s.least && s.most <= 1000 &&
                    s.smallest * s.size >= 4 && s.largest >= s.smallest && s.largest <= 0.9 && s.stretch >= 0 &&
                    s.stretch < 0.5 && s.overlap >= 0 && s.overlap <= 1;
  if (!good) {
    throw UsageError(fmt::format(
        "composites: expected a size of 16 to 4096, at least one drawing, drawings of 4 pixels to 0.9 of the size, a "
        "stretch below 0.5 and an overlap of 0 to 1; found size {}, {} to {} drawings of {} to {}, stretch {}, overlap "
        "{}",
        s.size, s.least, s.most, s.smallest, s.largest, s.stretch, s.overlap));
  }
}

/// One of the whole numbers 0 to count - 1.
int draw_below(KeyedRandom& random, int count) {
  return static_cast<int>(random.below(static_cast<std::uint64_t>(count)));
}

std::uint8_t light(KeyedRandom& random) {
  return static_cast<std::uint8_t>(random.uniform(120, 256));
}

/// A light ground: white, one colour, shaded from corner to corner, or spots of a random coarseness.
Image ground(int size, KeyedRandom& random) {
  const double kind = random.uniform();
  const int grid = kind < 0.5 ? 1 : kind < 0.75 ? 2 : 3 + draw_below(random, 30);
  const bool white = kind < 0.2;
  const std::uint8_t base[3] = {light(random), light(random), light(random)};
  const double spread = grid == 2 ? 1.0 : random.uniform(0.1, 0.6);
  Image coarse{grid, grid, {}};
  for (int i = 0; i < grid * grid; ++i) {
    for (const std::uint8_t colour : base) {
      const double mixed = grid == 1 ? colour : colour + spread * (light(random) - colour);
      coarse.rgb.push_back(white ? 255 : static_cast<std::uint8_t>(mixed));
    }
  }
  return resize(coarse, size, size, Filter::kBilinear);
}

Image mirrored(const Image& image) {
  Image result{image.width, image.height, std::vector<std::uint8_t>(image.rgb.size())};
  const auto width = static_cast<std::size_t>(image.width);
  for (std::size_t i = 0; i < image.rgb.size() / 3; ++i) {
    const std::size_t from = i / width * width + (width - 1 - i % width);
    std::copy_n(&image.rgb[3 * from], 3, &result.rgb[3 * i]);
  }
  return result;
}

/// Where a drawing is put.
struct Place {
  int left = 0, top = 0, width = 0, height = 0;

  /// What two places have in common, as a share of the smaller one.
  double shared_with(const Place& other) const {
    const double across = std::min(left + width, other.left + other.width) - std::max(left, other.left);
    const double down = std::min(top + height, other.top + other.height) - std::max(top, other.top);
    const double least = std::min(1.0 * width * height, 1.0 * other.width * other.height);
    return across <= 0 || down <= 0 ? 0 : across * down / least;
  }
};

/// A free place for a drawing; none where nothing was free in some tries.
std::optional<Place> find_place(const Drawing& drawing, const std::vector<Place>& taken, const CompositeSettings& s,
                                KeyedRandom& random) {
  for (int i = 0; i < kTries; ++i) {
    const double longest = s.size * std::exp(random.uniform(std::log(s.smallest), std::log(s.largest)));
    const double stretch = 1 + random.uniform(-s.stretch, s.stretch);
    const double wide = drawing.colour.width * stretch, high = drawing.colour.height;
    const double scale = longest / std::max(wide, high);
    Place place;
    place.width = std::max(1, static_cast<int>(std::lround(wide * scale)));
    place.height = std::max(1, static_cast<int>(std::lround(high * scale)));
    place.left = draw_below(random, s.size - place.width + 1);
    place.top = draw_below(random, s.size - place.height + 1);
    const bool free = std::all_of(taken.begin(), taken.end(),
                                  [&](const Place& other) { return place.shared_with(other) <= s.overlap; });
    if (free) return place;
  }
  return std::nullopt;
}

/// What is visible of a drawing: 1 or 0 for every pixel of the scene.
using Visible = std::vector<std::uint8_t>;

/// Draws over the scene, takes what is covered from the `others`, and gives the drawing's own.
Visible paint(Image& scene, std::vector<Visible>& others, const Drawing& drawing, const Place& place, bool mirror) {
  Image colour = resize(drawing.colour, place.width, place.height, Filter::kBilinear);
  Image opacity = resize(drawing.opacity, place.width, place.height, Filter::kBilinear);
  if (mirror) {
    colour = mirrored(colour);
    opacity = mirrored(opacity);
  }
  const auto side = static_cast<std::size_t>(scene.width);
  Visible own(side * side);
  for (std::size_t i = 0; i < colour.rgb.size() / 3; ++i) {
    const auto width = static_cast<std::size_t>(place.width);
    const std::size_t at =
        (static_cast<std::size_t>(place.top) + i / width) * side + static_cast<std::size_t>(place.left) + i % width;
    const unsigned alpha = opacity.rgb[3 * i];
    for (std::size_t c = 0; c < 3; ++c) {
      std::uint8_t& pixel = scene.rgb[3 * at + c];
      pixel = static_cast<std::uint8_t>(std::min(255U, colour.rgb[3 * i + c] + (pixel * (255 - alpha) + 127) / 255));
    }
    if (alpha < kHalf) continue;
    own[at] = 1;
    for (Visible& other : others) other[at] = 0;
  }
  return own;
}

Json category_list(const Drawings& drawings) {
  Json list = Json::array();
  for (std::size_t c = 0; c < drawings.categories.size(); ++c) {
    list.push_back({{"id", c + 1}, {"name", drawings.categories[c]}, {"code", drawings.codes[c]}});
  }
  return list;
}

Json annotation_of(const PlacedDrawing& object, const Drawings& drawings, std::size_t id, std::int64_t picture) {
  const Drawing& drawing = drawings.drawings[static_cast<std::size_t>(object.drawing)];
  return {{"id", id},
          {"image_id", picture},
          {"category_id", object.category + 1},
          {"bbox", {object.box.x, object.box.y, object.box.width, object.box.height}},
          {"area", object.mask.area()},
          {"iscrowd", 0},
          {"segmentation", json_of(object.mask)},
          {"set", drawing.set},
          {"icon", drawing.icon}};
}

}  // namespace

Composite compose(const Drawings& drawings, const CompositeSettings& settings, std::uint64_t seed,
                  std::uint64_t index) {
  check(drawings, settings);
  KeyedRandom random(seed, "composites", index);
  Composite scene;
  scene.image = ground(settings.size, random);
  const auto wanted = settings.least + draw_below(random, settings.most - settings.least + 1);
  std::vector<Place> taken;
  std::vector<Visible> visible;
  for (int i = 0; i < wanted; ++i) {
    const std::uint64_t which = random.below(drawings.drawings.size());
    const bool mirror = random.chance(0.5) && settings.mirror;
    const Drawing& drawing = drawings.drawings[which];
    const auto place = find_place(drawing, taken, settings, random);
    if (!place) continue;
    taken.push_back(*place);
    visible.push_back(paint(scene.image, visible, drawing, *place, mirror));
    scene.objects.push_back({drawing.category, static_cast<std::int64_t>(which), {}, {}});
  }
  for (std::size_t i = 0; i < visible.size(); ++i) {
    scene.objects[i].mask = mask_of_pixels(settings.size, settings.size, visible[i]);
    scene.objects[i].box = box_around(scene.objects[i].mask);
  }
  std::erase_if(scene.objects, [](const PlacedDrawing& object) { return object.box.area() == 0; });
  return scene;
}

std::uint64_t composite_index(const std::string& part, std::int64_t i) {
  const auto found = std::find(std::begin(kParts), std::end(kParts), part);
  if (found == std::end(kParts))
    throw UsageError(fmt::format("composites: expected train, val or test, found \"{}\"", part));
  return (static_cast<std::uint64_t>(found - std::begin(kParts)) << 40) + static_cast<std::uint64_t>(i);
}

void write_composites(const std::filesystem::path& out, const Drawings& drawings, const CompositeSettings& settings,
                      const CompositeCounts& counts, std::uint64_t seed, int threads, Progress* progress) {
  check(drawings, settings);
  for (const std::string part : kParts) {
    const std::int64_t count = part == "train" ? counts.train : part == "val" ? counts.val : counts.test;
    if (count < 0) throw UsageError(fmt::format("{}: expected at least 0 scenes, found {}", part, count));
    if (count == 0) continue;
    std::filesystem::create_directories(out / part);
    std::vector<std::vector<PlacedDrawing>> objects(static_cast<std::size_t>(count));
    const auto name = [](std::int64_t i) { return fmt::format("{:06}.png", i); };
    parallel_for(
        count, threads,
        [&](std::int64_t i) {
          Composite scene = compose(drawings, settings, seed, composite_index(part, i));
          write_file(out / part / name(i), encode_png(scene.image));
          objects[static_cast<std::size_t>(i)] = std::move(scene.objects);
        },
        progress);
    Json pictures = Json::array(), annotations = Json::array();
    for (std::int64_t i = 0; i < count; ++i) {
      pictures.push_back({{"id", i + 1}, {"file_name", name(i)}, {"width", settings.size}, {"height", settings.size}});
      for (const PlacedDrawing& object : objects[static_cast<std::size_t>(i)]) {
        annotations.push_back(annotation_of(object, drawings, annotations.size() + 1, i + 1));
      }
    }
    write_json(out / "annotations" / fmt::format("instances_{}.json", part),
               {{"images", pictures}, {"categories", category_list(drawings)}, {"annotations", annotations}});
  }
}

}  // namespace attune
