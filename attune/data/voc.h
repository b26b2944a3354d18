#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "attune/data/boxes.h"

namespace attune {

/// An annotation of Pascal VOC, with the categories by name.
struct VocPicture {
  std::string file_name;
  std::int64_t width = 0, height = 0;
  struct Object {
    std::string name;
    Box box;
    bool difficult = false;
  };
  std::vector<Object> objects;
};

/// Reads an annotation of Pascal VOC. Its corners are pixels counted from 1, both of them within the object, so that a
/// box begins at xmin - 1 and is xmax - xmin + 1 wide; one that reaches beyond the picture is cut off there. Members
/// that a detector does not need are passed over. Throws Error that names `name`, the object and the member.
VocPicture parse_voc(std::string_view text, const std::string& name);

/// Reads a Pascal VOC folder; its parts are those of ImageSets/Main (train, val, test, or trainval where there is no
/// train). Throws Error that names the file.
BoxDataset read_voc(const std::filesystem::path& root);

}  // namespace attune
