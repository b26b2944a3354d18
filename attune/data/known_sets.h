#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "attune/data/dataset.h"
#include "attune/data/listing.h"

namespace attune {

/// Published data sets whose folders say less than a split file would (KaiyangZhou/CoOp,
/// renytek13/Soft-Prompt-Generation).

/// Whether a folder is FGVC-Aircraft's: images_variant_train.txt beside the folder `images`.
bool is_aircraft_folder(const std::filesystem::path& folder);
/// Its pictures, in the parts of images_variant_{train,val,test}.txt; classes are numbered as in variants.txt. Throws
/// Error that names the file and the line.
Listing list_aircraft(const std::filesystem::path& folder);
/// Lines "picture class name", the picture without ".jpg"; `variants` are all classes in their order. Throws Error that
/// names `where` and the line.
Listing parse_aircraft_list(std::string_view text, const std::vector<std::string>& variants, Part part,
                            const std::string& where);

/// "n" and eight digits, as ImageNet's folders are called.
bool is_wordnet_id(std::string_view name);

/// What the folders of ImageNet, its variants and VLCS do not say, as the field's programs have it: pictures of
/// ImageNet's `val` are those for testing too, its variants are there for testing only, VLCS's classes 0 to 4 are
/// bird, car, chair, dog and person. Other data sets stay as they are.
void complete_known_set(Dataset& dataset, const std::vector<std::string>& raw_classes);

}  // namespace attune
