#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "attune/data/listing.h"

namespace attune {

/// CoOp's `split_zhou_*.json` and `split_cao_*.json`: {"train": [[path, label, class name], ...], "val", "test"}; SPG's
/// `<letter>_train_val_split.json` has 4-lists [path, label, domain index, class name], and the index becomes the
/// domain "<index>". A test part equal to val, as SPG writes it, is kept as it is. Throws Error that names the item.
Listing parse_split_json(std::string_view text, std::string_view where);

/// JSON lines with a picture each: its path under "impath", "filepath", "path" or "image", "label", "classname" or
/// "class_name", and optionally "split" and "domain". Lines without a split belong to `part`. The keys of 2SFS's
/// few-shot files are inferred: they record Dassl's items. Throws Error that names the line.
Listing parse_jsonl(std::string_view text, std::string_view where, Part part);

/// CSV with the columns `filepath,label[,split,domain,caption]` in any order, and optionally `classname`. Labels are
/// integers, or class names where one of them is no integer. Throws Error that names the line.
Listing parse_csv_listing(std::string_view text, std::string_view where, Part part);

/// Replaces SPG's domain indices by the folder in which the pictures of a domain lie; `letters` maps an index to the
/// letter of its file, used where the paths do not tell.
void name_indexed_domains(Listing& listing, const std::vector<std::pair<std::string, std::string>>& letters);

}  // namespace attune
