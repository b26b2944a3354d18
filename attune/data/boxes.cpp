#include "attune/data/boxes.h"

#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/base/json.h"
#include "attune/base/random.h"
#include "attune/data/coco.h"
#include "attune/data/voc.h"

namespace attune {
namespace {

namespace fs = std::filesystem;

constexpr const char* kBeside = "_annotations.coco.json";

/// The part that a name such as "train2017" or "valid" begins with; null: none.
std::vector<BoxPicture>* pictures_of_part(BoxDataset& dataset, std::string_view name) {
  if (name.starts_with("train")) return &dataset.train;
  if (name.starts_with("val")) return &dataset.val;
  if (name.starts_with("test")) return &dataset.test;
  return nullptr;
}

/// A COCO file whose pictures lie in `folder`, added to the parts; `part` null: undivided.
void add_coco(BoxDataset& dataset, const fs::path& file, const fs::path& folder, std::vector<BoxPicture>& part,
              bool masks) {
  CocoFile read = read_coco(file, masks);
  if (!dataset.categories.empty() && read.categories != dataset.categories) {
    throw Error(fmt::format("{}: expected the categories of the other parts, found others", file.string()));
  }
  if (!part.empty()) throw Error(fmt::format("{}: expected one file a part, found another one", file.string()));
  dataset.categories = std::move(read.categories);
  for (BoxPicture& picture : read.pictures) picture.path = folder / picture.path;
  part = std::move(read.pictures);
}

BoxDataset coco_parts(const fs::path& root, bool masks) {
  BoxDataset dataset;
  dataset.layout = "COCO annotations with parts";
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(root / "annotations")) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  for (const fs::path& file : files) {
    const std::string stem = file.stem().string();
    if (file.extension() != ".json" || !stem.starts_with("instances_")) continue;
    const std::string part = stem.substr(std::string("instances_").size());
    if (auto* pictures = pictures_of_part(dataset, part)) add_coco(dataset, file, part, *pictures, masks);
  }
  return dataset;
}

BoxDataset coco_beside(const fs::path& root, bool masks) {
  BoxDataset dataset;
  dataset.layout = "COCO annotations beside the pictures of each part";
  std::vector<fs::path> folders;
  for (const auto& entry : fs::directory_iterator(root)) folders.push_back(entry.path());
  std::sort(folders.begin(), folders.end());
  for (const fs::path& folder : folders) {
    if (!fs::exists(folder / kBeside)) continue;
    if (auto* pictures = pictures_of_part(dataset, folder.filename().string())) {
      add_coco(dataset, folder / kBeside, folder.filename(), *pictures, masks);
    }
  }
  return dataset;
}

BoxDataset coco_file(const fs::path& file, bool masks) {
  BoxDataset dataset;
  dataset.layout = "COCO annotations";
  add_coco(dataset, file, fs::is_directory(file.parent_path() / "images") ? "images" : "", dataset.all, masks);
  return dataset;
}

bool has_coco_beside(const fs::path& root) {
  return std::any_of(fs::directory_iterator(root), fs::directory_iterator(),
                     [](const fs::directory_entry& entry) { return fs::exists(entry.path() / kBeside); });
}

BoxDataset read_boxes(const fs::path& path, bool masks) {
  if (fs::is_regular_file(path)) return coco_file(path, masks);
  if (!fs::is_directory(path)) {
    throw Error(fmt::format("{}: expected a folder or a COCO file with boxes, found none", path.string()));
  }
  if (fs::is_directory(path / "Annotations")) return read_voc(path);
  if (fs::is_directory(path / "annotations")) return coco_parts(path, masks);
  if (has_coco_beside(path)) return coco_beside(path, masks);
  throw Error(fmt::format(
      "{}: expected Annotations/ (Pascal VOC), annotations/instances_PART.json or PART/{} (COCO), found none",
      path.string(), kBeside));
}

Json json_of(const BoxPicture& picture) {
  Json labels = Json::array();
  for (const BoxLabel& label : picture.labels) {
    const Box& box = label.box;
    labels.push_back({label.category, box.x, box.y, box.width, box.height, label.area, label.crowd, label.ignored});
    if (label.mask.known()) labels.back().push_back(compressed(label.mask));
  }
  return {picture.id, picture.path.generic_string(), picture.width, picture.height, labels};
}

}  // namespace

std::vector<std::string> BoxDataset::category_names() const {
  std::vector<std::string> names;
  for (const BoxCategory& category : categories) names.push_back(category.name);
  return names;
}

BoxDataset open_boxes(const fs::path& path, bool masks) {
  BoxDataset dataset = read_boxes(path, masks);
  const fs::path whole = fs::weakly_canonical(path);
  dataset.root = fs::is_directory(whole) ? whole : whole.parent_path();
  dataset.name = whole.has_filename() ? whole.stem().string() : whole.parent_path().filename().string();
  if (dataset.train.empty() && dataset.val.empty() && dataset.test.empty() && dataset.all.empty()) {
    throw Error(fmt::format("{}: expected pictures with boxes, found none ({})", path.string(), dataset.layout));
  }
  if (dataset.categories.empty()) {
    throw Error(fmt::format("{}: expected at least one category, found none", path.string()));
  }
  return dataset;
}

BoxDataset divide_boxes(BoxDataset dataset, std::uint64_t seed) {
  if (dataset.all.empty()) {
    if (dataset.test.empty()) std::swap(dataset.test, dataset.val);
    return dataset;
  }
  const auto count = static_cast<std::int64_t>(dataset.all.size());
  const auto order = random_order(count, seed, "parts of pictures with boxes");
  for (std::int64_t i = 0; i < count; ++i) {
    auto& part = 2 * i < count ? dataset.train : 10 * i < 7 * count ? dataset.val : dataset.test;
    part.push_back(std::move(dataset.all[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])]));
  }
  dataset.all.clear();
  return dataset;
}

std::vector<BoxPicture> draw_box_shots(const std::vector<BoxPicture>& pictures, int shots, std::uint64_t seed) {
  if (shots == 0) return pictures;
  std::map<std::int64_t, int> shown;
  std::vector<BoxPicture> drawn;
  for (const std::int64_t i :
       random_order(static_cast<std::int64_t>(pictures.size()), seed, "shots of pictures with boxes")) {
    const BoxPicture& picture = pictures[static_cast<std::size_t>(i)];
    std::set<std::int64_t> categories;
    for (const BoxLabel& label : picture.labels) {
      if (!label.crowd && !label.ignored) categories.insert(label.category);
    }
    const bool needed =
        std::any_of(categories.begin(), categories.end(), [&](std::int64_t one) { return shown[one] < shots; });
    if (!needed) continue;
    for (const std::int64_t one : categories) ++shown[one];
    drawn.push_back(picture);
  }
  return drawn;
}

std::string hash_of_boxes(const std::vector<BoxPicture>& pictures) {
  std::string text;
  for (const BoxPicture& picture : pictures) text += json_of(picture).dump() + "\n";
  return sha256(text);
}

fs::path picture_name(const std::string& name, std::string_view where) {
  fs::path normal = fs::path(name).lexically_normal();
  const bool inside = !normal.empty() && normal.is_relative() && *normal.begin() != ".." && normal != "." &&
                      name.find('\0') == std::string::npos;
  if (!inside) throw Error(fmt::format("{}: expected a file within the folder of pictures, found \"{}\"", where, name));
  return normal;
}

}  // namespace attune
