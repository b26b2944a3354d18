#include "attune/data/voc.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <set>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/data/boxes_xml.h"

namespace attune {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kAnnotationLimit = 16 << 20;
constexpr double kLargestCoordinate = 1e6;

const XmlElement& member(const XmlElement& parent, std::string_view name, const std::string& where) {
  const XmlElement* found = parent.child(name, where);
  if (found == nullptr) throw Error(fmt::format("{}: expected <{}>, found none", where, name));
  return *found;
}

std::string text_of(const XmlElement& parent, std::string_view name, const std::string& where) {
  const XmlElement& found = member(parent, name, where);
  if (found.text.empty()) throw Error(fmt::format("{}: expected a text in <{}>, found none", where, name));
  return found.text;
}

double number_of(const XmlElement& parent, std::string_view name, const std::string& where) {
  const std::string text = text_of(parent, name, where);
  double value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size() || !(std::abs(value) <= kLargestCoordinate)) {
    throw Error(fmt::format("{}: expected a number of at most {} in <{}>, found \"{}\"", where, kLargestCoordinate,
                            name, text.substr(0, 40)));
  }
  return value;
}

std::int64_t side_of(const XmlElement& size, std::string_view name, const std::string& where) {
  const double side = number_of(size, name, where);
  if (side < 1 || side != std::floor(side)) {
    throw Error(fmt::format("{}: expected <{}> to be a whole number above 0, found {}", where, name, side));
  }
  return static_cast<std::int64_t>(side);
}

Box box_of(const XmlElement& object, const VocPicture& picture, const std::string& where) {
  const XmlElement& corners = member(object, "bndbox", where);
  const double left = number_of(corners, "xmin", where), top = number_of(corners, "ymin", where);
  const double right = number_of(corners, "xmax", where), bottom = number_of(corners, "ymax", where);
  if (right < left || bottom < top) {
    throw Error(fmt::format("{}: expected xmin <= xmax and ymin <= ymax, found {}, {}, {}, {}", where, left, top, right,
                            bottom));
  }
  const auto width = static_cast<double>(picture.width), height = static_cast<double>(picture.height);
  const double x = std::max(0.0, left - 1), y = std::max(0.0, top - 1);
  const Box box{x, y, std::min(right, width) - x, std::min(bottom, height) - y};
  if (box.width <= 0 || box.height <= 0) {
    throw Error(fmt::format("{}: expected a box within the picture of {} x {}, found {}, {}, {}, {}", where,
                            picture.width, picture.height, left, top, right, bottom));
  }
  return box;
}

/// The names of a part, in their order; nothing where there is no such list.
std::vector<std::string> names_of_part(const fs::path& root, const std::string& part) {
  const fs::path path = root / "ImageSets" / "Main" / (part + ".txt");
  if (!fs::exists(path)) return {};
  std::vector<std::string> names;
  std::set<std::string> known;
  for (const std::string& line : read_lines(path)) {
    const std::string name = line.substr(0, line.find_last_not_of(" \t") + 1);
    if (name.empty()) continue;
    if (!known.insert(name).second) throw Error(fmt::format("{}: {} stands there twice", path.string(), name));
    names.push_back(name);
  }
  return names;
}

std::vector<std::string> all_names(const fs::path& root) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(root / "Annotations")) {
    if (entry.path().extension() == ".xml") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

/// Every annotation, read once, with categories numbered by name.
class Annotations {
 public:
  explicit Annotations(const fs::path& root) : root_(root), names_(all_names(root)) {
    std::set<std::string> categories;
    for (const std::string& name : names_) {
      const fs::path path = root / "Annotations" / (name + ".xml");
      read_.emplace(name, parse_voc(read_file(path, kAnnotationLimit), path.string()));
      for (const auto& object : read_.at(name).objects) categories.insert(object.name);
    }
    for (const std::string& name : categories) {
      places_.emplace(name, static_cast<std::int64_t>(categories_.size()));
      categories_.push_back({static_cast<std::int64_t>(categories_.size()) + 1, name});
    }
  }

  const std::vector<std::string>& names() const { return names_; }
  const std::vector<BoxCategory>& categories() const { return categories_; }

  std::vector<BoxPicture> pictures(const std::vector<std::string>& names, const std::string& part) const {
    std::vector<BoxPicture> pictures;
    for (const std::string& name : names) {
      const auto place = std::lower_bound(names_.begin(), names_.end(), name);
      if (place == names_.end() || *place != name) {
        throw Error(fmt::format("{}, part {}: expected Annotations/{}.xml, found none", root_.string(), part, name));
      }
      const VocPicture& voc = read_.at(name);
      BoxPicture picture{place - names_.begin() + 1, fs::path("JPEGImages") / voc.file_name, voc.width, voc.height, {}};
      for (const auto& object : voc.objects) {
        picture.labels.push_back({object.box, places_.at(object.name), object.box.area(), false, object.difficult});
      }
      pictures.push_back(std::move(picture));
    }
    std::sort(pictures.begin(), pictures.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
    return pictures;
  }

 private:
  fs::path root_;
  std::vector<std::string> names_;
  std::map<std::string, VocPicture> read_;
  std::map<std::string, std::int64_t> places_;
  std::vector<BoxCategory> categories_;
};

}  // namespace

VocPicture parse_voc(std::string_view text, const std::string& name) {
  const XmlElement root = parse_xml(text, name);
  if (root.name != "annotation") {
    throw Error(fmt::format("{}: expected <annotation>, found <{}>", name, root.name.substr(0, 40)));
  }
  VocPicture picture;
  picture.file_name = picture_name(text_of(root, "filename", name), name).string();
  const XmlElement& size = member(root, "size", name);
  picture.width = side_of(size, "width", name);
  picture.height = side_of(size, "height", name);
  for (const XmlElement& one : root.children) {
    if (one.name != "object") continue;
    const std::string where = fmt::format("{}, object {}", name, picture.objects.size());
    const XmlElement* difficult = one.child("difficult", where);
    const std::string hard = difficult == nullptr || difficult->text.empty() ? "0" : difficult->text;
    if (hard != "0" && hard != "1") {
      throw Error(fmt::format("{}: expected 0 or 1 in <difficult>, found \"{}\"", where, hard.substr(0, 40)));
    }
    picture.objects.push_back({text_of(one, "name", where), box_of(one, picture, where), hard == "1"});
  }
  return picture;
}

BoxDataset read_voc(const fs::path& root) {
  const Annotations annotations(root);
  BoxDataset dataset;
  dataset.layout = "Pascal VOC";
  dataset.categories = annotations.categories();
  std::vector<std::string> train = names_of_part(root, "train");
  if (train.empty()) train = names_of_part(root, "trainval");
  dataset.train = annotations.pictures(train, "train");
  dataset.val = annotations.pictures(names_of_part(root, "val"), "val");
  dataset.test = annotations.pictures(names_of_part(root, "test"), "test");
  if (train.empty() && dataset.val.empty() && dataset.test.empty()) {
    dataset.all = annotations.pictures(annotations.names(), "all");
  }
  return dataset;
}

}  // namespace attune
