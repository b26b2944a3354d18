#pragma once

#include <filesystem>
#include <vector>

#include "attune/base/json.h"
#include "attune/data/boxes.h"

namespace attune {

/// What an annotation file of COCO holds of boxes; paths are the file's own.
struct CocoFile {
  std::vector<BoxCategory> categories;  // by id
  std::vector<BoxPicture> pictures;     // by id
};

/// Reads COCO's annotation form: "images" (id, file_name, width, height), "categories" (id, name) and "annotations"
/// (id, image_id, category_id, bbox [x, y, width, height]; area and iscrowd may be absent). Throws Error that names the
/// file and the item: members of another type, numbers that are not finite, ids that repeat or that nothing has.
/// `masks`: "segmentation" is read too, where an annotation has one.
CocoFile read_coco(const std::filesystem::path& path, bool masks = false);
/// The same of a text; `name` is named in errors.
CocoFile parse_coco(const Json& json, const std::string& name, bool masks = false);

/// Something that was found in a picture.
struct Detection {
  std::int64_t picture = 0;   // BoxPicture::id
  std::int64_t category = 0;  // index into the categories
  Box box;
  double score = 0;
  Mask mask = {};  // its pixels, where it was segmented

  friend bool operator==(const Detection&, const Detection&) = default;
};

/// COCO's form of results: a list of {"image_id", "category_id", "bbox", "score"}, with "segmentation" (compressed
/// runs) where there is a mask.
Json coco_results(const std::vector<Detection>& detections, const std::vector<BoxCategory>& categories);
/// Reads it back. Throws Error that names the item: a category that is unknown, numbers that are not finite,
/// runs that do not make up a picture.
std::vector<Detection> parse_coco_results(const Json& json, const std::vector<BoxCategory>& categories,
                                          const std::string& name);

}  // namespace attune
