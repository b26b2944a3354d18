#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "attune/data/mask.h"

namespace attune {

/// A rectangle in pixels as COCO has it: the left upper corner and the size.
struct Box {
  double x = 0, y = 0, width = 0, height = 0;

  double area() const { return width * height; }
  friend bool operator==(const Box&, const Box&) = default;
};

/// One object of a picture.
struct BoxLabel {
  Box box;
  std::int64_t category = 0;  // index into BoxDataset::categories
  double area = 0;            // of the object, by which it is small, medium or large; of its box where nothing is said
  bool crowd = false;         // stands for several objects: a detection of any part of it is neither right nor wrong
  bool ignored = false;       // too hard to be asked for (Pascal VOC's "difficult")
  Mask mask = {};             // its pixels, where they are known and were asked for

  friend bool operator==(const BoxLabel&, const BoxLabel&) = default;
};

/// One picture with its objects.
struct BoxPicture {
  std::int64_t id = 0;         // COCO's; for Pascal VOC the place in the sorted list of names, from 1
  std::filesystem::path path;  // relative to the root of the set
  std::int64_t width = 0, height = 0;
  std::vector<BoxLabel> labels;

  friend bool operator==(const BoxPicture&, const BoxPicture&) = default;
};

/// A kind of object.
struct BoxCategory {
  std::int64_t id = 0;  // COCO's; for Pascal VOC the place in the sorted list of names, from 1
  std::string name;

  friend bool operator==(const BoxCategory&, const BoxCategory&) = default;
};

/// Pictures with boxes. A set without parts has everything in `all`; divide_boxes gives it parts.
struct BoxDataset {
  std::string name;
  std::filesystem::path root;
  std::string layout;                   // what was recognised, in words
  std::vector<BoxCategory> categories;  // by id
  std::vector<BoxPicture> train, val, test, all;

  std::vector<std::string> category_names() const;
};

/// Reads a set of pictures with boxes: a Pascal VOC folder (Annotations/, JPEGImages/, ImageSets/Main/ where there are
/// parts), a folder with annotations/instances_PART*.json in COCO's form and the pictures in PART*/, a folder with
/// PART/_annotations.coco.json and the pictures beside it, or one COCO file with the pictures in images/ beside it or
/// in its own folder. `masks`: objects come with their pixels where the annotations have them (COCO). Throws Error that
/// names the file and the item at fault.
BoxDataset open_boxes(const std::filesystem::path& path, bool masks = false);

/// A set without parts divided by half, a fifth and the rest into train, val and test, in an order keyed by the seed.
/// One with parts stays as it is, but for a test part: where there is none, it is the val part.
BoxDataset divide_boxes(BoxDataset dataset, std::uint64_t seed);

/// The training pictures of a few-shot search: pictures in an order keyed by the seed, each taken if it shows a
/// category of which fewer than `shots` taken pictures show an object; 0 takes all. A picture comes with all its
/// objects, since objects without labels would be learned as background. More shots take the same pictures and more.
std::vector<BoxPicture> draw_box_shots(const std::vector<BoxPicture>& pictures, int shots, std::uint64_t seed);

/// SHA-256 of pictures with their objects.
std::string hash_of_boxes(const std::vector<BoxPicture>& pictures);

/// A file name from an annotation, checked to stay within the folder of pictures; `where` is named in errors.
std::filesystem::path picture_name(const std::string& name, std::string_view where);

}  // namespace attune
