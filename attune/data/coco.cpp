#include "attune/data/coco.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include <fmt/format.h>

#include "attune/base/error.h"

namespace attune {
namespace {

constexpr std::int64_t kLongestSide = 1'000'000;  // of a side

const Json& list_of(const Json& json, const char* key, const std::string& name) {
  const auto found = json.is_object() ? json.find(key) : json.end();
  if (found == json.end() || !found->is_array()) {
    throw Error(fmt::format("{}: expected a list \"{}\", as COCO has it", name, key));
  }
  return *found;
}

std::int64_t side_of(const Json& json, const char* key, const std::string& where) {
  const auto side = json_at<std::int64_t>(json, key, where);
  if (side < 1 || side > kLongestSide) {
    throw Error(fmt::format("{}: expected \"{}\" from 1 to {}, found {}", where, key, kLongestSide, side));
  }
  return side;
}

Box box_of(const Json& json, const std::string& where) {
  const auto numbers = json_at<std::vector<double>>(json, "bbox", where);
  const bool good = numbers.size() == 4 && numbers[2] >= 0 && numbers[3] >= 0 &&
                    std::all_of(numbers.begin(), numbers.end(), [](double one) { return std::abs(one) < 1e9; });
  if (!good) {
    throw Error(fmt::format("{}: expected \"bbox\" to be [x, y, width, height] with sizes of at least 0, found {}",
                            where, json["bbox"].dump().substr(0, 80)));
  }
  return {numbers[0], numbers[1], numbers[2], numbers[3]};
}

/// iscrowd is 0 or 1, in some files a boolean.
bool crowd_of(const Json& json, const std::string& where) {
  const auto found = json.find("iscrowd");
  if (found == json.end() || found->is_null()) return false;
  if (found->is_boolean()) return found->get<bool>();
  const auto value = json_at<std::int64_t>(json, "iscrowd", where);
  if (value != 0 && value != 1) throw Error(fmt::format("{}: expected \"iscrowd\" 0 or 1, found {}", where, value));
  return value == 1;
}

std::vector<BoxCategory> categories_of(const Json& list, const std::string& name) {
  std::vector<BoxCategory> categories;
  std::set<std::int64_t> ids;
  std::set<std::string> names;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const std::string where = fmt::format("{}, category {}", name, i);
    const BoxCategory one{json_at<std::int64_t>(list[i], "id", where), json_at<std::string>(list[i], "name", where)};
    if (!ids.insert(one.id).second) throw Error(fmt::format("{}: the id {} stands there twice", where, one.id));
    if (one.name.empty() || !names.insert(one.name).second) {
      throw Error(fmt::format("{}: expected a name of its own, found \"{}\"", where, one.name));
    }
    categories.push_back(one);
  }
  std::sort(categories.begin(), categories.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  return categories;
}

std::vector<BoxPicture> pictures_of(const Json& list, const std::string& name) {
  std::vector<BoxPicture> pictures;
  std::set<std::int64_t> ids;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const std::string where = fmt::format("{}, image {}", name, i);
    BoxPicture one;
    one.id = json_at<std::int64_t>(list[i], "id", where);
    one.path = picture_name(json_at<std::string>(list[i], "file_name", where), where);
    one.width = side_of(list[i], "width", where);
    one.height = side_of(list[i], "height", where);
    if (!ids.insert(one.id).second) throw Error(fmt::format("{}: the id {} stands there twice", where, one.id));
    pictures.push_back(std::move(one));
  }
  std::sort(pictures.begin(), pictures.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  return pictures;
}

/// The place of every id.
template <class Item>
std::map<std::int64_t, std::int64_t> places(const std::vector<Item>& items) {
  std::map<std::int64_t, std::int64_t> places;
  for (const Item& item : items) places.emplace(item.id, static_cast<std::int64_t>(places.size()));
  return places;
}

std::int64_t place_of(const std::map<std::int64_t, std::int64_t>& places, const Json& item, const char* key,
                      const std::string& where) {
  const auto id = json_at<std::int64_t>(item, key, where);
  const auto found = places.find(id);
  if (found == places.end()) throw Error(fmt::format("{}: nothing has the \"{}\" {}", where, key, id));
  return found->second;
}

}  // namespace

CocoFile parse_coco(const Json& json, const std::string& name, bool masks) {
  CocoFile file{categories_of(list_of(json, "categories", name), name),
                pictures_of(list_of(json, "images", name), name)};
  const auto categories = places(file.categories), pictures = places(file.pictures);
  const Json& list = list_of(json, "annotations", name);
  for (std::size_t i = 0; i < list.size(); ++i) {
    const std::string where = fmt::format("{}, annotation {}", name, i);
    const auto picture = place_of(pictures, list[i], "image_id", where);
    BoxLabel label;
    label.category = place_of(categories, list[i], "category_id", where);
    label.box = box_of(list[i], where);
    label.area = json_or<double>(list[i], "area", label.box.area(), where);
    label.crowd = crowd_of(list[i], where);
    if (!(label.area >= 0 && label.area < 1e18)) {
      throw Error(fmt::format("{}: expected an \"area\" of at least 0, found {}", where, label.area));
    }
    BoxPicture& shown = file.pictures[static_cast<std::size_t>(picture)];
    const auto pixels = list[i].find("segmentation");
    if (masks && pixels != list[i].end()) {
      label.mask = parse_segmentation(*pixels, shown.width, shown.height, where);
    }
    shown.labels.push_back(std::move(label));
  }
  return file;
}

CocoFile read_coco(const std::filesystem::path& path, bool masks) {
  return parse_coco(read_json(path), path.string(), masks);
}

Json coco_results(const std::vector<Detection>& detections, const std::vector<BoxCategory>& categories) {
  Json list = Json::array();
  for (const Detection& one : detections) {
    list.push_back({{"image_id", one.picture},
                    {"category_id", categories.at(static_cast<std::size_t>(one.category)).id},
                    {"bbox", {one.box.x, one.box.y, one.box.width, one.box.height}},
                    {"score", one.score}});
    if (one.mask.known()) list.back()["segmentation"] = json_of(one.mask);
  }
  return list;
}

std::vector<Detection> parse_coco_results(const Json& json, const std::vector<BoxCategory>& categories,
                                          const std::string& name) {
  if (!json.is_array()) throw Error(fmt::format("{}: expected a list of detections", name));
  const auto known = places(categories);
  std::vector<Detection> detections;
  for (std::size_t i = 0; i < json.size(); ++i) {
    const std::string where = fmt::format("{}, detection {}", name, i);
    Detection one;
    one.picture = json_at<std::int64_t>(json[i], "image_id", where);
    one.category = place_of(known, json[i], "category_id", where);
    one.box = box_of(json[i], where);
    one.score = json_at<double>(json[i], "score", where);
    if (!std::isfinite(one.score)) throw Error(fmt::format("{}: expected a finite \"score\"", where));
    if (const auto pixels = json[i].find("segmentation"); pixels != json[i].end()) {
      const auto size = json_at<std::vector<std::int64_t>>(*pixels, "size", where);
      if (size.size() != 2) throw Error(fmt::format("{}: expected \"size\" [height, width]", where));
      one.mask = parse_segmentation(*pixels, size[1], size[0], where);
    }
    detections.push_back(std::move(one));
  }
  return detections;
}

}  // namespace attune
