#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "attune/data/dataset.h"

namespace attune {

enum class Part { kTrain, kVal, kTest, kAll };

/// The part that a folder or column value such as "training" or "valid" names. Throws Error that names `where`.
Part part_named(std::string_view name, std::string_view where);
bool is_part_name(std::string_view name);

/// One picture as a layout states it, before anything was checked.
struct Entry {
  std::string path;         // relative to the folder of the pictures, '/' between the names
  std::string class_name;   // as written; may be empty where only labels are known
  std::int64_t label = -1;  // -1: the layout gives names only
  std::string domain;       // empty: no domains
  Part part = Part::kAll;
  std::string caption;
  std::string where;  // file and line or item, for errors
};

/// Entries of all parts in the order of the layout, and what to say about them.
struct Listing {
  std::vector<Entry> entries;
  std::vector<std::string> notes;
};

/// Underscores become spaces, runs of blanks one space.
std::string readable_name(std::string_view raw);

/// Numbers classes and domains and checks what can be checked without opening a picture. Classes without labels are
/// numbered in byte order of their raw names; labels must be 0..C-1 without a gap, each with one name, each name
/// with one label. `raw_classes` receives the names as the layout writes them. Throws Error that names the entry.
Dataset number_classes(const Listing& listing, std::vector<std::string>& raw_classes);

/// A path of a listing made relative to `root`. Throws Error where it is absolute outside `root`, or climbs out of it.
std::string path_inside(std::string_view path, const std::filesystem::path& root, std::string_view where);

}  // namespace attune
