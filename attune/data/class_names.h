#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "attune/data/dataset.h"

namespace attune {

/// Names that replace those of a layout: all of them in label order, or some of them by raw (folder) name.
struct ClassNameFile {
  std::vector<std::string> in_order;
  std::map<std::string, std::string> by_name;
};

/// JSON: a list of names, or an object from raw name to name. Throws Error that names `where`.
ClassNameFile parse_class_names_json(std::string_view text, std::string_view where);
/// One name a line in label order, or "raw-name name" on every line (as ImageNet's classnames.txt). The second form is
/// taken where the first word of some line is a raw name of the layout, or where the raw names are numbers and all
/// first words WordNet ids, which are then counted. Throws Error that names `where`.
ClassNameFile parse_class_names_text(std::string_view text, const std::vector<std::string>& raw_classes,
                                     std::string_view where);

/// Sets readable names: underscores as spaces, then classnames.json or classnames.txt of the dataset's folder (both at
/// once is an error). Throws Error on two classes with one name, unless raw names are WordNet ids, and on an empty
/// name.
void name_classes(Dataset& dataset, const std::vector<std::string>& raw_classes);

/// Throws Error where two classes have the same name or a name is empty; `where` is named.
void check_class_names(const std::vector<std::string>& names, std::string_view where);

}  // namespace attune
